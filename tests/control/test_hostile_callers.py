"""Callers that stop half-way, drip, flood, or are somebody else: each is let go, and nobody else notices."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from p2pwf.control import server
from p2pwf.control.connections import IDLE_SECONDS, Connections
from p2pwf.control.requests import MAX_BODY
from p2pwf.control.routes import make_app
from tests.control.kit import MemoryApi, call, node, raw

PATIENCE = 120
"""Virtual seconds: longer than the server waits for anybody's request."""


@pytest.fixture
def autojump() -> trio.testing.MockClock:
    """Time jumps once nothing happens, on sockets neither: a minute of waiting takes a moment."""
    return trio.testing.MockClock(autojump_threshold=0.05)


@asynccontextmanager
async def caller(folder: Path) -> AsyncIterator[trio.SocketStream]:
    async with await trio.open_unix_socket(os.fspath(folder / "control.sock")) as stream:
        yield stream


async def rest_of(stream: trio.SocketStream) -> bytes:
    """What comes until the server closes; a reset is an end as well."""
    content = b""
    try:
        async for part in stream:
            content += part
    except trio.BrokenResourceError:
        pass
    return content


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /v1/in",
        b"GET /v1/info HTTP/1.1\r\nhost: x\r\n",
        b"POST /v1/runs HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    ],
)
async def test_a_caller_that_never_finishes_its_request_is_let_go(
    autojump: trio.testing.MockClock, begun: bytes
) -> None:
    async with node() as (api, folder), caller(folder) as stream:
        await stream.send_all(begun)
        with trio.fail_after(PATIENCE):
            answer = await rest_of(stream)
        assert b" 200 " not in answer
        assert not api.requests


@pytest.mark.parametrize("asked", [b"", b"GET /v1/in", b"GET /v1/info HTTP/1.1\r\nhost: x\r\n\r\n"])
async def test_a_caller_that_leaves_makes_room_at_once(autojump: trio.testing.MockClock, asked: bytes) -> None:
    connections = Connections(make_app(MemoryApi()))
    ours, theirs = (trio.SocketStream(one) for one in trio.socket.socketpair())
    with trio.fail_after(IDLE_SECONDS / 2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connections.serve, theirs)
            await ours.send_all(asked)
            if asked.endswith(b"\r\n\r\n"):
                assert (await ours.receive_some()).startswith(b"HTTP/1.1 200")
                assert connections.open == 1
            await ours.aclose()
    assert connections.open == 0


async def test_a_caller_that_drips_its_head_is_let_go(autojump: trio.testing.MockClock) -> None:
    async with node() as (_, folder), caller(folder) as stream:
        head = b"GET /v1/info HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 1000
        with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):
            for letter in head:
                await stream.send_all(bytes([letter]))
                await trio.sleep(5)


async def test_a_caller_that_drips_its_body_is_let_go(autojump: trio.testing.MockClock) -> None:
    async with node() as (api, folder), caller(folder) as stream:
        await stream.send_all(b"POST /v1/runs HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):
            for _ in range(1000):
                await stream.send_all(b" ")
                await trio.sleep(5)
        assert not api.requests


async def test_a_flood_without_an_announced_length_is_cut_off() -> None:
    async with node() as (_, folder):
        async with caller(folder) as stream:
            await stream.send_all(b"POST /v1/runs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            part = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            with pytest.raises(trio.BrokenResourceError):
                for _ in range(100 * MAX_BODY // 0x10000):
                    await stream.send_all(part)
        assert (await call(folder, "GET", "info"))["name"] == "alice"


@pytest.mark.parametrize(
    "body",
    [
        b"{" * 100_000,
        b"[" * 100_000,
        b"\xff",
        b'{"file": "/x", "priority": NaN}',
        b'{"file": "/x", "priority": 1e999}',
        b'{"file": "/x", "priority": ' + b"9" * 400 + b"}",
        b'{"file": "/x", "priority": ' + b"9" * 5000 + b"}",
    ],
    ids=["braces", "brackets", "bytes", "nan", "infinite", "too large", "absurd"],
)
async def test_json_made_to_break_parsers_is_the_callers_mistake(body: bytes) -> None:
    async with node() as (api, folder):
        head = b"POST /v1/runs HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        answer = await raw(folder / "control.sock", head + body)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert not api.requests


async def test_a_bug_is_in_the_log_with_its_cause_but_not_in_the_answer() -> None:
    async with node() as (api, folder):
        api.members = None  # type: ignore[assignment]
        with capture_logs() as logged:
            answer = await raw(
                folder / "control.sock", b"GET /v1/peers HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            )
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"NoneType" not in answer
    assert [(entry["path"], "NoneType" in str(entry["exc_info"])) for entry in logged] == [("/v1/peers", True)]


def become(user: int) -> None:
    """Let this thread alone have another effective user: the C library's function changes all of a process, and the
    server is in this one. By number, setresuid(2)."""
    number = {"x86_64": 117, "aarch64": 147}.get(platform.machine())
    if number is None:
        pytest.skip("the number of setresuid is not known here")
    assert ctypes.CDLL(None).syscall(ctypes.c_long(number), -1, user, -1) == 0


def answer_to_another_user(folder: Path) -> bytes:
    """What a caller with another uid is told, where the folder and the socket let it through."""
    folder.chmod(0o755)
    (folder / "control.sock").chmod(0o666)
    with socket.socket(socket.AF_UNIX) as connection:
        become(65534)  # the kernel notes who connects, not who speaks later
        try:
            connection.connect(os.fspath(folder / "control.sock"))
        finally:
            become(0)
        connection.sendall(b"GET /v1/info HTTP/1.1\r\nhost: x\r\n\r\n")
        return connection.recv(4096)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_t48_another_user_is_refused_by_the_kernels_word_even_where_the_folder_is_open() -> None:
    async with node() as (_, folder):
        answer = await trio.to_thread.run_sync(answer_to_another_user, folder)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b'"refused"' in answer


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_t48_without_the_kernels_word_another_user_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "peer_uid", lambda _: None)
    async with node() as (_, folder):
        answer = await trio.to_thread.run_sync(answer_to_another_user, folder)
    assert answer.startswith(b"HTTP/1.1 200 ")
