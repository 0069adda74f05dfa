"""`p2pwf config`: the settings that `p2pwf up` takes here without flags, and where each comes from."""

from __future__ import annotations

import os
from typing import Any

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere
from p2pwf.cli.text import clean, dim, table

_HERE = "p2pwf.cli.config"


@click.group(cls=LazyGroup, lazy={"show": (f"{_HERE}:show", "Show the settings, and where they come from.")})
@anywhere
def config() -> None:
    """Show this node's settings, and where they come from.

    A flag of `p2pwf up` goes before the environment, that before config.toml in the data folder.
    """


@click.command()
@click.option("--origin", is_flag=True, help="Where each comes from: a flag, the environment, a file, a default.")
@anywhere
@click.pass_obj
def show(session: Session, origin: bool) -> None:
    """Show what `p2pwf up` would start with, given no flags.

    \b
      p2pwf config show --origin
    """
    from p2pwf.config import settings_with_origin

    rows = settings_with_origin(session.given, os.environ)
    if origin:
        told: Any = {row.name: {"value": row.value, "origin": row.origin} for row in rows}
    else:
        told = {row.name: row.value for row in rows}
    session.answer(told, lambda _: _draw([(row.name, _shown(row.value), row.origin) for row in rows], origin))


def _draw(rows: list[tuple[str, str, str]], origin: bool) -> None:
    if origin:
        table(
            ("SETTING", "VALUE", "FROM"), [(name, value, dim(clean(place))) for name, value, place in rows], flexible=1
        )
    else:
        table(("SETTING", "VALUE"), [(name, value) for name, value, _ in rows], flexible=1)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == []:
        return "-"
    return clean(", ".join(map(str, value)) if isinstance(value, list) else str(value))
