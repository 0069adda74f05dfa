"""`p2pwf secret`: values that jobs get and nobody sees. None stands on a command line, which others can read."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere, complete_files
from p2pwf.cli.names import complete_peers, name_of, peer_names
from p2pwf.cli.text import clean, dim, moment, style, table
from p2pwf.errors import UsageError
from p2pwf.undumped import undumped

_HERE = "p2pwf.cli.secret"
MAX_READ: Final = 256 * 1024
"""Bytes read of a value: the node says what the bound is, and this is far over it."""


@click.group(
    cls=LazyGroup,
    lazy={
        "set": (f"{_HERE}:set_", "Set a secret, from a prompt, stdin or a file."),
        "list": (f"{_HERE}:list_", "List the secrets, without their values."),
        "remove": (f"{_HERE}:remove", "Remove a secret."),
    },
)
@anywhere
def secret() -> None:
    """Values for jobs that name them: `${{ secrets.NAME }}`.

    A secret is sealed to the machines that run jobs and to admins: each of these could read it. And whoever may submit
    workflows can have one print it, as on GitHub: masks keep it out of logs by accident, not by intent.
    """


def environment_option(command: Any) -> Any:  # noqa: ANN401 - click's own
    """The option that names an environment."""
    return click.option(
        "--environment", "--env", "-e", metavar="NAME", help="Only for jobs with this `environment`; over the others."
    )(command)


@click.command("set")
@click.argument("name", metavar="NAME")
@environment_option
@click.option("--value-file", metavar="FILE", shell_complete=complete_files, help="Take the value from a file, whole.")
@click.option(
    "--submitter", "submitters", metavar="PEER", multiple=True, shell_complete=complete_peers,
    help="Only for runs that this peer submits.",
)  # fmt: skip
@anywhere
@click.pass_obj
def set_(
    session: Session, name: str, environment: str | None, value_file: str | None, submitters: tuple[str, ...]
) -> None:
    """Set a secret: its value is asked for without being shown, or read from stdin (less a line break at its end).

    \b
      p2pwf secret set DEPLOY_TOKEN
      pass show deploy | p2pwf secret set DEPLOY_TOKEN --environment production
      p2pwf secret set SIGNING_KEY --value-file key.pem --submitter laptop
    """
    undumped()
    body: dict[str, Any] = {"name": name, "value": _value(name, value_file)}
    if environment is not None:
        body["environment"] = environment
    if submitters:
        body["submitters"] = list(submitters)
    made = session.client.call("POST", "secrets", body=body)
    session.answer(made, _draw_set)


def _value(name: str, file: str | None) -> str:
    """The value, from where it is; raises UsageError, which never shows any of it."""
    if file is None and sys.stdin.isatty():
        return str(click.prompt(f"Value of {name}", hide_input=True, err=True, default="", show_default=False))
    try:
        if file is None:
            data = sys.stdin.buffer.read(MAX_READ + 1)
        else:
            with open(file, "rb") as stream:  # noqa: PTH123 - a pipe such as <(…) is fine
                data = stream.read(MAX_READ + 1)
    except OSError as error:
        raise UsageError(f"--value-file: cannot read {file!r}: {error.strerror}") from None
    if len(data) > MAX_READ:
        raise UsageError(f"the value has over {MAX_READ // 1024} KiB", "a secret has up to 48 KiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError("the value is not UTF-8", "encode it in base64, and have the job decode it") from None
    return text if file is not None else text.removesuffix("\n").removesuffix("\r")


def place_of(one: dict[str, Any]) -> str:
    """A secret or variable as a person names it."""
    return clean(one["name"]) + (f" in {clean(one['environment'])}" if one["environment"] else "")


def _draw_set(made: dict[str, Any]) -> None:
    count = len(made["sealed_to"])
    click.echo(f"{place_of(made)} is sealed to {count} {'peer' if count == 1 else 'peers'}")


@click.command("list")
@anywhere
@click.pass_obj
def list_(session: Session) -> None:
    """List the secrets: where they count, when they were set, who can open them.

    One that somebody could open who left is marked `rotate`: give it another value, there where it is used, and here.

    \b
      p2pwf secret list
    """
    client = session.client
    found = client.call("GET", "secrets")
    names = {} if session.json or not found else peer_names(client)
    session.answer(found, lambda rows: _draw_list(rows, names))


def _draw_list(rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    if not rows:
        click.echo("no secrets")
        return

    def some(peers: list[str]) -> str:
        return ", ".join(name_of(names, peer) for peer in peers)

    table(
        ("NAME", "ENVIRONMENT", "SET", "BY", "FOR", "SEALED TO", ""),
        [
            (
                clean(one["name"]),
                clean(one["environment"] or "-"),
                moment(one["updated_at"]),
                name_of(names, one["updated_by"]),
                some(one["submitters"]) or dim("all"),
                some(one["sealed_to"]),
                style("rotate", "yellow") if one["rotate"] else "",
            )
            for one in rows
        ],
        flexible=5,
    )
    for one in rows:
        if one["rotate"]:
            text = f"{place_of(one)}: {some(one['rotate'])} could open it, and left: set it to another value"
            click.echo(style(text, "yellow"))
        if one["lacking"]:
            text = f"{place_of(one)}: not sealed to {some(one['lacking'])} yet: an admin's node that is up does that"
            click.echo(style(text, "yellow"))


@click.command()
@click.argument("name", metavar="NAME")
@environment_option
@anywhere
@click.pass_obj
def remove(session: Session, name: str, environment: str | None) -> None:
    """Remove a secret: jobs that start from now on do not get it. Who could open it can still open what was.

    \b
      p2pwf secret remove DEPLOY_TOKEN --environment production
    """
    made = session.client.call("DELETE", "secrets", name, query={"environment": environment})
    session.answer(made, lambda one: click.echo(f"{place_of(one)} is removed"))
