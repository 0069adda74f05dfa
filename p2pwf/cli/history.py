"""`p2pwf clock checkpoint` and `prune`: what ended long ago goes, on all members, and a line of each run stays."""

from __future__ import annotations

from typing import Any

import click

from p2pwf.cli.base import Session, anywhere
from p2pwf.cli.text import short


@click.command()
@click.option(
    "--days", type=click.FloatRange(0, 36_500), default=90.0, show_default=True, help="Runs that ended so long ago."
)
@anywhere
@click.pass_obj
def checkpoint(session: Session, days: float) -> None:
    """Name what may be pruned on all members; an admin's node does so, and every member answers.

    Of runs that ended before, what `workflow list` shows stays, and every event's place in the clock; their workflows,
    outputs and steps go, on all members, once all members have answered. Nothing brings them back but an archive:
    `p2pwf clock export` before. `history_days = N` in config.toml has a node do this each day.

    \b
      p2pwf clock checkpoint --days 30
    """
    session.answer(session.client.call("POST", "clock", "checkpoint", body={"days": days}), _draw)


@click.command()
@anywhere
@click.pass_obj
def prune(session: Session) -> None:
    """Prune what all members agree on, or say who has not answered.

    Nodes do so by themselves within seconds. A member that is away holds it up: bring it back, or remove it, and admit
    it again later.

    \b
      p2pwf clock prune
    """
    session.answer(session.client.call("POST", "clock", "prune"), _draw)


def _draw(found: dict[str, Any]) -> None:
    if found["checkpoint"] is None:
        click.echo("no checkpoint yet: `p2pwf clock checkpoint` writes one")
        return
    click.echo(f"checkpoint {short(found['checkpoint'])}, {found['pruned_runs']:,} runs pruned here")
    for peer in found["missing"]:
        click.echo(f"waits for {peer}: bring it back, or `p2pwf peer remove {peer}`")
