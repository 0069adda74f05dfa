"""The same tools over HTTP on loopback: only for who shows the token, and for no web page."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.kit import COMMAND, PATIENCE, Node, p2pwf
from tests.mcp.kit import call, fails

PING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """A server's URL, its token, and its process."""
    line = [*COMMAND, "mcp", "--http", "127.0.0.1:0", "--json", "--data-dir", str(folder), *words]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            yield ready["url"], Path(ready["token_file"]).read_text().strip(), process
        finally:
            process.terminate()
            process.wait(PATIENCE)


@asynccontextmanager
async def client(url: str, token: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as http,
        Client(streamable_http_client(url, http_client=http)) as session,
    ):
        yield session


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    folder = tmp_path_factory.mktemp("http") / "data"
    with serving(folder) as (url, token, _):
        yield url, token, folder


def ask(url: str, token: str | None, method: str = "POST", path: str = "/mcp", **more: str) -> tuple[int, Any]:
    """Status and body of one request, as something that is no MCP client would send it."""
    host, port = url.removeprefix("http://").partition("/")[0].rsplit(":", 1)
    headers = {**JSON, **({} if token is None else {"authorization": f"Bearer {token}"}), **more}
    connection = HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        connection.request(method, path, PING if method == "POST" else None, headers)
        reply = connection.getresponse()
        body = reply.read()
        return reply.status, body
    finally:
        connection.close()


async def test_a_client_with_the_token_uses_the_tools(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as node:
        node.start().ready()
        with serving(node.folder) as (url, token, _):
            async with client(url, token) as one, client(url, token) as two:
                assert len((await one.list_tools()).tools) == 10
                assert (await call(one, "get_p2p_stats"))["peer_id"] == (await call(two, "get_p2p_stats"))["peer_id"]
                assert (await fails(two, "get_p2p_workflow_status", workflow_id="x"))["code"] == "not_found"


def test_only_who_shows_the_token_is_let_in(server: tuple[str, str, Path]) -> None:
    url, token, _ = server
    assert ask(url, token)[0] == 200
    for wrong in (None, "", "x", token[:-1], token + "x", "\u00e4".encode().decode("latin-1") * 43):
        status, body = ask(url, wrong)
        assert status == 401, wrong
        assert json.loads(body)["error"]["hint"] == "send `Authorization: Bearer TOKEN`"
        assert token.encode() not in body


def test_no_web_page_gets_in_by_a_name_that_it_makes_point_here(server: tuple[str, str, Path]) -> None:
    url, token, _ = server
    port = url.removesuffix("/mcp").rpartition(":")[2]
    assert ask(url, token, host=f"localhost:{port}")[0] == 200
    assert ask(url, token, host=f"evil.example:{port}")[0] in (403, 421)
    assert ask(url, token, origin="http://evil.example")[0] == 403
    assert ask(url, token, origin="null")[0] == 403


def test_what_is_no_request_of_a_client_is_answered_as_such(server: tuple[str, str, Path]) -> None:
    url, token, _ = server
    assert ask(url, token, path="/")[0] == 404
    assert ask(url, token, method="GET")[0] == 405
    assert ask(url, token, **{"content-length": str(64 * 1024 * 1024)})[0] == 413


def test_the_token_is_the_user_s_alone_and_stays(server: tuple[str, str, Path]) -> None:
    _, token, folder = server
    file = folder / "mcp.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with serving(folder) as (_, again, _):
        assert again == token


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [("x" * 43, 0o644, "others may read"), ("short", 0o600, "holds no token"), ("a b" * 20, 0o600, "holds no token")],
)
def test_a_token_that_is_none_is_refused(tmp_path: Path, content: str, mode: int, says: str) -> None:
    file = tmp_path / "mcp.token"
    file.write_text(content)
    file.chmod(mode)
    done = p2pwf("mcp", "--http", "127.0.0.1:0", data=tmp_path)
    assert done.returncode == 5, done
    assert says in done.stderr
    assert "hint: remove" in done.stderr
    assert content not in done.stderr


@pytest.mark.parametrize(
    "address", ["0.0.0.0:0", "192.0.2.1:80", "[::]:0", "example.com:80", "127.0.0.1", "localhost:x"]
)
def test_it_listens_to_this_machine_alone(tmp_path: Path, address: str) -> None:
    done = p2pwf("mcp", "--http", address, data=tmp_path / "none")
    assert done.returncode == 2, done
    assert "hint: give a loopback address with a port" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_port_in_use_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = p2pwf("mcp", "--http", f"127.0.0.1:{taken.getsockname()[1]}", data=tmp_path)
    assert done.returncode == 6, done
    assert "hint: name another port" in done.stderr


def test_it_ends_when_it_is_told_to_with_clients_connected(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, token, process):
        host, port = url.removeprefix("http://").partition("/")[0].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as half:
            half.sendall(b"POST /mcp HTTP/1.1\r\nhost: x\r\n")
            assert ask(url, token)[0] == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0


def test_without_the_sdk_it_says_what_to_install(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['mcp'] = None; from p2pwf.cli.main import run; "
        "sys.exit(run(['mcp', '--data-dir', sys.argv[1]]))"
    )
    line = [COMMAND[0], "-c", script, str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2, done
    assert "pip install 'p2pwf[mcp]'" in done.stderr
    assert "Traceback" not in done.stderr
