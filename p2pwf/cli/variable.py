"""`p2pwf variable`: plain values for workflows, the `vars` context."""

from __future__ import annotations

import sys
from typing import Any

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere
from p2pwf.cli.names import name_of, peer_names
from p2pwf.cli.secret import MAX_READ, environment_option, place_of
from p2pwf.cli.text import clean, moment, table
from p2pwf.errors import UsageError

_HERE = "p2pwf.cli.variable"


@click.group(
    cls=LazyGroup,
    lazy={
        "set": (f"{_HERE}:set_", "Set a variable."),
        "list": (f"{_HERE}:list_", "List the variables and their values."),
        "remove": (f"{_HERE}:remove", "Remove a variable."),
    },
)
@anywhere
def variable() -> None:
    """Plain values for workflows: `${{ vars.NAME }}`. Every member can read them.

    A run has them as they were when it was submitted, a schedule as they were when it was added; a job has those of
    its environment as they are when it starts.
    """


@click.command("set")
@click.argument("name", metavar="NAME")
@click.argument("value", metavar="[VALUE]", required=False)
@environment_option
@anywhere
@click.pass_obj
def set_(session: Session, name: str, value: str | None, environment: str | None) -> None:
    """Set a variable; without VALUE it is read from stdin, less a line break at its end.

    \b
      p2pwf variable set REGION eu-west
      p2pwf variable set NOTICE --environment production < notice.txt
    """
    if value is None:
        data = sys.stdin.buffer.read(MAX_READ + 1)
        if len(data) > MAX_READ:
            raise UsageError(f"the value has over {MAX_READ // 1024} KiB", "a variable has up to 48 KiB")
        try:
            value = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise UsageError("the value is not UTF-8", "encode it in base64") from None
    body: dict[str, Any] = {"name": name, "value": value}
    if environment is not None:
        body["environment"] = environment
    made = session.client.call("POST", "variables", body=body)
    session.answer(made, lambda one: click.echo(f"{place_of(one)} = {_shown(one['value'])}"))


@click.command("list")
@anywhere
@click.pass_obj
def list_(session: Session) -> None:
    """List the variables and their values.

    \b
      p2pwf variable list
    """
    client = session.client
    found = client.call("GET", "variables")
    names = {} if session.json or not found else peer_names(client)
    session.answer(found, lambda rows: _draw(rows, names))


def _draw(rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    if not rows:
        click.echo("no variables")
        return
    table(
        ("NAME", "ENVIRONMENT", "VALUE", "SET", "BY"),
        [
            (
                clean(one["name"]),
                clean(one["environment"] or "-"),
                _shown(one["value"]),
                moment(one["updated_at"]),
                name_of(names, one["updated_by"]),
            )
            for one in rows
        ],
        flexible=2,
    )


def _shown(value: str) -> str:
    """A value on one line."""
    return clean(value.replace("\n", "⏎ " if (sys.stdout.encoding or "").lower().startswith("utf") else " "))


@click.command()
@click.argument("name", metavar="NAME")
@environment_option
@anywhere
@click.pass_obj
def remove(session: Session, name: str, environment: str | None) -> None:
    """Remove a variable: runs that are submitted from now on do not have it.

    \b
      p2pwf variable remove REGION
    """
    made = session.client.call("DELETE", "variables", name, query={"environment": environment})
    session.answer(made, lambda one: click.echo(f"{place_of(one)} is removed"))
