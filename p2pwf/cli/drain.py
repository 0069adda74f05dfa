"""`p2pwf node pause|resume|drain` and `p2pwf leave`: take a machine out of work, for a while or for good."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere
from p2pwf.cli.text import dim
from p2pwf.errors import TryAgain, UsageError

_HERE = "p2pwf.cli.drain"
LOOK_SECONDS = 0.5
"""Between two looks at what still runs."""


@click.group(
    cls=LazyGroup,
    lazy={
        "pause": (f"{_HERE}:pause", "Start no more jobs here."),
        "resume": (f"{_HERE}:resume", "Start jobs here again."),
        "drain": (f"{_HERE}:drain", "Start no more jobs here, and wait for those that run."),
    },
)
@anywhere
def node() -> None:
    """Take this machine out of work for a while.

    What has not started goes to whoever else may run it; what nobody else may run waits here. New submissions pass a
    paused node over. It stays paused over restarts.
    """


@click.command()
@anywhere
@click.pass_obj
def pause(session: Session) -> None:
    """Start no more jobs here; what runs goes on.

    \b
      p2pwf node pause
    """
    made = session.client.call("POST", "pause", body={"on": True})
    session.answer(made, lambda one: click.echo(f"paused; {_running(one['running_jobs'])}"))


@click.command()
@anywhere
@click.pass_obj
def resume(session: Session) -> None:
    """Start jobs here again.

    \b
      p2pwf node resume
    """
    made = session.client.call("POST", "pause", body={"on": False})
    session.answer(made, lambda _: click.echo("jobs start here again"))


@click.command()
@click.option("--timeout", type=float, metavar="SECONDS", help="Give up waiting after that; it stays paused.")
@anywhere
@click.pass_obj
def drain(session: Session, timeout: float | None) -> None:
    """Start no more jobs here, and wait for those that run.

    \b
      p2pwf node drain && sudo reboot
    """
    if timeout is not None and not timeout >= 0:
        raise UsageError(f"not a time: {timeout}", "give seconds")
    client = session.client
    made: dict[str, Any] = client.call("POST", "pause", body={"on": True})
    until = None if timeout is None else time.monotonic() + timeout
    told = None
    while (running := client.call("GET", "status")["running_jobs"]) > 0:
        if until is not None and time.monotonic() >= until:
            raise TryAgain(f"{_running(running)} here still", "it stays paused: drain again, or cancel their runs")
        if running != told and not session.json and sys.stderr.isatty():
            told = running
            click.echo(dim(_running(running)), err=True)
        time.sleep(LOOK_SECONDS)
    session.answer({**made, "running_jobs": 0}, lambda _: click.echo("drained: nothing runs here"))


@click.command()
@click.option("--keep-runs", is_flag=True, help="Let the runs that this node submitted go on.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@anywhere
@click.pass_obj
def leave(session: Session, keep_runs: bool, yes: bool) -> None:
    """Leave the network for good: hand on what this node owns, be no member any more, stop.

    Its data folder stays and can be read. An admin may admit it again.

    \b
      p2pwf leave --keep-runs
    """
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("leaving is for good, and there is nobody to ask", "say --yes")
        click.confirm("Leave the network for good?", abort=True)
    made = session.client.call("POST", "leave", body={"keep_runs": keep_runs})
    session.answer(made, lambda _: click.echo("this node has left its network, and stops"))


def _running(count: int) -> str:
    return "nothing runs" if count == 0 else "1 job runs" if count == 1 else f"{count} jobs run"
