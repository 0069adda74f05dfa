"""An assistant at work: the SDK's own client starts `p2pwf mcp` and uses the tools over a real node."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest
import trio
from mcp.shared.exceptions import MCPError
from mcp_types import BlobResourceContents, TextResourceContents

from p2pwf.mcp import TOOLS, P2PWorkflowTools
from tests.e2e.kit import Node
from tests.mcp.kit import RUNS, call, ended, fails, log, read, stdio

PEER = "12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi"
LONG = "labels: p2p-workflow\non: workflow_dispatch\njobs: {a: {runs-on: linux, steps: [{run: sleep 600}]}}\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("nodes") / "one", "--slots", "2", "--trust-members") as running:
        yield running.start().ready()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "count.yml"
    path.write_text(RUNS)
    return path


async def test_the_ten_tools_are_there_with_the_parameters_of_the_methods(tmp_path: Path) -> None:
    async with stdio(tmp_path / "none") as client:
        tools = (await client.list_tools()).tools
        assert tuple(tool.name for tool in tools) == TOOLS
        for tool in tools:
            method = signature(getattr(P2PWorkflowTools, tool.name)).parameters
            assert list(tool.input_schema["properties"]) == list(method)[1:], tool.name
            needed = [name for name, one in method.items() if name != "self" and one.default is one.empty]
            assert tool.input_schema["required"] == needed
            assert tool.description
            assert tool.output_schema is not None
            assert tool.annotations is not None


async def test_without_a_node_it_starts_and_lists_and_says_how_to_start_one(tmp_path: Path, file: Path) -> None:
    folder = tmp_path / "none"
    async with stdio(folder) as client:
        for tool in ("get_p2p_stats", "list_p2p_workflows", "get_my_p2p_workflows", "assign_p2p_workflows"):
            told = await fails(client, tool)
            assert told["code"] == "no_node"
            assert "p2pwf up" in told["hint"]
        assert (await call(client, "parse_workflow_tags", workflow_file=str(file)))["is_p2p"]
        assert (await client.list_resources()).resources == []
        assert len((await client.list_resource_templates()).resource_templates) == 3
        with pytest.raises(MCPError, match="p2pwf up"):
            await client.read_resource("p2pwf://runs/bafyx/logs")
        with Node(folder) as late:  # the server that is there finds the node that comes up later
            late.start().ready()
            assert (await call(client, "get_p2p_stats"))["peer_count"] == 1
    assert not (tmp_path / "none" / "mcp.token").exists()


async def test_a_workflow_is_submitted_watched_and_read(node: Node, file: Path) -> None:
    async with stdio(node.folder) as client:
        tags = await call(client, "parse_workflow_tags", workflow_file=str(file))
        assert tags["metadata"]["tags"] == ["p2p-workflow"]
        made = await call(
            client, "submit_p2p_workflow", workflow_file=str(file), name="Mine", inputs={"to": "3"}, priority=2
        )
        run = made["workflow_id"]
        found = await ended(client, run)
        assert (found["status"], found["name"], found["priority"]) == ("completed", "Mine", 2.0)
        assert found["result"]["count"]["outputs"] == {"last": "3"}
        assert "counting to 3\n" in await log(client, run)
        rows = await call(client, "list_p2p_workflows", status="completed", peer_id=node.folder.name)
        assert run in [row["workflow_id"] for row in rows["workflows"]]
        assert rows["count"] == len(rows["workflows"])
        assert rows["left_out"] == 0
        mine = await call(client, "get_my_p2p_workflows")
        assert run in [row["workflow_id"] for row in mine["workflows"]]
        assert (await call(client, "get_p2p_stats"))["status_counts"]["completed"] >= 1
        listed = {one.uri: one for one in (await client.list_resources()).resources}
        assert listed[f"p2pwf://runs/{run}/logs"].mime_type == "text/plain"
        artifact = f"p2pwf://runs/{run}/artifacts/figures"
        assert listed[artifact].size
        two, numbers = sorted(await read(client, artifact), key=lambda one: one.uri)
        assert isinstance(two, BlobResourceContents)
        assert (two.uri, two.blob) == (f"{artifact}/deep/two%20bytes", "/wA=")
        assert isinstance(numbers, TextResourceContents)
        assert (numbers.uri, numbers.text) == (f"{artifact}/numbers.txt", "1\n2\n3\n")
        assert await read(client, two.uri) == [two]


async def test_a_workflow_is_cancelled_and_what_cannot_be_says_so(node: Node, tmp_path: Path) -> None:
    long = tmp_path / "long.yml"
    long.write_text(LONG)
    async with stdio(node.folder) as client:
        run = (await call(client, "submit_p2p_workflow", workflow_file=str(long)))["workflow_id"]
        told = await fails(client, "update_p2p_workflow_status", workflow_id=run, status="completed")
        assert told["code"] == "refused"
        done = await call(client, "update_p2p_workflow_status", workflow_id=run, status="cancelled")
        assert done["new_status"] == "cancelled"
        assert (await ended(client, run))["status"] == "cancelled"
        await fails(client, "update_p2p_workflow_status", workflow_id=run, status="in_progress")


async def test_peers_come_and_go(node: Node) -> None:
    async with stdio(node.folder) as client:
        assert (await call(client, "add_p2p_peer", peer_id=PEER))["message"] == "added"
        assert (await call(client, "get_p2p_stats"))["peer_count"] == 2
        assert (await call(client, "remove_p2p_peer", peer_id=PEER))["message"] == "removed"
        assert (await fails(client, "remove_p2p_peer", peer_id=PEER))["code"] == "not_found"
        assert (await fails(client, "add_p2p_peer", peer_id="not a peer"))["code"] in ("usage", "input")


async def test_what_is_asked_wrongly_is_told_with_what_would_be_right(node: Node, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("on: push\njobs: {a: {steps: [{run: x}]}}\n")
    async with stdio(node.folder) as client:
        assert (await fails(client, "get_p2p_workflow_status", workflow_id="bafynone"))["code"] == "not_found"
        assert (await fails(client, "submit_p2p_workflow", workflow_file=str(tmp_path / "none.yml")))["error"]
        assert "runs-on" in (await fails(client, "submit_p2p_workflow", workflow_file=str(broken)))["error"]
        for arguments in ({}, {"workflow_file": 3}, {"workflow_file": "x", "prio": 1}, {"workflow_file": ""}):
            told = await fails(client, "submit_p2p_workflow", **arguments)
            assert told["code"] == "usage"
            assert "submit_p2p_workflow takes workflow_file, name, inputs, priority" in told["hint"]
        told = await fails(client, "list_p2p_workflows", status="done")
        assert "in_progress" in told["error"]
        with pytest.raises(MCPError, match="no tool 'submit'"):
            await client.call_tool("submit", {})
        for uri in ("p2pwf://runs/x", "p2pwf://runs/x/artifacts", "file:///etc/passwd", "p2pwf://runs/" + "x" * 9000):
            with pytest.raises(MCPError, match="no resource"):
                await client.read_resource(uri)


async def test_of_a_long_log_the_end_is_told(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "loud.yml"
    file.write_text(
        "labels: p2p-workflow\non: workflow_dispatch\njobs: {a: {runs-on: linux, steps: [{run: seq 100000 140000}]}}\n"
    )
    async with stdio(node.folder) as client:
        run = (await call(client, "submit_p2p_workflow", workflow_file=str(file)))["workflow_id"]
        await ended(client, run)
        told = await log(client, run)
        first, *_ = told.splitlines()
        assert "earlier lines left out" in first
        assert "\n140000\n" in told
        assert "\n100000\n" not in told
        assert len(told) < 140_000


async def test_many_are_asked_at_once(node: Node) -> None:
    async with stdio(node.folder) as client:
        seen: list[int] = []

        async def ask() -> None:
            seen.append((await call(client, "get_p2p_stats"))["peer_count"])

        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(ask)
        assert len(seen) == 40
