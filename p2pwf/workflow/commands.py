"""Workflow commands: the lines of a step's output that begin with `::name`. Pure; the runner acts on what it gets.

Source: the open runner's `ActionCommand` and `ActionCommandManager`: names and properties without regard to case, the
older `##[name]` form too, `%0A` and the like unescaped, `%25` last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import attrs

COMMANDS: Final = frozenset(
    (
        *("add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice"),
        *("remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning"),
    )
)
"""The names that make a line a command."""
_NOT_TOKENS: Final = COMMANDS | {"pause-logging"}
_DATA_ESCAPES: Final = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
_PROPERTY_ESCAPES: Final = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
_BRACKET_ESCAPES: Final = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))
MAX_LINE: Final = 1024 * 1024
"""Characters of a line that is looked at; a longer one is output like any other."""


@attrs.frozen(slots=True)
class Command:
    """One command: lower-case name, properties by lower-case name, data."""

    name: str
    properties: Mapping[str, str]
    data: str

    def property_(self, name: str) -> str:
        """A property, empty if it was not given."""
        return self.properties.get(name, "")


def _unescape(text: str, escapes: tuple[tuple[str, str], ...]) -> str:
    if "%" in text:
        for written, meant in escapes:
            text = text.replace(written, meant)
    return text


@attrs.frozen(slots=True)
class _Form:
    """One of the two ways to write a command."""

    separator: str
    property_escapes: tuple[tuple[str, str], ...]
    data_escapes: tuple[tuple[str, str], ...]

    def read(self, head: str, data: str, names: frozenset[str]) -> Command | None:
        name, _, rest = head.partition(" ")
        if name.lower() not in names:
            return None
        properties: dict[str, str] = {}
        for part in rest.strip().split(self.separator):
            key, equals, value = part.partition("=")
            if equals and key and value:
                properties[key.lower()] = _unescape(value, self.property_escapes)
        return Command(name.lower(), properties, _unescape(data, self.data_escapes))


_COLONS: Final = _Form(",", _PROPERTY_ESCAPES, _DATA_ESCAPES)
_BRACKETS: Final = _Form(";", _BRACKET_ESCAPES, _BRACKET_ESCAPES)


def parse_command(line: str, names: frozenset[str] = COMMANDS) -> Command | None:
    """The command on a line of output, given without its line end, or None. `names` are the known names, lower-case."""
    if len(line) > MAX_LINE:
        return None
    start = line.lstrip()
    if start.startswith("::"):
        end = start.find("::", 2)
        command = _COLONS.read(start[2:end], start[end + 2 :], names) if end >= 0 else None
        if command is not None:
            return command
    begin = line.find("##[")
    end = line.find("]", begin) if begin >= 0 else -1
    return _BRACKETS.read(line[begin + 3 : end], line[end + 1 :], names) if end >= 0 else None


Reaction = Literal["command", "stopped", "resumed", "refused", "text"]


@attrs.define(slots=True)
class CommandReader:
    """Reads a step's output line by line, and knows whether commands are stopped.

    `feed` gives what a line is: `command` with the command; `stopped` and `resumed` for stop-commands and its token;
    `refused` for a stop-commands whose token is empty or a command's name (the step fails); `text` for all else.
    """

    _token: str | None = attrs.field(default=None, init=False)

    def feed(self, line: str) -> tuple[Reaction, Command | None]:
        """Judge one line, given without its line end."""
        if self._token is not None:
            command = parse_command(line, frozenset((self._token,)))
            if command is None:
                return "text", None
            self._token = None
            return "resumed", command
        command = parse_command(line)
        if command is None:
            return "text", None
        if command.name != "stop-commands":
            return "command", command
        token = command.data.lower()
        if not token or token in _NOT_TOKENS:
            return "refused", command
        self._token = token
        return "stopped", command

    @property
    def stop_token(self) -> str | None:
        """The token that resumes commands, while they are stopped."""
        return self._token
