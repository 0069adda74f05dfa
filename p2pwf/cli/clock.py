"""`p2pwf clock`: the heads, the events, and whether all that is on disk checks."""

from __future__ import annotations

from typing import Any

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere, print_line
from p2pwf.cli.text import clean, short, style, table


@click.group(
    cls=LazyGroup,
    lazy={
        "heads": ("p2pwf.cli.clock:heads", "Show the newest events, those that no other stands on."),
        "log": ("p2pwf.cli.clock:log", "Print every event, one JSON object a line."),
        "verify": ("p2pwf.cli.clock:verify", "Check every event on disk anew."),
        "checkpoint": ("p2pwf.cli.history:checkpoint", "Name what may be pruned on all members."),
        "prune": ("p2pwf.cli.history:prune", "Prune what all members agree on, or say who has not."),
        "export": ("p2pwf.cli.portable:export", "Write the clock into one file, for another node or tool."),
        "import": ("p2pwf.cli.portable:import_", "Take the events of such a file in."),
    },
)
@anywhere
def clock() -> None:
    """Look at the Merkle clock, write it into a file, take one in."""


@click.command()
@anywhere
@click.pass_obj
def heads(session: Session) -> None:
    """Show the newest events, those that no other stands on.

    \b
      p2pwf clock heads
    """
    session.answer(session.client.call("GET", "clock", "heads"), _draw_heads)


def _draw_heads(found: list[dict[str, Any]]) -> None:
    rows = [(one["cid"], short(one["author"]), str(one["seq"]), str(one["lamport"])) for one in found]
    table(("EVENT", "AUTHOR", "SEQ", "LAMPORT"), rows)


@click.command()
@click.option("--raw", is_flag=True, help="The signed blocks, in base64.")
@anywhere
@click.pass_obj
def log(session: Session, raw: bool) -> None:
    """Print every event, one JSON object a line, each after those it stands on.

    \b
      p2pwf clock log | jq 'select(.type == "run.submit")'
    """
    for event in session.client.stream("clock", "log", query={"raw": raw}):
        print_line(event)


@click.command()
@anywhere
@click.pass_obj
def verify(session: Session) -> int:
    """Check every event on disk anew: ids, signatures, rules. Exits with 1 if one does not check.

    \b
      p2pwf clock verify
    """
    found = session.client.call("GET", "clock", "verify")
    session.answer(found, _draw_verdict)
    return 0 if found["ok"] else 1


def _draw_verdict(found: dict[str, Any]) -> None:
    if found["ok"]:
        click.echo(f"{style('ok', 'green')}: {found['events']:,} events check")
        return
    for one in found["problems"]:
        click.echo(f"{one['cid']}  {clean(one['problem'])}")
    click.echo(style(f"{len(found['problems'])} of {found['events']:,} events do not check", "red"))
