"""`p2pwf mcp` as a process, on stdio and over HTTP, and the official SDK's client to talk to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import trio
from jsonschema import Draft202012Validator
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from p2pwf.control.client import Client as Control
from p2pwf.mcp.schemas import SPECS
from tests.e2e.kit import COMMAND, PATIENCE, Node

ROOT = Path(__file__).parents[2]
ERAS = ("legacy", "auto")
"""How a client begins: the handshake of 2025, or the newest that both know."""
WORK = """\
name: {name}
labels: p2p-workflow
on: {{workflow_dispatch: {{inputs: {{level: {{default: "1"}}}}}}}}
jobs:
  build:
    runs-on: ubuntu-latest
    outputs: {{level: "${{{{ steps.say.outputs.level }}}}"}}
    steps:
      - id: say
        run: |
          echo "the level is ${{{{ inputs.level }}}}"
          echo "level=${{{{ inputs.level }}}}" >> "$GITHUB_OUTPUT"
          mkdir left && echo kept > left/notes.txt
      - {{uses: actions/upload-artifact@v4, with: {{name: notes & more, path: left}}}}
"""
WAITS = "labels: p2p-workflow\non: workflow_dispatch\njobs: {wait: {runs-on: linux, steps: [{run: sleep 600}]}}\n"


CONFIGURED = json.loads((ROOT / "examples/mcp/stdio.json").read_text())["mcpServers"]["p2pwf"]


def arguments(folder: Path, *words: str) -> list[str]:
    """What follows `python`: what the example tells clients to start, on a data folder."""
    assert CONFIGURED["command"] == "p2pwf"
    return [*COMMAND[1:], *CONFIGURED["args"], "--data-dir", str(folder), *words]


@asynccontextmanager
async def on_stdio(folder: Path, era: str = "legacy") -> AsyncIterator[Client]:
    """A client of a server that it has started itself."""
    server = StdioServerParameters(command=sys.executable, args=arguments(folder), env=dict(os.environ))
    async with Client(stdio_client(server), mode=era) as client:
        yield client


class HttpServer:
    """A process that serves over HTTP."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        info = json.loads(process.stdout.readline())
        self.url: str = info["url"]
        self.place = self.url.removeprefix("http://").removesuffix("/mcp")
        self.token_file = Path(info["token_file"])
        self.token = self.token_file.read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        """What every client sends."""
        return {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        }

    @asynccontextmanager
    async def client(self, era: str = "legacy", token: str | None = None) -> AsyncIterator[Client]:
        """A client with the token, or another one."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=PATIENCE, trust_env=False) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=era) as client,
        ):
            yield client

    def ask(self, method: str, path: str = "/mcp", body: bytes = b"", **headers: str | None) -> tuple[int, bytes]:
        """The status and the body of one plain request; headers by name, None leaves one out that is always sent."""
        told: dict[str, str | None] = {**self.headers, **{name.replace("_", "-"): one for name, one in headers.items()}}
        connection = HTTPConnection(self.place, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {name: one for name, one in told.items() if one is not None})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def declare(self, size: int, **headers: str) -> int:
        """The status that a request with a body of a size gets before it has sent any of it."""
        connection = HTTPConnection(self.place, timeout=PATIENCE)
        try:
            connection.putrequest("POST", "/mcp")
            for name, value in {**self.headers, **headers, "Content-Length": str(size)}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


@contextmanager
def over_http(folder: Path, address: str = "127.0.0.1:0") -> Iterator[HttpServer]:
    """A server of a data folder."""
    line = [sys.executable, *arguments(folder, "--json", "--http", address)]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield HttpServer(process)
        finally:
            process.kill()


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a tool, which has to be of the form that the tool's schema tells, and no more."""
    answer = await client.call_tool(tool, arguments)
    told = answer.structured_content
    assert isinstance(told, dict)
    Draft202012Validator(SPECS[tool].gives).validate(told)
    assert set(told) <= set(SPECS[tool].gives["properties"]), tool
    (content,) = answer.content
    assert content.type == "text"
    assert answer.is_error is not told["success"]
    if told["success"]:
        assert json.loads(content.text) == told
    else:
        assert told["error"] in content.text
        assert told["hint"] in content.text
    return told


async def ended(node: Node, run: str) -> str:
    """The status with which a run ends; waits for it."""

    def follow() -> str:
        return str([told["status"] for told in Control(node.folder).stream("runs", run, "watch")][-1])

    with trio.fail_after(PATIENCE):
        return await trio.to_thread.run_sync(follow, abandon_on_cancel=True)  # type: ignore[call-arg]


@contextmanager
def short_folder() -> Iterator[Path]:
    """A data folder with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="p2pwf-") as folder:
        yield Path(folder)


@contextmanager
def silent_node(folder: Path) -> Iterator[socket.socket]:
    """What listens as a node of a data folder would, and answers nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "control.sock"))
        listener.listen(16)
        listener.settimeout(PATIENCE)
        yield listener
