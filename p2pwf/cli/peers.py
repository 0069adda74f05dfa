"""`p2pwf invite` and `p2pwf peer`: who is in the network."""

from __future__ import annotations

import re
import shutil
import sys
import time
from typing import Any

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere, print_line
from p2pwf.cli.names import complete_peers
from p2pwf.cli.text import clean, dim, duration, moment, short, style, table
from p2pwf.errors import UsageError
from p2pwf.isolation import told_labels

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
ROLES = ("submit", "run", "admin")
PING_SECONDS = 1.0
"""Between two pings of a peer."""
MAX_PINGS = 3600
"""Of one command: an hour of them."""


def seconds_of(text: str) -> float:
    """A span such as 90s, 15m, 24h or 7d in seconds; raises UsageError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"not a span of time: {text!r}", "write it as 90s, 15m, 24h or 7d")
    return float(match[1]) * UNITS[match[2]]


def roles_of(text: str) -> list[str]:
    """Roles from a comma-separated list; raises UsageError."""
    roles = [one.strip() for one in text.split(",") if one.strip()]
    wrong = [one for one in roles if one not in ROLES]
    if wrong or not roles:
        raise UsageError(f"not a role: {wrong[0] if wrong else text!r}", f"roles: {', '.join(ROLES)}")
    return roles


@click.command()
@click.option("--ttl", default="24h", show_default=True, metavar="SPAN", help="How long it can be used: 90s, 15m, 7d.")
@click.option("--roles", default="submit,run", show_default=True, metavar="ROLES", help="What its user may do.")
@click.option("--qr", is_flag=True, help="Draw it as a code to scan, too.")
@anywhere
@click.pass_obj
def invite(session: Session, ttl: str, roles: str, qr: bool) -> None:
    """Make a ticket that lets one machine join.

    \b
      p2pwf invite                     one that may submit and run
      p2pwf invite --roles submit      for a laptop that only submits
      p2pwf invite --ttl 10m --qr      to be scanned now
    """
    body = {"ttl": seconds_of(ttl), "roles": roles_of(roles)}
    made = session.client.call("POST", "invites", body=body)
    session.answer(made, lambda ticket: _draw_ticket(ticket, qr))
    if made["addrs"] and all(stays_here(one) for one in made["addrs"]):
        note = "this ticket names loopback addresses only: no other machine can use it"
        hint = "let the node listen on one that others reach: p2pwf up --listen /ip4/0.0.0.0/tcp/4070, or --announce"
        click.echo(f"warning: {note}\nhint: {hint}", err=True)


def stays_here(address: str) -> bool:
    """Whether a multiaddr leads to this machine and no other."""
    return address.startswith(("/ip4/127.", "/ip6/::1/"))


def _draw_ticket(made: dict[str, Any], qr: bool) -> None:
    if qr:
        _draw_code(made["ticket"])
    click.echo(made["ticket"])
    words = f"for {', '.join(made['roles'])}; good once, until {moment(made['expires'])}"
    click.echo(dim(f"{words}\non the other machine: p2pwf up --join TICKET"), err=True)


def _draw_code(ticket: str) -> None:
    """Draw a QR code in half blocks. Upper case: letters and digits take less room than bytes do."""
    import segno

    code = segno.make_qr(ticket.upper(), error="l")
    columns, _ = code.symbol_size()
    if sys.stdout.isatty() and columns > shutil.get_terminal_size().columns:
        click.echo(dim(f"the code is {columns} columns wide: widen the terminal, or paste the ticket"), err=True)
        return
    code.terminal(compact=True)


@click.group(
    cls=LazyGroup,
    lazy={
        "list": ("p2pwf.cli.peers:peer_list", "List the peers of the network."),
        "add": ("p2pwf.cli.peers:peer_add", "Admit a peer."),
        "remove": ("p2pwf.cli.peers:peer_remove", "Remove a peer."),
        "ping": ("p2pwf.cli.peers:peer_ping", "Measure round trips to a peer."),
    },
)
@anywhere
def peer() -> None:
    """List, admit, remove and ping peers."""


@click.command("list")
@click.option("--pending", is_flag=True, help="Those who ask to be admitted.")
@anywhere
@click.pass_obj
def peer_list(session: Session, pending: bool) -> None:
    """List the peers of the network, this one included.

    \b
      p2pwf peer list
      p2pwf peer list --pending                  who asks to be admitted

    A member that breaks the protocols again and again is kept out for a minute, and shown as banned.
    """
    found = session.client.call("GET", "peers", query={"pending": pending})
    session.answer(found, _draw_pending if pending else _draw_peers)


def _draw_peers(peers: list[dict[str, Any]]) -> None:
    table(
        ("NAME", "PEER", "ROLES", "JOBS", "SEEN", "LATENCY", "VERSION", "LABELS"),
        [
            (
                style(clean(one["name"] or "-"), bold=bool(one.get("self"))) + (" *" if one.get("self") else ""),
                short(one["peer_id"]),
                ",".join(one["roles"]) or "-",
                _jobs(one),
                _seen(one),
                "-" if one["latency"] is None else milliseconds(one["latency"]),
                clean(one["version"] or "-"),
                ",".join(clean(label) for label in told_labels(one["labels"])) or "-",
            )
            for one in peers
        ],
        flexible=7,
    )


def _jobs(one: dict[str, Any]) -> str:
    """Jobs that run, of how many may."""
    load = "-" if one["load"] is None else str(one["load"])
    return f"{load}/{'-' if one['slots'] is None else one['slots']}"


def milliseconds(ms: float) -> str:
    """A time on the network: 0.42 ms, 12.3 ms, 240 ms."""
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms" if ms < 100 else f"{ms:.0f} ms"


def _seen(one: dict[str, Any]) -> str:
    if one.get("self"):
        return "this node" if one["roles"] else style("this node, removed", "red")
    if one.get("banned_for") is not None:
        return style(f"banned for {duration(one['banned_for'])}", "red")
    if one["connected"]:
        return style("connected", "green") + _offences(one)
    return "not since start" if one["last_seen"] is None else f"{duration(one['last_seen'])} ago"


def _offences(one: dict[str, Any]) -> str:
    """How often a peer broke a protocol, if it did."""
    number = one.get("offences", 0)
    return style(f", {number} offence{'' if number == 1 else 's'}", "red") if number else ""


def _draw_pending(peers: list[dict[str, Any]]) -> None:
    if not peers:
        click.echo("nobody asks to be admitted")
        return
    # Whole ids here: they are what `peer add` needs.
    table(
        ("PEER", "NAME", "SLOTS", "LABELS"),
        [
            (
                one["peer_id"],
                clean(one["name"] or "-"),
                "-" if one["slots"] is None else str(one["slots"]),
                ",".join(clean(label) for label in told_labels(one["labels"])) or "-",
            )
            for one in peers
        ],
        flexible=3,
    )
    click.echo(dim("admit one with: p2pwf peer add PEER"))


@click.command("add")
@click.argument("peer_id", metavar="ID", shell_complete=complete_peers)
@click.option("--name", metavar="NAME", help="What to call it.")
@click.option("--roles", default="run,submit", show_default=True, metavar="ROLES", help="What it may do.")
@anywhere
@click.pass_obj
def peer_add(session: Session, peer_id: str, name: str | None, roles: str) -> None:
    """Admit a peer by its id, seen or not; of one that is known, the end of its id will do.

    \b
      p2pwf peer list --pending                  who asks
      p2pwf peer add 12D3KooWRDTq… --name desk
    """
    body: dict[str, Any] = {"peer_id": peer_id, "roles": roles_of(roles)}
    if name is not None:
        body["name"] = name
    made = session.client.call("POST", "peers", body=body)
    session.answer(made, lambda one: click.echo(f"admitted {one['peer_id']}"))


@click.command("remove")
@click.argument("peer_id", metavar="ID", shell_complete=complete_peers)
@click.option("--keep-runs", is_flag=True, help="Let what it has submitted run on.")
@anywhere
@click.pass_obj
def peer_remove(session: Session, peer_id: str, keep_runs: bool) -> None:
    """Remove a member, by its name, its id or the end of that.

    \b
      p2pwf peer remove desk
      p2pwf peer remove desk --keep-runs         what it submitted goes on
    """
    made = session.client.call("DELETE", "peers", peer_id, query={"keep_runs": keep_runs})
    session.answer(made, lambda one: click.echo(f"removed {one['peer_id']}"))


@click.command("ping")
@click.argument("peer_id", metavar="PEER", shell_complete=complete_peers)
@click.option("-c", "--count", type=click.IntRange(1, MAX_PINGS), default=4, show_default=True, help="How many times.")
@anywhere
@click.pass_obj
def peer_ping(session: Session, peer_id: str, count: int) -> None:
    """Measure round trips to a peer, by its name, its id or the end of that; one a second.

    \b
      p2pwf peer ping desk --count 10
    """
    client = session.client
    times: list[float] = []
    for number in range(count):
        if number:
            time.sleep(PING_SECONDS)
        one = client.call("POST", "peers", peer_id, "ping")
        times.append(one["latency"])
        if session.json:
            print_line(one)
        else:
            name = clean(one["name"] or "-")
            click.echo(f"{name} ({short(one['peer_id'])}) answered in {milliseconds(one['latency'])}")
            sys.stdout.flush()
    if count > 1 and not session.json:
        middle = sum(times) / count
        click.echo(
            dim(f"from {milliseconds(min(times))} to {milliseconds(max(times))}, {milliseconds(middle)} on average")
        )
