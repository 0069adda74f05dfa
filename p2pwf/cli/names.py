"""Ids as people write them and peers as people call them."""

from __future__ import annotations

import click

from p2pwf.cli.text import clean, short
from p2pwf.control.client import Client
from p2pwf.errors import UsageError


def run_id(_: click.Context, __: click.Parameter, value: str) -> str:
    """A run's id as typed or pasted from a table, where its beginning is left out."""
    wanted = value.strip().lstrip("….")
    if not wanted:
        raise UsageError("an empty id", "see `p2pwf workflow list`")
    return wanted


def peer_names(client: Client) -> dict[str, str]:
    """From peer ids to names, cleaned for a terminal; a name that two peers have is told apart by the id's end."""
    peers = client.call("GET", "peers")
    given = [one["name"] for one in peers]
    names = {}
    for one in peers:
        name = clean(one["name"] or "") or short(one["peer_id"])
        names[one["peer_id"]] = f"{name} {short(one['peer_id'])}" if given.count(one["name"]) > 1 else name
    return names


def name_of(names: dict[str, str], peer: str | None) -> str:
    """What to call a peer: its name, or its shortened id if it is no member any more."""
    return names.get(peer, short(peer)) if peer else "-"
