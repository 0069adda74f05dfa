"""Finds the versions of a tool that this machine has: nothing is fetched, nothing is built.

Looked at: the folder of tools of hosted runners (RUNNER_TOOL_CACHE, AGENT_TOOLSDIRECTORY, /opt/hostedtoolcache:
<Tool>/<version>/<arch>), those of common version managers, and PATH as the node has it: what steps put there is not
run here. A program on PATH is asked for its version, once for each time that it changes.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

import attrs

from p2pwf.errors import NotFound
from p2pwf.runner.native.versions import Range, Version, read_version

ASK_S: Final = 10
"""A tool tells its version in milliseconds; one that does not is left out."""
MAX_FOLDERS: Final = 200
"""Versions looked at in one place."""
MAX_TOLD: Final = 20
HOSTED: Final = "/opt/hostedtoolcache"
_ARCH: Final = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64", "i686": "x86", "armv7l": "arm"}


@attrs.frozen(slots=True)
class Tool:
    """A version of a tool: its program, and where it was found. `apart`: its folder of programs holds nothing else."""

    version: Version
    program: Path
    place: str
    apart: bool


def arch() -> str:
    """This machine's architecture, as folders of tools are called."""
    machine = platform.machine().lower()
    return _ARCH.get(machine, machine)


def hosted(tool: str, program: str, machine: Mapping[str, str]) -> Iterator[Tool]:
    """The versions in the folders that hosted runners have."""
    given = [machine.get(name, "") for name in ("RUNNER_TOOL_CACHE", "AGENT_TOOLSDIRECTORY")]
    for root in dict.fromkeys((*given, HOSTED)):
        if root.startswith("/"):
            folders = (folder / arch() for folder in _folders(Path(root) / tool))
            whole = (folder for folder in folders if folder.with_name(f"{folder.name}.complete").exists())
            yield from managed(whole, program, "tool cache", named_by=1)


def managed(folders: Iterable[Path], program: str, place: str, named_by: int = 0) -> Iterator[Tool]:
    """The versions in a manager's folders; `named_by`: how many folders up the one is that the version names."""
    for folder in folders:
        named = folder.parents[named_by - 1] if named_by else folder
        version = read_version(named.name)
        path = folder / program
        if version is not None and path.is_file() and os.access(path, os.X_OK):
            yield Tool(version, path, place, True)


def below(*folders: Path | None) -> Iterator[Path]:
    """The folders in some folders, as far as they are there."""
    for folder in folders:
        if folder is not None:
            yield from _folders(folder)


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())[:MAX_FOLDERS]
    return []


def variable(machine: Mapping[str, str], name: str, *otherwise: str) -> Path | None:
    """The folder that a variable names, else one below the home; None if there is neither."""
    given, home = machine.get(name, ""), machine.get("HOME", "")
    if given.startswith("/"):
        return Path(given)
    return Path(home, *otherwise) if home.startswith("/") else None


def on_path(names: Sequence[str], search: str, question: tuple[str, ...]) -> Iterator[Tool]:
    """The tools that PATH leads to, in its order; shims are passed over: the versions behind them are found."""
    seen: set[str] = set()
    for folder in search.split(":"):
        if not folder.startswith("/") or Path(folder).name == "shims":
            continue
        for name in names:
            program = Path(folder) / name
            with suppress(OSError):
                real = program.resolve()
                if not program.is_file() or not os.access(program, os.X_OK) or str(real) in seen:
                    continue
                seen.add(str(real))
                version = _ask(str(program), real.stat().st_mtime_ns, question)
                if version is not None:
                    yield Tool(version, program, "PATH", False)


@lru_cache(256)
def _ask(program: str, changed: int, question: tuple[str, ...]) -> Version | None:  # noqa: ARG001 - part of the key
    variables = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [program, *question],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_S,
            check=False,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.decode("utf-8", "replace").split()
    return read_version(words[-1]) if done.returncode == 0 and words else None


def best(tools: Sequence[Tool], wanted: Range, early: bool = False) -> Tool | None:
    """The newest version in a range, of equal ones the one found first."""
    fitting = [tool for tool in tools if wanted.holds(tool.version, early)]
    return max(fitting, key=lambda tool: tool.version) if fitting else None


def not_here(what: str, wanted: str, tools: Sequence[Tool], hint: str) -> NotFound:
    """The error for a version that this machine does not have."""
    versions = sorted({(tool.version, str(tool.version)) for tool in tools}, reverse=True)
    found = ", ".join(text for _, text in versions[:MAX_TOLD]) or "none"
    return NotFound(f"{what} {wanted} is not on this machine; found: {found}", hint)
