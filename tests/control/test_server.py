"""The server over a real Unix socket: routes, errors, bounds, streams, stopping."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pwf.control import client, connections, server
from p2pwf.control.client import Client, find_socket
from p2pwf.control.replies import error_reply
from p2pwf.control.requests import MAX_BODY
from p2pwf.errors import InvalidWorkflow, NoNode, NotFound, Overloaded, P2pwfError, Refused, TryAgain, UsageError
from tests.control.kit import ME, OTHER, MemoryApi, call, node, raw, served


async def submit(folder: Path, **more: Any) -> str:
    file = folder / "a.yml"
    file.write_text("jobs:\n")
    made = await call(folder, "POST", "runs", body={"file": str(file), **more})
    return str(made["workflow_id"])


async def test_a_submission_arrives_with_all_it_said() -> None:
    async with node() as (api, folder):
        run = await submit(
            folder, name="n", priority=1.5, event="push", payload={"a": [1]}, inputs={"k": "v"}, force=True, key="once"
        )
        request = api.requests[0]
        assert (request.name, request.priority, request.event, request.key) == ("n", 1.5, "push", "once")
        assert (request.payload, request.inputs, request.force) == ({"a": [1]}, {"k": "v"}, True)
        assert (await call(folder, "GET", "runs", run))["name"] == "n"
        assert [one["workflow_id"] for one in await call(folder, "GET", "runs")] == [run]
        assert await call(folder, "GET", "runs", query={"status": "failed"}) == []


async def test_errors_keep_their_class_message_hint_and_findings() -> None:
    async with node() as (_, folder):
        (folder / "bad.yml").write_text("nothing\n")
        with pytest.raises(InvalidWorkflow, match=r"a\.yml:4:3") as invalid:
            await call(folder, "POST", "runs", body={"file": str(folder / "bad.yml")})
        assert [one["line"] for one in invalid.value.diagnostics] == [4, 7]
        with pytest.raises(NotFound) as missing:
            await call(folder, "GET", "runs", "nonesuch")
        assert missing.value.hint == "see `p2pwf workflow list`"
        run = await submit(folder)
        with pytest.raises(Refused):
            await call(folder, "PATCH", "runs", run, body={"status": "completed"})
        with pytest.raises(UsageError):
            await call(folder, "GET", "runs", run, "explain", query={"job": "m"})
        with pytest.raises(NotFound, match="no such route"):
            await call(folder, "GET", "nonesuch")


@pytest.mark.parametrize("name", ["a/b", "../../v1/info", "100% \u00fc\n?x=1#y", "%2F", "watch", "."])
async def test_a_name_may_hold_anything(name: str) -> None:
    async with node() as (api, folder):
        with pytest.raises(NotFound) as missing:
            await call(folder, "GET", "runs", name, "report")
        assert missing.value.message == f"no run {name!r}"
        await call(folder, "POST", "peers", body={"peer_id": name})
        assert (await call(folder, "DELETE", "peers", name))["removed"] is True
        assert name not in api.members


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "file is missing"),
        ({"file": 3}, "file is not a text"),
        ({"file": "relative.yml"}, "absolute"),
        ({"file": "/a\0b"}, "no name that a file can have"),
        ({"file": "/a", "source_dir": "/\ud800"}, "no name that a file can have"),
        ({"file": "/a", "priority": "high"}, "priority is not a finite number"),
        ({"file": "/a", "priority": True}, "priority is not a finite number"),
        ({"file": "/a", "inputs": []}, "inputs is not an object"),
        ({"file": "/a", "force": "maybe"}, "force is neither"),
        ({"file": "/a", "forse": True}, "unknown field 'forse'"),
        ([], "no JSON object"),
    ],
)
async def test_a_wrong_field_is_named(body: object, complaint: str) -> None:
    async with node() as (_, folder):
        with pytest.raises(UsageError, match=complaint):
            await call(folder, "POST", "runs", body=body)


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "complaint"),
    [
        ("POST", "pause", {}, {}, "on is missing"),
        ("POST", "assign", {"run": "x"}, {}, "unknown field 'run'"),
        ("POST", "shutdown", {"when": 3}, {}, "unknown field 'when'"),
        ("GET", "runs", None, {"status": "done"}, "status is not 'done'"),
    ],
)
async def test_what_nobody_meant_changes_nothing(
    method: str, path: str, body: object, query: dict[str, str], complaint: str
) -> None:
    async with node() as (api, folder):
        api.paused = True
        with pytest.raises(UsageError, match=complaint):
            await call(folder, method, path, body=body, query=query)
        assert api.paused
        assert not api.stopped.is_set()


def error_of(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


async def test_what_is_no_request_ends_that_connection_only() -> None:
    async with node() as (_, folder):
        path = folder / "control.sock"
        assert b" 400 " in await raw(path, b"\x00\x01\x02 nonsense\r\n\r\n")
        assert b" 431 " in await raw(path, b"GET /v1/info HTTP/1.1\r\nx: " + b"a" * (connections.MAX_HEAD + 1))
        answer = await raw(
            path, b"POST /v1/runs HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\n{,}"
        )
        assert error_of(answer)[0] == 400
        answer = await raw(path, b"PUT /v1/runs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert error_of(answer)[0] == 405
        assert (await call(folder, "GET", "info"))["peer_id"] == ME


async def test_a_body_over_the_bound_is_refused() -> None:
    async with node() as (_, folder):
        with pytest.raises(UsageError, match="larger than"):
            await call(folder, "POST", "runs", body={"file": "a" * (MAX_BODY + 1)})
        assert (await call(folder, "GET", "info"))["peer_id"] == ME


async def test_our_own_bug_is_told_as_one_and_ends_nothing() -> None:
    class Broken(MemoryApi):
        async def stats(self) -> dict[str, Any]:
            raise ZeroDivisionError

    async with node() as (_, folder):
        broken = folder / "b"
        async with served(Broken(), broken):
            with pytest.raises(P2pwfError) as bug:
                await call(broken, "GET", "stats")
            assert bug.value.exit_code == 70
            assert (await call(broken, "GET", "info"))["name"] == "alice"


async def test_a_watch_tells_every_change_until_the_end() -> None:
    async with node() as (api, folder):
        run = await submit(folder)
        lines = Client(folder).stream("runs", run, "watch")
        first = await trio.to_thread.run_sync(next, lines)
        api.end(run, "success")
        rest: list[Any] = await trio.to_thread.run_sync(list, lines)
        assert [view["status"] for view in [first, *rest]] == ["assigned", "completed"]


async def test_a_watcher_that_hangs_up_is_forgotten() -> None:
    async with node() as (api, folder):
        run = await submit(folder)
        lines = Client(folder).stream("runs", run, "watch")
        first = await trio.to_thread.run_sync(next, lines)
        assert first["status"] == "assigned"
        await api.until_streams(1)
        await trio.to_thread.run_sync(lines.close)  # type: ignore[attr-defined]
        await api.until_streams(0)


async def test_an_error_in_a_stream_comes_after_its_lines() -> None:
    async with node() as (_, folder):
        seen: list[Any] = []

        def follow() -> None:
            seen.extend(Client(folder).stream("clock", "log"))

        with pytest.raises(Refused, match="event 2"):
            await trio.to_thread.run_sync(follow)
        # extend() keeps what came before the error
        assert [one["cid"] for one in seen] == ["bafy0", "bafy1"]
        with pytest.raises(NotFound):
            await trio.to_thread.run_sync(next, Client(folder).stream("runs", "none", "logs"))


async def test_a_stream_that_is_cut_off_does_not_look_complete() -> None:
    async with node() as (_, folder):
        api, inner = MemoryApi(), folder / "b"
        async with trio.open_nursery() as nursery:
            async with served(api, inner):
                run = await submit(inner)
                lines = Client(inner).stream("runs", run, "watch")
                await trio.to_thread.run_sync(next, lines)
            with pytest.raises(NoNode, match="went away"):
                await trio.to_thread.run_sync(next, lines)
            nursery.cancel_scope.cancel()


async def test_a_caller_that_does_not_read_holds_up_neither_others_nor_the_end() -> None:
    async with node() as (_, folder):
        api, inner = MemoryApi(), folder / "b"
        api.log("x" * 4_000_000)  # more than any socket's buffer: its write is under way when the end comes
        with socket.socket(socket.AF_UNIX) as deaf, trio.fail_after(60):  # a hang is what is looked for
            async with served(api, inner):
                run = await submit(inner)
                deaf.connect(os.fspath(inner / "control.sock"))
                deaf.sendall(f"GET /v1/runs/{run}/logs HTTP/1.1\r\nhost: x\r\n\r\n".encode())
                await trio.to_thread.run_sync(deaf.recv, 1)
                assert (await call(inner, "POST", "shutdown")) == {"stopping": True}
                await api.stopped.wait()
        assert not (inner / "control.sock").exists()


async def test_members_are_added_listed_and_removed() -> None:
    async with node() as (_, folder):
        await call(folder, "POST", "peers", body={"peer_id": "new", "roles": ["run"]})
        assert [one["peer_id"] for one in await call(folder, "GET", "peers")] == [ME, OTHER, "new"]
        assert (await call(folder, "DELETE", "peers", "new"))["removed"] is True
        with pytest.raises(NotFound, match="a/b c"):
            await call(folder, "DELETE", "peers", "a/b c")
        assert await call(folder, "GET", "peers", query={"pending": True}) == []


async def test_t48_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with node() as (_, folder):
        monkeypatch.setattr(server, "peer_uid", lambda _: os.geteuid() + 1)
        with pytest.raises(Refused, match="another user"):
            await call(folder, "GET", "info")


async def test_a_node_that_has_all_it_takes_answers_429_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    async with node() as (api, folder):

        async def submit_none(_: object) -> dict[str, Any]:
            raise Overloaded("10000 runs are open", "wait until some have ended")

        monkeypatch.setattr(api, "submit", submit_none)
        with pytest.raises(Overloaded, match="10000") as told:
            await submit(folder)
    assert told.value.hint == "wait until some have ended"
    reply = error_reply(told.value)
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "1")


async def test_a_caller_before_whom_too_many_wait_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with node() as (_, folder):
        path = find_socket(folder)
        real, refused = socket.socket.connect, ["once", "twice"]

        def connect(connection: socket.socket, address: str) -> None:
            if address == path and refused and refused.pop():
                raise BlockingIOError
            real(connection, address)

        monkeypatch.setattr(socket.socket, "connect", connect)
        monkeypatch.setattr(client, "CROWD_SECONDS", 0.0)
        assert await call(folder, "GET", "runs") == []
        refused.extend(["once"] * 10)
        monkeypatch.setattr(client, "CONNECT_SECONDS", 0.0)
        with pytest.raises(Overloaded, match="no time"):
            await call(folder, "GET", "runs")


async def test_a_connection_over_the_bound_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with node() as (api, folder):
        run = await submit(folder)
        lines = Client(folder).stream("runs", run, "watch")
        await trio.to_thread.run_sync(next, lines)
        monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
        with pytest.raises(TryAgain, match="too many"):
            await call(folder, "GET", "info")
        await trio.to_thread.run_sync(lines.close)  # type: ignore[attr-defined]
        await api.until_streams(0)
