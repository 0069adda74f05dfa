"""`p2pwf mcp --http`: who gets in, from where, with how much; real processes, the SDK's client, plain requests."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import trio
from mcp_types import TextResourceContents

from p2pwf.cli.main import run
from p2pwf.cli.mcp import HTTP
from p2pwf.errors import TryAgain, UsageError
from p2pwf.mcp.http import MAX_BODY, MAX_CONNECTIONS, loopback_address, serve_http
from tests.e2e.kit import Node
from tests.mcp.kit import ERAS, ROOT, HttpServer, call, ended, over_http, short_folder, silent_node

ASK = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
LIST = json.dumps(ASK).encode()
MAX_ASKED = 100_000
"""Requests that a server cannot take without an answer being read: they are more than any buffer holds."""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "plain", "version": "1"},
}
PLAIN: dict[str, tuple[dict[str, str], bytes]] = {
    "legacy": ({}, LIST),
    "auto": (
        {"MCP_Protocol_Version": "2026-07-28", "MCP_Method": "tools/list"},
        json.dumps({**ASK, "params": {"_meta": META}}).encode(),
    ),
}
"""The headers and the body of one request, in both eras: the SDK handles them apart."""


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_with_the_token_has_the_tools_and_the_resources(
    server: HttpServer, node: Node, file: Path, era: str
) -> None:
    async with server.client(era) as client:
        assert len((await client.list_tools()).tools) == 10
        id = (await call(client, "submit_p2p_workflow", workflow_file=str(file)))["workflow_id"]
        assert await ended(node, id) == "completed"
        assert (await call(client, "get_p2p_workflow_status", workflow_id=id[-12:]))["workflow_id"] == id
        (log,) = (await client.read_resource(f"p2pwf://runs/{id}/logs")).contents
        assert isinstance(log, TextResourceContents)
        assert "the level is 1" in log.text


@pytest.mark.parametrize("era", ERAS)
async def test_without_the_token_nobody_is_told_anything(server: HttpServer, era: str) -> None:
    headers, body = PLAIN[era]
    assert server.ask("POST", body=body, **headers)[0] == 200
    for shown in (
        None, "", "Bearer", "Bearer ", f"Bearer {server.token}x", f"Bearer {server.token[:-1]}", server.token,
        f"Basic {server.token}", f"Bearer {server.token}, Bearer x", "Bearer \xff",
    ):  # fmt: skip
        status, answer = server.ask("POST", body=body, Authorization=shown, **headers)
        assert status == 401, shown
        assert json.loads(answer)["error"]["hint"]
    # Nor what there is, nor what would be too large.
    assert server.ask("GET", "/elsewhere", Authorization=None)[0] == 401
    assert server.declare(MAX_BODY + 1, Authorization="") == 401
    with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="error response"), flatten_subgroups=True):
        async with server.client(era, token="x" * 43):
            pass


@pytest.mark.parametrize("era", ERAS)
def test_a_web_page_does_not_get_in_by_a_name_of_its_own(server: HttpServer, era: str) -> None:
    headers, body = PLAIN[era]
    port = server.place.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", "127.0.0.1:1"):
        assert server.ask("POST", body=body, Host=host, **headers)[0] == 421, host
    for origin in ("null", "http://evil.example", f"http://evil.example:{port}", f"https://{server.place}", "file://"):
        assert server.ask("POST", body=body, Origin=origin, **headers)[0] == 403, origin
    for name in ("localhost", "127.0.0.1"):
        place = f"{name}:{port}"
        assert server.ask("POST", body=body, Host=place, Origin=f"http://{place}", **headers)[0] == 200


@pytest.mark.parametrize("era", ERAS)
def test_a_request_has_a_bound_and_one_form(server: HttpServer, era: str) -> None:
    headers, body = PLAIN[era]
    assert server.ask("POST", body=body + b" " * (MAX_BODY - len(body)), **headers)[0] == 200
    assert server.declare(MAX_BODY + 1, **headers) == 413
    for bad in (b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000):
        assert server.ask("POST", body=bad, **headers)[0] == 400, bad[:10]
    assert server.ask("POST", body=body, Content_Type="text/plain", **headers)[0] == 400
    for method in ("GET", "DELETE", "PUT", "OPTIONS"):
        assert server.ask(method, "/mcp", b"", **headers)[0] == 405, method
    for path in ("/", "/mcp/", "/mcp/x", "/v1/info", "//mcp"):
        assert server.ask("POST", path, body, **headers)[0] == 404, path


async def test_a_hundred_calls_at_once_are_all_answered(server: HttpServer, file: Path) -> None:
    answers: list[bool] = []

    async def one() -> None:
        told = await call(client, "parse_workflow_tags", workflow_file=str(file))
        assert told["success"] or told["code"] == "try_again"
        answers.append(told["success"])

    async with server.client() as client, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(one)
    assert len(answers) == 100
    assert sum(answers) > 8


def test_a_request_that_does_not_say_how_large_it_is_has_the_same_bound(server: HttpServer) -> None:
    host, _, port = server.place.rpartition(":")
    with socket.create_connection((host, int(port)), 30) as caller:
        head = {**server.headers, "Host": server.place, "Transfer-Encoding": "chunked"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        caller.sendall(f"POST /mcp HTTP/1.1\r\n{lines}\r\n{MAX_BODY + 1:x}\r\n".encode() + b" " * (MAX_BODY + 1))
        assert caller.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_connection_too_many_is_told_so_and_those_that_end_make_room(server: HttpServer) -> None:
    host, _, port = server.place.rpartition(":")
    held = [socket.create_connection((host, int(port)), 30) for _ in range(MAX_CONNECTIONS)]
    try:
        status, answer = server.ask("POST", body=LIST)
        assert (status, json.loads(answer)["error"]["code"]) == (503, "try_again")
    finally:
        for one in held:
            one.close()
    while server.ask("POST", body=LIST)[0] == 503:  # until the server has seen that they are gone
        pass


async def test_a_client_that_hangs_up_holds_up_nobody_and_a_half_request_not_the_end() -> None:
    with short_folder() as folder, silent_node(folder) as node, over_http(folder, "localhost:0") as server:
        async with trio.open_nursery() as nursery, server.client() as client:
            nursery.start_soon(call, client, "get_p2p_stats")
            asked, _ = await trio.to_thread.run_sync(node.accept)
            nursery.cancel_scope.cancel()
        with asked:
            async with server.client() as client:
                told = await call(client, "parse_workflow_tags", workflow_file="/nowhere")
                assert told["code"] == "usage"
            host, _, port = server.place.rpartition(":")
            assert host == "127.0.0.1"
            with socket.create_connection((host, int(port)), 30) as half:
                half.sendall(b"POST /mcp HTTP/1.1\r\n")
                assert await trio.to_thread.run_sync(server.stop) == 0


def test_a_client_that_asks_on_and_on_and_reads_nothing_does_not_hold_up_the_end() -> None:
    """hypercorn shields what it writes from cancellation: without `drop_at_end` the server waits for that client."""
    with short_folder() as folder, over_http(folder, "localhost:0") as server:
        host, _, port = server.place.rpartition(":")
        with socket.socket() as caller:
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                caller.setsockopt(socket.SOL_SOCKET, buffer, 4096)
            caller.settimeout(1)
            caller.connect((host, int(port)))
            head = {**server.headers, "Host": server.place, "Content-Length": str(len(LIST))}
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            asked = f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode() + LIST
            with pytest.raises(TimeoutError):  # the server reads no more, for it cannot write
                for _ in range(MAX_ASKED):
                    caller.sendall(asked)
            assert server.stop() == 0


def test_only_loopback_addresses_are_listened_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert loopback_address("127.0.0.1:80") == loopback_address("localhost:80") == ("127.0.0.1", 80)
    assert loopback_address("[::1]:0") == ("::1", 0)
    for text in (
        "0.0.0.0:80", "[::]:80", "192.168.1.7:80", "[fe80::1]:80", "example.com:80", "127.0.0.1", "80", ":80", "",
        "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x", "127.0.0.1:²", "localhost.evil.example:80",
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            loopback_address(text)
        assert caught.value.hint
    assert run(["mcp", "--http", "0.0.0.0:0", "--data-dir", str(tmp_path / "data")]) == 2
    assert "reachable from elsewhere" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_the_example_for_clients_is_what_is_served(server: HttpServer) -> None:
    (told,) = json.loads((ROOT / "examples/mcp/http.json").read_text())["mcpServers"].values()
    assert told["url"] == server.url.replace(server.place, HTTP)
    token = told["headers"]["Authorization"].replace("TOKEN", server.token)
    assert server.ask("POST", body=LIST, Authorization=token)[0] == 200


def test_an_address_that_is_taken_is_said_to_be(server: HttpServer, tmp_path: Path) -> None:
    with pytest.raises(TryAgain, match=f"cannot listen on {server.place}") as caught:
        serve_http(tmp_path, *loopback_address(server.place), print)
    assert "--http" in str(caught.value.hint)
