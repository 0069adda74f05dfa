"""The same methods over a real node: `p2pwf up` on loopback, spoken to from Python, blocking and under trio."""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import getmembers, isfunction, signature
from pathlib import Path
from time import time
from typing import Any

import pytest
import trio

import p2pwf
from p2pwf import AsyncClient, Client, P2PWorkflowCoordinator, WorkflowStatus
from p2pwf.errors import InvalidWorkflow, NoNode, Refused, UsageError
from p2pwf.mcp import TOOLS, P2PWorkflowTools
from tests.api.kit import python, workflow
from tests.api.test_coordinator import KEYS
from tests.e2e.kit import Node

LONG = """\
labels: p2p-workflow
on: {workflow_dispatch: {inputs: {level: {default: "1"}}}}
jobs: {wait: {runs-on: LABEL, steps: [{run: sleep 600}]}}
"""
OTHER = "12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("nodes") / "one", "--slots", "2", "--trust-members") as running:
        yield running.start().ready()


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A workflow that runs until it is cancelled."""
    file = tmp_path / "long.yml"
    file.write_text(LONG.replace("LABEL", "linux"))
    return file


def begun(run: dict[str, Any]) -> bool:
    return bool(run["status"] == "in_progress")


def test_a_workflow_runs_on_the_node_and_is_told_in_the_same_form(node: Node, tmp_path: Path) -> None:
    client = p2pwf.connect(node.folder)
    file = tmp_path / "w.yml"
    file.write_text(
        "name: Count (p2p-workflow)\non: {workflow_dispatch: {inputs: {to: {required: true}}}}\n"
        "jobs: {count: {runs-on: ubuntu-latest, outputs: {last: '${{ steps.a.outputs.last }}'},\n"
        " steps: [{id: a, run: 'echo last=${{ inputs.to }} >> $GITHUB_OUTPUT'}]}}\n"
    )
    id = client.submit_workflow(file, name="Mine", inputs={"to": "9"}, priority=2)
    node.wait_for(id)
    found = client.get_workflow_status(id)
    assert found is not None
    assert set(found) == KEYS
    assert (found["name"], found["status"], found["priority"]) == ("Mine", "completed", 2.0)
    assert (found["tags"], found["inputs"]) == (["p2p-workflow"], {"to": "9"})
    assert found["assigned_peer"] == client.peer_id
    assert found["result"] == {"count": {"result": "success", "outputs": {"last": "9"}}}
    assert 1.7e9 < found["created_at"] <= found["started_at"] <= found["completed_at"] < time() + 60
    (job,) = client.get_workflow_jobs(id)
    assert (job["job"], job["conclusion"], job["owner"]) == ("count", "success", client.peer_id)
    assert found["started_at"] == job["started_at"]
    assert id in [task.workflow_id for task in client.get_my_workflows()]
    assert client.list_workflows("completed", client.peer_id)[-1] == found
    assert not client.update_workflow_status(id, "cancelled")
    assert not client.update_workflow_priority(id, 1.0)
    json.dumps([found, client.get_stats()])


def test_a_run_that_nobody_can_run_stays_pending_and_can_be_moved(node: Node, long: Path) -> None:
    client = p2pwf.connect(str(node.folder))
    long.write_text(LONG.replace("LABEL", "no-such-label"))
    id = client.submit_workflow(long)
    assert client.assign_workflows() == []
    before = client.get_workflow_status(id[-12:])
    assert before is not None
    assert (before["workflow_id"], before["status"], before["assigned_peer"]) == (id, "pending", None)
    assert client.update_workflow_priority(id, 0.5)
    assert client.list_workflows(WorkflowStatus.PENDING) == [{**before, "priority": 0.5}]


def test_a_run_can_be_cancelled_and_no_status_made_up(node: Node, long: Path) -> None:
    client = p2pwf.connect(node.folder)
    id = client.submit_workflow(long)
    node.wait_for(id, begun)
    before = client.get_workflow_status(id)
    assert before is not None
    for status in ("completed", WorkflowStatus.IN_PROGRESS, "failed", "assigned", "pending"):
        with pytest.raises(Refused) as caught:
            client.update_workflow_status(id, status, result={"made": "up"} if status == "completed" else None)
        assert caught.value.hint
    assert client.get_workflow_status(id) == before
    assert client.update_workflow_status(id, WorkflowStatus.CANCELLED)
    assert node.wait_for(id)["status"] == "cancelled"
    assert not client.update_workflow_status(id, "cancelled")


def test_what_a_node_does_not_know_is_none_false_or_empty(node: Node) -> None:
    client = p2pwf.connect(node.folder)
    unknown = "bafyreigone"
    for name in (unknown, "", "x", "../../info", "a b?c#d"):
        assert client.get_workflow_status(name) is None
        assert not client.update_workflow_status(name, "cancelled")
    assert client.get_workflow_jobs(unknown) == []
    assert client.list_workflows(peer_id="nobody") == []
    assert not client.update_workflow_status(unknown, "cancelled")
    assert not client.update_workflow_priority(unknown, 1.0)
    for name in ("nobody", "../runs", "a b?c#d"):
        assert not client.remove_peer(name)
    with pytest.raises(UsageError):
        client.list_workflows("done")


def test_errors_are_the_nodes_own_with_their_hints(node: Node, tmp_path: Path, long: Path) -> None:
    client = p2pwf.connect(node.folder)
    broken = tmp_path / "broken.yml"
    broken.write_text("on: [\n")
    with pytest.raises(InvalidWorkflow) as invalid:
        client.submit_workflow(broken)
    assert invalid.value.diagnostics
    with pytest.raises(Refused, match="tag"):
        client.submit_workflow(workflow(tmp_path, labels="[]"))
    for arguments in ({"inputs": {"unknown": 1}}, {"inputs": {"level": float("nan")}}, {"priority": float("nan")}):
        with pytest.raises(UsageError):
            client.submit_workflow(long, **arguments)
    with pytest.raises(UsageError, match="cannot read"):
        client.submit_workflow(tmp_path / "gone.yml")
    with pytest.raises(UsageError):
        client.add_peer("not a peer id")
    assert client.is_p2p_workflow(client.parse_workflow_file(long))


def test_peers_are_admitted_and_removed(node: Node) -> None:
    client = p2pwf.connect(node.folder)
    assert client.peer_list == [client.peer_id]
    assert client.add_peer(OTHER)
    assert not client.add_peer(OTHER)
    assert client.peer_list == [client.peer_id, OTHER]
    assert client.get_stats()["peer_count"] == 2
    assert client.remove_peer(OTHER)
    assert not client.remove_peer(OTHER)
    assert client.peer_list == [client.peer_id]


def test_the_clock_is_read_and_verified_here(node: Node, long: Path) -> None:
    client = p2pwf.connect(node.folder)
    client.update_workflow_status(client.submit_workflow(long), "cancelled")
    clock = client.merkle_clock
    head = clock.get_head()
    assert head is not None
    assert clock.verify_chain()
    assert (clock.head_hash, clock.logical_clock) == (head.hash, head.logical_clock)
    assert clock.nodes[0].data["type"] == "net.genesis"
    assert clock.logical_clock <= client.get_stats()["merkle_clock_height"]
    owner, _ = p2pwf.select_task_owner(head.hash, p2pwf.create_task_hash("x"), client.peer_list)
    assert owner == client.peer_id
    json.dumps(clock.to_dict())
    with pytest.raises(Refused):
        clock.append({})
    with pytest.raises(Refused):
        clock.merge(clock)
    with pytest.raises(Refused):
        clock.prune()


def test_a_clock_with_a_changed_or_missing_event_does_not_verify(node: Node) -> None:
    from base64 import b64decode, b64encode

    from p2pwf.client.clock import ClockView
    from p2pwf.control.client import Client as Control

    lines = list(Control(node.folder).stream("clock", "log", query={"raw": True}))
    assert len(lines) > 2
    assert ClockView("x", lines).verify_chain()
    assert not ClockView("x", lines[1:]).verify_chain()
    signature = bytearray(b64decode(lines[1]["signature"]))
    signature[5] ^= 1
    forged = {**lines[1], "signature": b64encode(signature).decode()}
    assert not ClockView("x", [lines[0], forged]).verify_chain()
    assert not ClockView("x", [lines[0], {**lines[1], "cid": lines[0]["cid"]}]).verify_chain()
    with pytest.raises(NoNode):
        ClockView("x", [{**lines[0], "block": "AA=="}])


async def test_the_async_client_does_the_same_under_trio(node: Node, tmp_path: Path, long: Path) -> None:
    blocking = p2pwf.connect(node.folder)
    client = await p2pwf.connect_async(node.folder)
    assert (client.peer_id, client.data_dir) == (blocking.peer_id, blocking.data_dir)
    ids: list[str] = []

    async def submit() -> None:
        ids.append(await client.submit_workflow(long, inputs={"level": "2"}))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(submit)
    assert await client.list_workflows("failed") == blocking.list_workflows("failed")
    rows = await client.list_workflows()
    assert {row["workflow_id"] for row in rows} >= set(ids)
    assert [row["created_at"] for row in rows] == sorted(row["created_at"] for row in rows)
    assert await client.assign_workflows() == []
    assert await client.update_workflow_priority(ids[0], 1.0)
    with pytest.raises(Refused):
        await client.update_workflow_status(ids[0], "completed")
    for id in ids:
        assert await client.update_workflow_status(id, "cancelled")
        await trio.to_thread.run_sync(node.wait_for, id)
        assert await client.get_workflow_status(id) == blocking.get_workflow_status(id)
        assert await client.get_workflow_jobs(id) == blocking.get_workflow_jobs(id)
    assert await client.get_my_workflows() == blocking.get_my_workflows()
    assert await client.peer_list() == blocking.peer_list
    assert not await client.add_peer(client.peer_id)
    assert not await client.remove_peer("nobody")
    assert set(await client.get_stats()) == set(blocking.get_stats())
    assert (await client.merkle_clock()).verify_chain()
    assert client.is_p2p_workflow(await client.parse_workflow_file(workflow(tmp_path)))
    with pytest.raises(NoNode) as caught:
        await p2pwf.connect_async(tmp_path / "nowhere")
    assert "p2pwf up" in str(caught.value.hint)


def test_without_a_node_everybody_says_how_to_start_one_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NoNode) as caught:
        p2pwf.connect(tmp_path / "nowhere")
    assert "p2pwf up" in str(caught.value.hint)
    tools = P2PWorkflowTools(data_dir=tmp_path / "nowhere")
    for name in TOOLS:
        arguments = {key: "x" for key, value in signature(getattr(tools, name)).parameters.items()
                     if value.default is value.empty}  # fmt: skip
        if "status" in arguments:
            arguments["status"] = "cancelled"
        answer = getattr(tools, name)(**arguments)
        assert answer["success"] is False
        assert answer["error"]
        if name != "parse_workflow_tags":
            assert (answer["code"], "p2pwf up" in answer["hint"]) == ("no_node", True)
    assert not (tmp_path / "nowhere").exists()


def public(cls: type) -> dict[str, object]:
    return {name: one for name, one in getmembers(cls) if not name.startswith("_")}


def test_client_and_coordinator_have_the_same_methods_with_the_same_parameters() -> None:
    coordinator, client, later = public(P2PWorkflowCoordinator), public(Client), public(AsyncClient)
    assert set(client) - set(coordinator) == {"get_workflow_jobs"}
    assert set(coordinator) <= set(client)
    for name, method in client.items():
        if isfunction(method):
            if name in coordinator:
                assert signature(coordinator[name]) == signature(method), name  # type: ignore[arg-type]
            if name != "close":
                assert signature(later[name]) == signature(method), name  # type: ignore[arg-type]


def test_the_tools_work_over_a_node(node: Node, long: Path) -> None:
    tools = P2PWorkflowTools(data_dir=node.folder)
    made = tools.submit_p2p_workflow(str(long), name="tool", inputs={"level": "3"}, priority=1.0)
    assert made["success"], made
    found = tools.get_p2p_workflow_status(made["workflow_id"])
    assert (found["success"], found["name"], found["inputs"]) == (True, "tool", {"level": "3"})
    refused = tools.update_p2p_workflow_status(made["workflow_id"], "completed")
    assert (refused["success"], refused["code"]) == (False, "refused")
    assert refused["hint"]
    assert tools.update_p2p_workflow_status(made["workflow_id"], "cancelled")["success"]
    node.wait_for(made["workflow_id"])
    assert tools.get_p2p_stats()["status_counts"]["cancelled"] >= 1


def test_a_node_that_stops_in_between_is_missed(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one:
        one.start().ready()
        client = p2pwf.connect(one.folder)
        assert client.get_stats()["total_workflows"] == 0
        assert one.stop() == 0
    with pytest.raises(NoNode) as caught:
        client.list_workflows()
    assert "p2pwf up" in str(caught.value.hint)


def test_the_package_costs_nothing_until_it_is_used(node: Node) -> None:
    script = """
import sys
import p2pwf
heavy = ("attr", "attrs", "trio", "libp2p", "sqlite3", "h11", "nacl", "yaml", "socket", "p2pwf.ledger", "p2pwf.client")
print([name for name in heavy if name in sys.modules])
dir(p2pwf)
client = p2pwf.connect(sys.argv[1])
client.get_stats()
print([name for name in ("trio", "libp2p", "sqlite3", "p2pwf.node") if name in sys.modules])
from p2pwf.mcp import P2PWorkflowTools
print([name for name in ("trio", "libp2p", "mcp") if name in sys.modules])
"""
    done = python(script, node.folder)
    out, _ = done.communicate(timeout=60)
    assert out.split("\n")[:3] == ["[]"] * 3
