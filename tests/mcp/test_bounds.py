"""What an assistant is told at once has bounds, and so has what it may ask at once; over an API in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import BlobResourceContents, TextResourceContents

from p2pwf.control.api import JsonObject
from p2pwf.mcp.resources import MAX_CONTENT, MAX_LOG, RECENT_ARTIFACTS, RECENT_RUNS
from p2pwf.mcp.server import MAX_ROWS, MAX_RUNNING, MAX_WAITING, make_server
from p2pwf.requests import SubmitRequest
from tests.control.kit import MemoryApi, node
from tests.mcp.kit import call, short_folder, silent_node


@asynccontextmanager
async def at_work(runs: int = 1) -> AsyncIterator[tuple[MemoryApi, Client, list[str]]]:
    """An API with so many runs, a client of a server of it, and the ids of the runs."""
    async with node() as (api, folder):
        file = folder / "a.yml"
        file.write_text("jobs:\n")
        ids = [(await api.submit(SubmitRequest(file=str(file))))["workflow_id"] for _ in range(runs)]
        # As a node tells them: the newest first, and with all that it knows.
        api.runs = {id: {**api.runs[id], "path": "a.yml", "inputs": {}} for id in reversed(ids)}
        async with Client(make_server(folder), mode="legacy") as client:
            yield api, client, ids


async def text_of(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content.text


async def test_of_very_many_workflows_the_newest_are_told() -> None:
    async with at_work(MAX_ROWS + 5) as (api, client, ids):
        told = await call(client, "list_p2p_workflows")
        assert (told["count"], told["left_out"]) == (MAX_ROWS + 5, 5)
        assert {row["workflow_id"] for row in told["workflows"]} == set(ids[5:])
        api.runs.pop(ids[0])
        assert (await call(client, "list_p2p_workflows"))["left_out"] == 4


async def test_the_resources_of_the_newest_runs_are_listed() -> None:
    async with at_work(RECENT_RUNS + 1) as (api, client, ids):
        api.left = {f"left {number}": b"x" for number in range(RECENT_ARTIFACTS + 1)}
        listed = (await client.list_resources()).resources
        assert len(listed) == RECENT_RUNS * (1 + RECENT_ARTIFACTS)
        assert len({one.uri for one in listed}) == len(listed)
        assert listed[0].uri == f"p2pwf://runs/{ids[-1]}/logs"
        assert not [one for one in listed if ids[0] in one.uri]


async def test_of_a_long_log_the_end_is_told_and_how_much_is_not() -> None:
    async with at_work() as (api, client, (id,)):
        api.runs[id]["jobs"] = api.runs[id]["jobs"][:1]
        api.log("half a pair: \ud800")
        assert await text_of(client, f"p2pwf://runs/{id}/logs") == "half a pair: ?\n"
        for number in range(3000):
            api.log(f"{number:0100}")
        first, *lines = (await text_of(client, f"p2pwf://runs/{id}/logs")).splitlines()
        assert lines == [f"{number:0100}" for number in range(3000 - len(lines), 3000)]
        assert MAX_LOG - 101 < 101 * len(lines) <= MAX_LOG
        assert first.startswith(f"[{3001 - len(lines)} earlier lines left out")
        assert f"p2pwf workflow logs {id}" in first
        api.log("ü" * MAX_LOG)
        (note, line) = (await text_of(client, f"p2pwf://runs/{id}/logs")).split("\n", 1)
        assert note.startswith("[3001 earlier")
        assert line.strip("…\n") == "ü" * (MAX_LOG // 2 - 1)


async def test_lines_of_several_jobs_have_the_jobs_name_before_them() -> None:
    async with at_work() as (api, client, (id,)):
        api.log("one", "build")
        api.log("two", "m")
        assert await text_of(client, f"p2pwf://runs/{id}/logs") == "build: one\nm: two\n"


async def test_files_are_texts_or_bytes_and_a_link_is_where_it_points() -> None:
    async with at_work() as (api, client, (id,)):
        api.left = {"a & b": b"\x00\xff\x01"}
        artifact = f"p2pwf://runs/{id}/artifacts/a%20%26%20b"
        file, link = (await client.read_resource(artifact)).contents
        assert isinstance(file, BlobResourceContents)
        assert (file.uri, file.blob) == (f"{artifact}/deep/file.txt", "AP8B")
        assert isinstance(link, TextResourceContents)
        assert (link.uri, link.text) == (f"{artifact}/link", "deep/file.txt")
        assert (await client.read_resource(f"{artifact}/deep/file.txt")).contents == [file]
        assert await text_of(client, f"{artifact}/link") == "deep/file.txt"
        for wrong in (f"{artifact}/deep", f"{artifact}/", f"{artifact}/../../logs", f"p2pwf://runs/{id}/artifacts/x"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(wrong)
            assert caught.value.error.data["code"] == "not_found"


async def test_a_file_that_is_too_large_is_refused_with_a_way_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work() as (api, client, (id,)):
        artifact = f"p2pwf://runs/{id}/artifacts/large"
        api.left = {"large": b"x" * 40}
        monkeypatch.setattr("p2pwf.mcp.resources.MAX_CONTENT", 40)
        assert await text_of(client, f"{artifact}/deep/file.txt") == "x" * 40
        for uri in (artifact, f"{artifact}/deep/file.txt"):  # the link beside it makes the whole too large
            if uri != artifact:
                api.left = {"large": b"x" * 41}
            with pytest.raises(MCPError, match="--download") as caught:
                await client.read_resource(uri)
            assert caught.value.error.data["code"] == "refused"
    assert MAX_CONTENT == 1024 * 1024


class Gated(MemoryApi):
    """Counts who asks for runs, and answers nobody until the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.asking = self.most = 0

    async def list_runs(self, wanted: str | None, peer: str | None) -> list[JsonObject]:
        self.asking += 1
        self.most = max(self.most, self.asking)
        await self.gate.wait()
        self.asking -= 1
        return await super().list_runs(wanted, peer)


async def test_more_calls_than_can_wait_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.control.kit.MemoryApi", Gated)
    async with at_work() as (api, client, _):
        assert isinstance(api, Gated)
        codes: list[str] = []
        refused = trio.Event()

        async def one() -> None:
            told = await call(client, "list_p2p_workflows")
            codes.append("" if told["success"] else told["code"])
            if codes.count("try_again") == 20:
                refused.set()

        async with trio.open_nursery() as nursery:
            for _ in range(MAX_RUNNING + MAX_WAITING + 20):
                nursery.start_soon(one)
            with trio.fail_after(60):
                await refused.wait()
            api.gate.set()
        assert codes.count("try_again") == 20
        assert api.most == MAX_RUNNING


async def test_a_call_that_is_called_off_holds_up_no_other() -> None:
    with short_folder() as folder, silent_node(folder) as silent:
        async with Client(make_server(folder), mode="legacy") as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, client, "get_p2p_stats")
                asked, _ = await trio.to_thread.run_sync(silent.accept)
                nursery.cancel_scope.cancel()
            with asked:
                assert (await call(client, "parse_workflow_tags", workflow_file="/nowhere"))["code"] == "usage"
