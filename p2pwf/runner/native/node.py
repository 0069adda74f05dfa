"""actions/setup-node: a Node.js of this machine for the steps that follow.

Source of the inputs' meaning: the public documentation of actions/setup-node; of the names of lines with long-term
support: the release schedule of Node.js. One that a version manager keeps goes on PATH as it is. One that lies among
other programs gets a folder of links, so that these do not come first as well.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import trio

from p2pwf.errors import UsageError
from p2pwf.runner.jobfiles import read_file, write_file
from p2pwf.runner.native import matchers
from p2pwf.runner.native.context import NativeAction, NativeContext
from p2pwf.runner.native.tools import Tool, arch, below, best, hosted, managed, not_here, on_path, variable
from p2pwf.runner.native.versions import Range, read_range

HINT: Final = (
    "install it on this peer (nvm, n, fnm, a system package), ask for another, or let labels choose a peer that has it"
)
MAX_FILE: Final = 1024 * 1024
LTS: Final[Mapping[str, int]] = {
    "argon": 4, "boron": 6, "carbon": 8, "dubnium": 10, "erbium": 12, "fermium": 14, "gallium": 16, "hydrogen": 18,
    "iron": 20, "jod": 22, "krypton": 24,
}  # fmt: skip
"""Lines with long-term support, by name; every even one comes to have it, half a year after its first version."""
_NEWEST: Final = ("latest", "node", "current", "*", "x")
_PROGRAMS: Final = ("node", "npm", "npx", "corepack")
_OLD_FILE: Final = re.compile(r"(?:nodejs|node)\s+v?(\S+)")
_HIDDEN_TOKEN: Final = "XXXXX-XXXXX-XXXXX-XXXXX"  # noqa: S105 - what the action sets where no token is given


async def _main(context: NativeContext) -> dict[str, str]:
    if context.state.container is not None:
        raise UsageError("actions/setup-node does not reach into a job's container", "use an image that has it")
    context.flag("check-latest")
    context.flag("always-auth")
    if cache := context.text("cache"):
        context.warn(f"actions/setup-node: 'cache: {cache}' is not done here; a step with actions/cache does it")
    given = context.text("architecture")
    if given and given.lower() != arch():
        raise UsageError(f"this machine is {arch()}, not {given}", "let labels choose a peer that is")
    text = await context.state.hand.run(_wanted, context)
    tools = await trio.to_thread.run_sync(lambda: [one for one in _all(context.machine) if context.sees(one.program)])
    tool = _choose(tools, text)
    await context.state.hand.run(_put_on_path, context, tool, rights="reads")
    if context.text("registry-url"):
        await context.state.hand.run(_use_registry, context)
    matchers.add(context, "node", matchers.NODE)
    context.say(f"Found Node.js {tool.version}, from {tool.place}: {tool.program}")
    return {"node-version": f"v{tool.version}", "cache-hit": "false"}


ACTION: Final = NativeAction(_main)


def _all(machine: Mapping[str, str]) -> Iterator[Tool]:
    here = {**os.environ, **machine}
    yield from hosted("node", "bin/node", here)
    nvm, fnm = variable(here, "NVM_DIR", ".nvm"), variable(here, "FNM_DIR", ".local", "share", "fnm")
    volta, asdf = variable(here, "VOLTA_HOME", ".volta"), variable(here, "ASDF_DATA_DIR", ".asdf")
    n = Path(here["N_PREFIX"]) if here.get("N_PREFIX", "").startswith("/") else Path("/usr/local")
    yield from managed(below(nvm and nvm / "versions" / "node"), "bin/node", "nvm")
    yield from managed(below(n / "n" / "versions" / "node"), "bin/node", "n")
    yield from managed(below(fnm and fnm / "node-versions"), "installation/bin/node", "fnm")
    yield from managed(below(volta and volta / "tools" / "image" / "node"), "bin/node", "volta")
    yield from managed(below(asdf and asdf / "installs" / "nodejs"), "bin/node", "asdf")
    yield from on_path(("node", "nodejs"), here.get("PATH", ""), ("--version",))


def _choose(tools: list[Tool], text: str) -> Tool:
    if not text:  # none was asked for: the one that a step would get
        found = next((tool for tool in tools if tool.place == "PATH"), None)
        if found is None:
            raise not_here("Node.js", "on PATH", tools, HINT)
        return found
    found = best(tools, _range(text, tools))
    if found is None:
        raise not_here("Node.js", text, tools, HINT)
    return found


def _range(text: str, tools: list[Tool]) -> Range:
    word = text.lower()
    if word in _NEWEST:
        return read_range("*")
    if not word.startswith("lts/"):
        return read_range(text)
    line = word.removeprefix("lts/")
    if line == "*":
        here = [tool.version.major for tool in tools if tool.version.major in LTS.values()]
        return read_range(str(max(here, default=max(LTS.values()))))
    if re.fullmatch(r"-\d{1,2}", line):
        lines = sorted(LTS.values(), reverse=True)
        back = int(line[1:])
        if back < len(lines):
            return read_range(str(lines[back]))
    if line not in LTS:
        raise UsageError(f"no line of Node.js with long-term support is called {text}", f"known: {', '.join(LTS)}")
    return read_range(str(LTS[line]))


def _wanted(context: NativeContext) -> str:
    given, file = context.text("node-version"), context.text("node-version-file")
    if given:
        if file:
            context.warn("Both node-version and node-version-file are specified, only node-version is used")
        return given
    if not file:
        return ""
    path = context.path(file)
    data = read_file(path, MAX_FILE)
    if data is None:
        raise UsageError(f"The specified node version file at: {path} does not exist", "was it checked out?")
    found = version_in(data.decode("utf-8", "replace"), path.name)
    if not found:
        raise UsageError(f"no version of Node.js in {file}", "it names none as actions/setup-node reads it")
    context.say(f"Resolved {file} as {found}")
    return found


def version_in(text: str, name: str) -> str:
    """The version that a file asks for; empty if it asks for none."""
    if name.endswith(".json"):
        try:
            read: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{name} is no JSON: {error}") from error
        engines = _at(read, "devEngines", "runtime")
        runtimes = engines if isinstance(engines, list) else [engines]
        runtime = next((one for one in runtimes if isinstance(one, dict) and one.get("name") == "node"), None)
        ways = (_at(read, "volta", "node"), _at(runtime, "version"), _at(read, "engines", "node"))
        return next((value.strip() for value in ways if isinstance(value, str) and value.strip()), "")
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    if name == ".tool-versions":
        return next((match[1] for line in lines if (match := _OLD_FILE.match(line))), "")
    first = next((line for line in lines if line), "")
    match = _OLD_FILE.fullmatch(first)
    return match[1] if match else first


def _at(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _put_on_path(context: NativeContext, tool: Tool) -> None:
    if tool.apart:
        context.add_path(tool.program.parent)
        return
    folder = context.state.folders.tools / "node" / str(tool.version) / arch() / "bin"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "node").symlink_to(tool.program)
        for name in _PROGRAMS[1:]:
            beside = tool.program.with_name(name)
            if beside.exists():
                (folder / name).symlink_to(beside)
    context.add_path(folder)


def _use_registry(context: NativeContext) -> None:
    """Let npm ask another registry, with a token that steps give as NODE_AUTH_TOKEN."""
    url, scope = context.text("registry-url"), context.text("scope")
    if not re.fullmatch(r"https?://[^\s\"']+", url):
        raise UsageError(f"registry-url is no URL: {url[:80]}", "write one that begins with https://")
    url = url if url.endswith("/") else url + "/"
    prefix = f"{scope if scope.startswith('@') else '@' + scope}:" if scope else ""
    file = context.state.folders.temp / ".npmrc"
    token = "//" + url.partition("://")[2] + ":_authToken=${NODE_AUTH_TOKEN}"
    write_file(file, f"{token}\n{prefix.lower()}registry={url}\n".encode())
    context.set_variable("NPM_CONFIG_USERCONFIG", str(file))
    context.state.variables.setdefault("NODE_AUTH_TOKEN", _HIDDEN_TOKEN)
