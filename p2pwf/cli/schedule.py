"""`p2pwf schedule`: workflows that run by the clock."""

from __future__ import annotations

from typing import Any

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere, complete_files
from p2pwf.cli.names import name_of, peer_names
from p2pwf.cli.submit import absolute, tell_asides
from p2pwf.cli.text import clean, dim, moment, short, style, table
from p2pwf.errors import UsageError

_HERE = "p2pwf.cli.schedule"
MAX_MISSED = 5
"""Missed ticks named of one schedule; of more only the number is told."""


@click.group(
    cls=LazyGroup,
    lazy={
        "add": (f"{_HERE}:add", "Run a workflow whenever its `on: schedule` says so."),
        "list": (f"{_HERE}:list_", "List the schedules and when they are due."),
        "remove": (f"{_HERE}:remove", "End a schedule."),
    },
)
@anywhere
def schedule() -> None:
    """Run workflows by the clock.

    Of the members that are up, the nearest to a tick submits it, so no machine has to be up all the time. A tick at
    which none was up is reported as missed, and not run late.
    """


@click.command()
@click.argument("file", metavar="FILE", shell_complete=complete_files)
@click.option("--name", metavar="NAME", help="What to call the schedule and its runs.")
@click.option("--priority", type=float, default=3.0, show_default=True, metavar="N", help="1 critical … 5 background.")
@click.option("--peer", metavar="PEER", help="Run all of its jobs on this peer, and on no other.")
@click.option("--label", "labels", metavar="LABEL", multiple=True, help="Run its jobs on peers with this label only.")
@click.option("--source", metavar="DIR", help="What checkout gives; otherwise the repository around FILE.")
@click.option("--no-source", is_flag=True, help="Send no source along.")
@click.option("--force", is_flag=True, help="Also a workflow without a p2p-workflow tag.")
@anywhere
@click.pass_obj
def add(
    session: Session,
    file: str,
    name: str | None,
    priority: float,
    peer: str | None,
    labels: tuple[str, ...],
    source: str | None,
    no_source: bool,
    force: bool,
) -> None:
    """Run a workflow whenever its `on: schedule` says so, with the source as it is now.

    \b
      p2pwf schedule add nightly.yml
      p2pwf schedule add backup.yml --peer attic --name backup
    """
    if source is not None and no_source:
        raise UsageError("--source and --no-source exclude each other", "leave one out")
    body: dict[str, Any] = {
        "file": absolute(file),
        "priority": priority,
        "labels": list(labels),
        "no_source": no_source,
        "force": force,
    }
    given = {"name": name, "peer": peer, "source_dir": None if source is None else absolute(source)}
    body |= {key: value for key, value in given.items() if value is not None}
    made = session.client.call("POST", "schedules", body=body)
    tell_asides(made, session.json)
    session.answer(made, _draw_added)


def _draw_added(made: dict[str, Any]) -> None:
    click.echo(f"{clean(made['name'])}  {_crons(made)}  next {_when(made['next'])}")
    click.echo(made["schedule_id"])


@click.command("list")
@click.option("--all", "every", is_flag=True, help="Those too that do not fire any more.")
@anywhere
@click.pass_obj
def list_(session: Session, every: bool) -> None:
    """List the schedules and when they are due.

    \b
      p2pwf schedule list
    """
    client = session.client
    found = client.call("GET", "schedules", query={"all": every})
    names = {} if session.json or not found else peer_names(client)
    session.answer(found, lambda rows: _draw_list(rows, names))


def _draw_list(rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    if not rows:
        click.echo("no schedules")
        return
    table(
        ("ID", "NAME", "CRON", "NEXT", "LAST", "BY"),
        [
            (
                short(one["schedule_id"]),
                clean(one["name"]),
                _crons(one),
                _when(one["next"]) if one["active"] else dim("ended"),
                "-" if one["last"] is None else f"{moment(one['last']['tick'])} {short(one['last']['workflow_id'])}",
                name_of(names, one["author"]),
            )
            for one in rows
        ],
        flexible=1,
    )
    for one in rows:
        if one["missed"]:
            shown = ", ".join(moment(when) for when in one["missed"][-MAX_MISSED:])
            count = len(one["missed"])
            click.echo(style(f"{clean(one['name'])} missed {count}: {shown}", "yellow"))
        if one["error"]:
            click.echo(style(f"{clean(one['name'])} could not be submitted: {clean(one['error'])}", "red"))


@click.command()
@click.argument("schedule_id", metavar="ID")
@anywhere
@click.pass_obj
def remove(session: Session, schedule_id: str) -> None:
    """End a schedule, by its id, enough of it, or its name. Runs that it has given go on.

    \b
      p2pwf schedule remove nightly
    """
    made = session.client.call("DELETE", "schedules", schedule_id.strip().lstrip("…."))
    session.answer(made, lambda one: click.echo(f"{clean(one['name'])} fires no more"))


def _crons(one: dict[str, Any]) -> str:
    return "; ".join(clean(f"{cron['cron']} {cron['timezone'] or ''}".strip()) for cron in one["crons"])


def _when(ms: float | None) -> str:
    return "never" if ms is None else moment(ms)
