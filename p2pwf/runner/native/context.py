"""What a native action works with: its inputs as actions read them, paths as its job means them, a way to speak.

Source of how inputs are read: the public toolkit's `core` (texts are trimmed, booleans are those of YAML 1.2).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import attrs

from p2pwf.errors import UsageError
from p2pwf.runner.state import JobState

_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@attrs.frozen(slots=True)
class NativeContext:
    """What a stage of an action works with: `inputs` by lower-case name, `saved` kept from main to post."""

    state: JobState
    number: int
    inputs: Mapping[str, str]
    saved: dict[str, str]

    def text(self, name: str, default: str = "") -> str:
        """An input, trimmed; `default` if it is empty."""
        return self.inputs.get(name, "").strip() or default

    def lines(self, name: str) -> list[str]:
        """The lines of an input, trimmed, without empty ones."""
        return [line.strip() for line in self.inputs.get(name, "").splitlines() if line.strip()]

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean input; raises UsageError for what is none."""
        given = self.text(name)
        if given and given not in _BOOLEANS:
            raise UsageError(
                f"the input '{name}' is no boolean: {given[:80]}", "write one of true, True, TRUE, false, False, FALSE"
            )
        return _BOOLEANS[given] if given else default

    def say(self, *lines: str) -> None:
        """Log lines of the runner's own."""
        self.state.log.say(self.number, *lines)

    def warn(self, message: str) -> None:
        """Log a warning and keep it as annotation."""
        self.state.warning(self.number, message)

    @property
    def workspace(self) -> Path:
        """The folder that relative paths start at."""
        return self.state.folders.workspace

    @property
    def home(self) -> Path:
        """What `~` stands for: the home of the job's steps."""
        if self.state.container is not None:
            return Path(self.state.container.mounts.outside("/github/home"))
        given = self.state.variables.get("HOME") or self.state.base.get("HOME") or ""
        return Path(given) if given.startswith("/") else Path.home()

    def outside(self, path: str) -> str:
        """A path that a step may have seen in the job's container, as this machine has it."""
        container, loan = self.state.container, self.state.loan
        if container is not None:
            return container.mounts.outside(path)
        return path if loan is None else loan.outside(path, self.state.folders)

    @property
    def machine(self) -> Mapping[str, str]:
        """The variables by which tools of this machine are found."""
        loan = self.state.loan
        return self.state.base if loan is None else {**self.state.base, "HOME": os.environ.get("HOME", "")}

    def sees(self, program: Path) -> bool:
        """Whether the job can run a program of this machine."""
        return self.state.loan is None or self.state.loan.sees(program)

    def inside(self, path: Path) -> str:
        """A path of this machine as the job's steps have it."""
        container = self.state.container
        return str(path) if container is None else container.mounts.inside(str(path))

    def path(self, text: str) -> Path:
        """The place that a path names; relative ones start at the workspace. Raises UsageError for no path at all."""
        if "\0" in text:
            raise UsageError(f"not a path: {text[:80]!r}")
        if text == "~" or text.startswith("~/"):
            return self.home / text[2:]
        return self.workspace / self.outside(text)

    def set_variable(self, name: str, value: str) -> None:
        """Set a variable for the steps that follow."""
        self.state.variables[name] = value

    def add_path(self, folder: Path) -> None:
        """Let the steps that follow look for programs in a folder first."""
        paths, text = self.state.paths, str(folder)
        if text in paths:
            paths.remove(text)
        paths.append(text)


@attrs.frozen(slots=True)
class NativeAction:
    """An action: `main` gives its outputs; both stages raise P2pwfError or OSError, with which the step fails."""

    main: Callable[[NativeContext], Awaitable[dict[str, str]]]
    post: Callable[[NativeContext], Awaitable[None]] | None = None
    post_condition: str = "always()"
