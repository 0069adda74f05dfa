"""Shells: from a step's `shell` to the command line that runs its script. Looks programs up, starts none.

Source: GitHub's documentation of `steps[*].shell` and the open runner's `ScriptHandlerHelpers`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import attrs

from p2pwf.errors import UsageError

PLACE: Final = "{0}"


@attrs.frozen(slots=True)
class Shell:
    """A way to run a script: command line with `{0}` for its path, the script's suffix, what is put around it."""

    template: str
    suffix: str = ".sh"
    before: str = ""
    after: str = ""
    instead: str | None = None
    """Another name of the program, where a machine lacks the first."""


UNSET: Final = Shell("bash -e {0}", instead="sh")
_POWERSHELL_END: Final = "if ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) { exit $LASTEXITCODE }"
BUILT_IN: Final[Mapping[str, Shell]] = {
    "bash": Shell("bash --noprofile --norc -eo pipefail {0}"),
    "sh": Shell("sh -e {0}"),
    "python": Shell("python {0}", ".py", instead="python3"),
    "node": Shell("node {0}", ".js"),
    "pwsh": Shell("pwsh -command \". '{0}'\"", ".ps1", "$ErrorActionPreference = 'stop'\n", _POWERSHELL_END + "\n"),
}


def shell_of(name: str | None) -> Shell:
    """The shell of a name, of none, or of a template with `{0}`; raises UsageError for anything else.

    As in the runner: what stands before the first blank is the program, looked up as it is written, so `BASH` is a
    program of that name; what is known of a shell, its arguments and suffix, goes by the program in any case.
    """
    if not name:
        return UNSET
    program, _, arguments = name.partition(" ")
    known = BUILT_IN.get(program.lower())
    if arguments.strip() or known is None:
        if PLACE not in arguments:
            raise UsageError(
                f"Invalid shell option '{name[:80]}'",
                f"a shell is one of {', '.join(sorted(BUILT_IN))}, or a command line that contains '{PLACE}'",
            )
        return Shell(name, "") if known is None else attrs.evolve(known, template=name, instead=None)
    if program in BUILT_IN:
        return known
    return attrs.evolve(known, template=program + known.template[len(program) :], instead=None)


@lru_cache(64)
def _words(template: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(template))
    except ValueError as error:
        raise UsageError(f"Invalid shell option '{template[:80]}': {error}") from error


def find_program(name: str, search: str) -> str | None:
    """The absolute path of a program, or None. Not shutil.which: that asks about this process's PATH, and is slower."""
    for folder in [""] if name.startswith("/") else search.split(":"):
        path = f"{folder}/{name}" if folder else name
        if path.startswith("/") and os.access(path, os.X_OK) and os.path.isfile(path):  # noqa: PTH113 - in a hot loop
            return path
    return None


def script_text(shell: Shell, script: str) -> str:
    """The text of the script file."""
    script = script.replace("\r\n", "\n")
    return f"{shell.before}{script}{'' if script.endswith(chr(10)) else chr(10)}{shell.after}"


def container_command(shell: Shell, script: str) -> tuple[str, ...]:
    """The arguments that run a script in a container, where programs cannot be looked up; unset means sh.

    Raises UsageError for a template that cannot be split.
    """
    words = _words("sh -e {0}" if shell is UNSET else shell.template)
    if not words:
        raise UsageError(f"Invalid shell option '{shell.template[:80]}'")
    return tuple(word.replace(PLACE, script) for word in words)


def command_line(shell: Shell, script: Path, search: str) -> tuple[str, ...]:
    """The arguments that run a script, the program's absolute path first; `search` is the step's PATH.

    Raises UsageError for a template that cannot be split, or a program that is not there.
    """
    words = _words(shell.template)
    program = find_program(words[0], search) if words and words[0] != PLACE else None
    if program is None and shell.instead is not None:
        program = find_program(shell.instead, search)
    if program is None:
        raise UsageError(f"{words[0] if words else shell.template}: command not found", "is it installed, and on PATH?")
    return (program, *(word.replace(PLACE, str(script)) for word in words[1:]))
