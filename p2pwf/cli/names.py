"""Ids as people write them and peers as people call them; and what a shell completes them to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from p2pwf.cli.base import Session
from p2pwf.cli.text import clean, short
from p2pwf.control.client import Client
from p2pwf.errors import P2pwfError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

MAX_COMPLETED = 50
"""Runs or peers that a shell is told of: more is no help to anybody."""


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


def complete_runs(context: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """The newest runs, for a shell: a node that does not answer has none."""
    return _completed(context, start, "runs", "workflow_id", "status")


def complete_peers(context: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """The peers by name, for a shell."""
    return _completed(context, start, "peers", "name", "peer_id")


def _completed(context: click.Context, start: str, what: str, name: str, about: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    try:
        found = context.ensure_object(Session).client.call("GET", what)
    except P2pwfError:
        return []
    near = []
    for one in found:
        # Peers are called what they like, and a shell runs what it is given: of an odd name its id is offered.
        word = next((text for text in (one[name], one.get("peer_id")) if text and _is_word(text)), None)
        if word is not None and word.startswith(start):
            near.append(CompletionItem(word, help=f"{clean(one['name'] or '')} {one[about]}".strip()))
    return near[:MAX_COMPLETED]


def _is_word(text: str) -> bool:
    """Whether a shell takes a text as one word and as nothing else."""
    return not text.startswith("-") and all(one.isalnum() or one in "._@+-" for one in text)


run_argument = click.argument("workflow_id", metavar="ID", callback=run_id, shell_complete=complete_runs)
