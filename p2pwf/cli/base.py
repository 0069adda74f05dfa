"""What all commands share: the two options that go anywhere, lazily loaded groups, errors and exit codes.

Imports click and json; must stay light, every command waits for it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from p2pwf.errors import InternalError, InvalidWorkflow, P2pwfError, UsageError
from p2pwf.places import data_folder

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from p2pwf.control.client import Client

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
PIPE_CODE = 141
"""Exit code when the reader of our output left: as the shell reports a death by SIGPIPE."""
ACTING = {
    code: f"\\u{code:04x}"
    for codes in (range(0x7F, 0xA0), range(0x202A, 0x202F), range(0x2066, 0x206A))
    for code in codes
}
"""What acts on a terminal and JSON may hold as it is: DEL, C1, and what reorders the text around it."""
HINTS = {
    "usage": "see `p2pwf --help`",
    "invalid_workflow": "mend the file there, then submit it again",
    "not_found": "see `p2pwf workflow list` and `p2pwf peer list`",
    "refused": "see `p2pwf status` for what this node may do",
    "try_again": "try again in a moment",
    "storage": "look at the disk of the node's data folder",
    "overloaded": "wait until some runs have ended",
    "remote": "try again: another peer may answer",
    "bug": "please report it, with the node's log",
}
"""What to do next about an error that does not say so itself."""


class Session:
    """What a command line asked for as a whole: whether in JSON, and of which node."""

    def __init__(self) -> None:
        self.json = False
        self.given: str | None = None

    @property
    def client(self) -> Client:
        """The client of the chosen node; nothing is touched until it is used."""
        from p2pwf.control.client import Client  # many commands need no node

        return Client(data_folder(self.given))

    def answer(self, value: T, draw: Callable[[T], None]) -> None:
        """Print a command's answer: as JSON, or drawn for a person."""
        if self.json:
            print_json(value)
        else:
            draw(value)


def print_json(value: object) -> None:
    """One JSON value on one line; indented on a terminal."""
    sys.stdout.write(_json_text(value, 2 if sys.stdout.isatty() else None) + "\n")


def print_line(value: object) -> None:
    """One JSON value of a stream: always on one line, and out at once."""
    sys.stdout.write(_json_text(value) + "\n")
    sys.stdout.flush()


def _json_text(value: object, indent: int | None = None) -> str:
    """JSON as the output can show it. What json leaves as it is and a terminal obeys is escaped: names are others'."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if text.isascii() and "\x7f" not in text:
        return text
    try:
        text.encode(sys.stdout.encoding or "utf-8", sys.stdout.errors or "strict")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent).replace("\x7f", ACTING[0x7F])
    return text.translate(ACTING)


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).json = True


def _set_data_dir(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        if not value:
            raise click.BadParameter("an empty path")
        context.ensure_object(Session).given = value


def anywhere(command: F) -> F:
    """Give a command or group `--json` and `--data-dir`: each level takes them, all write to one Session."""
    json_option = click.option(
        "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print JSON, for scripts."
    )
    folder_option = click.option(
        "--data-dir",
        metavar="DIR",
        expose_value=False,
        callback=_set_data_dir,
        help="The node's data folder (or P2P_DATA_DIR).",
    )
    return json_option(folder_option(command))


def complete_files(_: click.Context, __: click.Parameter, start: str) -> list[CompletionItem]:
    """Whatever files there are, for a shell's completion: it knows them itself."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(start, type="file")]


class LazyGroup(click.Group):
    """A group whose commands are imported when one is used; its help needs none of them."""

    def __init__(
        self,
        name: str | None = None,
        *,
        lazy: Mapping[str, tuple[str, str]],
        aliases: Mapping[str, str] | None = None,
        **rest: Any,  # noqa: ANN401 - click's own
    ) -> None:
        super().__init__(name, invoke_without_command=True, no_args_is_help=False, **rest)
        self._lazy = lazy
        """From a command's name to (module:attribute, short help)."""
        self._aliases = aliases or {}
        """Other names of commands, which the help does not list."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own
        """Run the command that was named; a group alone shows its help."""
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())
        return result

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order they were given."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._lazy:
            return None
        module, _, name = self._lazy[cmd_name][0].partition(":")
        return cast(click.Command, getattr(import_module(module), name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that a line names; an unknown one is an error that names near ones, imported or not."""
        if args and args[0] in self._aliases:
            args = [self._aliases[args[0]], *args[1:]]
        if args and args[0] not in self._lazy and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self._lazy, 1)
            hint = f"did you mean `{ctx.command_path} {near[0]}`?" if near else f"see `{ctx.command_path} --help`"
            raise UsageError(f"no command {args[0]!r}", hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self._lazy.items()])


def error_json(error: P2pwfError) -> dict[str, Any]:
    """An error as `--json` tells it: {code, message, hint}, of a workflow that does not check also its diagnostics."""
    told: dict[str, Any] = {**error.to_json(), "hint": error.hint or HINTS.get(error.code)}
    if isinstance(error, InvalidWorkflow) and error.diagnostics:
        told["diagnostics"] = list(error.diagnostics)
    return told


def bug_of(error: Exception) -> InternalError:
    """What we did not foresee, with the place in our code: enough for a report, less than a traceback."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = " ".join(str(error).split())
    return InternalError(f"{type(error).__name__}: {text}", f"this is a bug of ours at {place}: please report it")


def say_error(error: P2pwfError, as_json: bool) -> int:
    """Tell an error on stderr; returns its exit code."""
    if as_json:
        sys.stderr.write(json.dumps({"error": error_json(error)}) + "\n")
        return error.exit_code
    hint = error.hint or HINTS.get(error.code)
    found = error.diagnostics if isinstance(error, InvalidWorkflow) else ()
    from p2pwf.cli.text import clean

    sys.stderr.write(f"error: {clean(error.message)}\n")
    if len(found) > 1:
        where = _path_in(error.message)
        for one in found:
            place = f"{where}:{one.get('line')}:{one.get('column')}"
            sys.stderr.write(f"  {place}: {one.get('severity')}: {clean(str(one.get('message')))}\n")
    if hint:
        sys.stderr.write(f"hint: {clean(hint)}\n")
    return error.exit_code


def _path_in(message: str) -> str:
    """The file that an invalid workflow's message begins with: `path:line:column: …`."""
    place, _, _ = message.partition(": ")
    return place.rstrip("0123456789").rstrip(":").rstrip("0123456789").rstrip(":")


def usage_of(error: click.ClickException) -> UsageError:
    """click's complaint as ours, with where to read on."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "p2pwf"
    message = " ".join(error.format_message().rstrip(".").split())
    return UsageError(message[:1].lower() + message[1:], f"see `{path} --help`")


def silence() -> None:
    """Let nothing more be written to a stdout that nobody reads: the interpreter would complain at its end."""
    hole = os.open(os.devnull, os.O_WRONLY)
    os.dup2(hole, sys.stdout.fileno())
