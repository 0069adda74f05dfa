"""The doors of MCP over HTTP, each taken away: the token, and the names that a request may come by."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from mcp.server.transport_security import TransportSecuritySettings

from p2pwf.errors import UsageError
from p2pwf.mcp import http

TOKEN = "t" * 43
LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[int]:
    """The port of a server in this process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        up = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(http._serve, folder, listener, TOKEN, lambda _: up.set())
            await up.wait()
            yield listener.getsockname()[1]
            nursery.cancel_scope.cancel()


async def status(port: int, **headers: str) -> int:
    """What the server says to a request for its tools."""
    kind = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    every = {"Host": f"127.0.0.1:{port}", **kind, "Content-Length": str(len(LIST)), "Connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in every.items())
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + LIST)
        answer = b""
        while len(answer) < 12 and (data := await stream.receive_some(4096)):
            answer += data
    return int(answer.split()[1])


async def test_with_its_doors_it_lets_in_who_shows_the_token_under_its_own_name(tmp_path: Path) -> None:
    token = {"Authorization": f"Bearer {TOKEN}"}
    async with served(tmp_path) as port:
        assert await status(port, **token) == 200
        assert await status(port) == 401
        assert await status(port, **token, Host="evil.example") == 421
        assert await status(port, **token, Origin="http://evil.example") == 403


async def test_whoever_asks_is_served_without_the_guard_of_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "compare_digest", lambda *_: True)
    async with served(tmp_path) as port:
        assert await status(port) == 200


async def test_a_web_page_is_served_by_a_name_of_its_own_without_the_guard_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all: Any = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    monkeypatch.setattr(http, "TransportSecuritySettings", lambda **_: open_to_all)
    token = {"Authorization": f"Bearer {TOKEN}"}
    async with served(tmp_path) as port:
        assert await status(port, **token, Host="evil.example") == 200
        assert await status(port, **token, Origin="http://evil.example") == 200


def test_it_listens_where_others_reach_it_without_the_guard_of_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError):
        http.loopback_address("192.0.2.1:0")
    monkeypatch.setattr(http, "ip_address", lambda _: type("Anywhere", (), {"is_loopback": True}))
    assert http.loopback_address("192.0.2.1:0") == ("192.0.2.1", 0)
