"""actions/setup-python: a Python of this machine for the steps that follow.

Source of the inputs' meaning: the public documentation of actions/setup-python. On a hosted runner a Python is the
job's alone, so a job installs what it likes into it. Here it is the machine's; so the job gets an environment of its
own, below RUNNER_TOOL_CACHE, in which that Python runs: `pip` installs into it, and it goes with the job. What the
machine's Python has installed can be imported. It is made by hand, in under a millisecond: `python -m venv` takes
100 ms, and seconds with a pip.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import trio

from p2pwf.errors import UsageError
from p2pwf.runner.jobfiles import read_file, write_file
from p2pwf.runner.native import matchers
from p2pwf.runner.native.context import NativeAction, NativeContext
from p2pwf.runner.native.tools import Tool, arch, below, best, hosted, managed, not_here, on_path, variable
from p2pwf.runner.native.versions import Range, read_range, read_version

HINT: Final = (
    "install it on this peer (pyenv, uv, a system package), ask for another, or let labels choose a peer that has it"
)
MAX_FILE: Final = 1024 * 1024
_QUESTION: Final = ("-I", "-c", "import platform; print(platform.python_version())")
_NAMES: Final = ("python3", "python", *(f"python3.{minor}" for minor in range(6, 20)))
_UV: Final = re.compile(r"cpython-(\d+\.\d+\.\d+[a-z0-9]*)-")
_PIP: Final = '#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n'


async def _main(context: NativeContext) -> dict[str, str]:
    if context.state.container is not None:
        raise UsageError("actions/setup-python does not reach into a job's container", "use an image that has it")
    early, update = context.flag("allow-prereleases"), context.flag("update-environment", default=True)
    context.flag("check-latest")
    _say_what_is_not_done(context)
    wanted = await context.state.hand.run(_wanted, context)
    tools = await trio.to_thread.run_sync(lambda: [one for one in _all(context.machine) if context.sees(one.program)])
    outputs: dict[str, str] = {}
    for text in wanted or [""]:
        tool = _choose(tools, text, early)
        folder = context.state.folders.tools / "Python" / str(tool.version) / arch()
        await context.state.hand.run(_make, tool, folder, rights="reads")
        if update:
            _set(context, tool, folder)
        context.say(f"Successfully set up CPython ({tool.version}), from {tool.place}: {tool.program}")
        program = str(folder / "bin" / "python")
        outputs = {"python-version": _plain(tool), "python-path": program, "cache-hit": "false"}
    matchers.add(context, "python", matchers.PYTHON)
    return outputs


ACTION: Final = NativeAction(_main)


def _say_what_is_not_done(context: NativeContext) -> None:
    if cache := context.text("cache"):
        context.warn(f"actions/setup-python: 'cache: {cache}' is not done here; a step with actions/cache does it")
    if context.text("pip-install"):
        context.warn("actions/setup-python: 'pip-install' is not done here; a step with `pip install` does it")
    given = context.text("architecture")
    if given and given.lower() != arch():
        raise UsageError(f"this machine is {arch()}, not {given}", "let labels choose a peer that is")
    if context.flag("freethreaded"):
        raise UsageError("free-threaded Pythons are not set up here", "ask for a plain version")


def _plain(tool: Tool) -> str:
    """A version as Python itself writes it."""
    return str(tool.version).replace("-", "", 1)


def _all(machine: Mapping[str, str]) -> Iterator[Tool]:
    """Every CPython of this machine; `machine`: what jobs see of its variables, this process knows more."""
    here = {**os.environ, **machine}
    program = "bin/python3"
    yield from hosted("Python", program, here)
    pyenv = variable(here, "PYENV_ROOT", ".pyenv")
    yield from managed(below(pyenv and pyenv / "versions"), program, "pyenv")
    data = variable(here, "XDG_DATA_HOME", ".local", "share")
    uv = Path(here["UV_PYTHON_INSTALL_DIR"]) if here.get("UV_PYTHON_INSTALL_DIR") else data and data / "uv" / "python"
    for folder in below(uv):
        match = _UV.match(folder.name)
        version = read_version(match[1]) if match else None
        if version is not None and (folder / program).is_file() and not folder.is_symlink():
            yield Tool(version, folder / program, "uv", True)
    yield from on_path(_NAMES, here.get("PATH", ""), _QUESTION)


def _choose(tools: list[Tool], text: str, early: bool) -> Tool:
    if not text:  # none was asked for: the one that a step would get
        search = [tool for tool in tools if tool.place == "PATH"] or sorted(tools, key=lambda tool: tool.version)[-1:]
        if not search:
            raise not_here("Python", "3", tools, HINT)
        return search[0]
    wanted = _range(text)
    found = best([tool for tool in tools if tool.version.pre != "t"], wanted, early)
    if found is None:
        raise not_here("Python", text, tools, HINT)
    return found


def _range(text: str) -> Range:
    if re.match(r"(pypy|graalpy)", text, re.IGNORECASE):
        raise UsageError(f"'{text}' is not set up here", "only CPython is; let a step find others on PATH")
    if re.fullmatch(r"\d+(\.\d+)*t", text):
        raise UsageError(f"free-threaded Pythons are not set up here: {text}", "ask for a plain version")
    if text.endswith("-dev"):
        low = text.removesuffix("-dev")
        return read_range(f"~{low}.0-0")
    return read_range(text)


def _wanted(context: NativeContext) -> list[str]:
    """The versions asked for, the last one is to win; none: the one on PATH."""
    given, file = context.lines("python-version"), context.text("python-version-file")
    if given:
        if file:
            context.warn("Both python-version and python-version-file are specified, only python-version is used")
        return given
    if file:
        path = context.path(file)
        found = versions_in(path)
        if found is None:
            raise UsageError(f"The specified python version file at: {path} doesn't exist.", "was it checked out?")
        if not found:
            raise UsageError(f"no version of Python in {file}", "it names none as actions/setup-python reads it")
        context.say(f"Resolved {file} as {', '.join(found)}")
        return found
    context.warn(
        "Neither 'python-version' nor 'python-version-file' inputs were supplied. "
        "Attempting to find '.python-version' file."
    )
    found = versions_in(context.workspace / ".python-version")
    if found is not None:
        return found
    context.warn("The `python-version` input is not set.  The version of Python currently in `PATH` will be used.")
    return []


def versions_in(path: Path) -> list[str] | None:
    """The versions that a file asks for, None if there is no file; raises UsageError for one that is not TOML but
    called so, and OSError."""
    data = read_file(path, MAX_FILE)
    if data is None:
        return None
    text = data.decode("utf-8", "replace")
    if path.suffix == ".toml" or path.name == "Pipfile":
        return _from_toml(path, text)
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    if path.name == ".tool-versions":
        words = [line.split() for line in lines]
        return [line[1] for line in words if len(line) > 1 and line[0] == "python"][:1]
    # pyenv's own files may name an environment behind the version.
    return [line.partition("/")[0] for line in lines if line]


def _from_toml(path: Path, text: str) -> list[str]:
    try:
        read: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path.name} is no TOML: {error}") from error
    ways = (
        ("project", "requires-python"),
        ("tool", "poetry", "dependencies", "python"),
        ("requires", "python_full_version"),
        ("requires", "python_version"),
    )
    for way in ways:
        value: object = read
        for key in way:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value.strip():
            return [value.strip()]
    return []


def _make(tool: Tool, folder: Path) -> None:
    """Make the environment, as Python's documentation of `site` says that one is told."""
    programs = folder / "bin"
    if programs.exists():
        return
    version = tool.version
    programs.mkdir(parents=True)
    (folder / "lib" / f"python{version.major}.{version.minor}" / "site-packages").mkdir(parents=True)
    (folder / "include").mkdir()
    base = tool.program.resolve()
    settings = {
        "home": base.parent,
        "include-system-site-packages": "true",
        "version": _plain(tool),
        "executable": base,
    }
    write_file(folder / "pyvenv.cfg", "".join(f"{name} = {value}\n" for name, value in settings.items()).encode())
    for name in ("python", "python3", f"python{version.major}.{version.minor}"):
        (programs / name).symlink_to(base)
    for name in ("pip", "pip3", f"pip{version.major}.{version.minor}"):
        write_file(programs / name, _PIP.encode(), mode=0o755)


def _set(context: NativeContext, tool: Tool, folder: Path) -> None:
    for name in ("pythonLocation", "Python_ROOT_DIR", "Python2_ROOT_DIR", "Python3_ROOT_DIR"):
        context.set_variable(name, str(folder))
    context.set_variable("PKG_CONFIG_PATH", str(tool.program.resolve().parents[1] / "lib" / "pkgconfig"))
    context.add_path(folder)
    context.add_path(folder / "bin")
