"""A member that is removed learns it, whether it is there or not; it then only reads, until it is let in again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from tests.e2e.kit import PATIENCE, Node, p2pwf, workflow

ONE = "labels: p2p-workflow\non: workflow_dispatch\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo it ran}]}}\n"


async def until(node: Node, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until a node's status is such."""
    with trio.fail_after(PATIENCE):
        while not holds(await trio.to_thread.run_sync(node.ask, "status")):
            await trio.sleep(0.2)


def is_removed(status: dict[str, Any]) -> bool:
    return bool(status["removed"]) and not status["ready"]


def is_ready(status: dict[str, Any]) -> bool:
    return bool(status["ready"]) and not status["removed"]


def refuses_to_act(node: Node, file: Path, run: str) -> None:
    for words in (
        ("workflow", "submit", str(file), "--no-source"),
        ("workflow", "assign"),
        ("workflow", "cancel", run),
        ("workflow", "update", run, "--priority", "2"),
        ("invite",),
        ("peer", "remove", node.folder.name),
    ):
        done = p2pwf(*words, data=node.folder)
        assert done.returncode == 5, (words, done)
        assert "error: this node was removed from its network" in done.stderr, words
        assert f"p2pwf peer add {node.info['peer_id']}" in done.stderr, words


def still_reads(node: Node, run: str) -> None:
    assert node.status(run)["conclusion"] == "success"
    assert "it ran" in p2pwf("workflow", "logs", run, data=node.folder).stdout
    assert "removed from its network" in p2pwf("status", data=node.folder).stdout
    assert "this node, removed" in p2pwf("peer", "list", data=node.folder).stdout
    (own,) = [one for one in node.ask("peer", "list") if one["self"]]
    assert own["roles"] == []


async def test_a_member_that_is_removed_while_connected_is_told_and_thaws_when_it_is_let_in_again(
    tmp_path: Path,
) -> None:
    file = workflow(tmp_path / "w", ONE)
    with Node(tmp_path / "one", "--trust-members") as one, Node(tmp_path / "two") as two:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        run = two.submit(file, "--no-source")
        two.wait_for(run)
        one.ask("peer", "remove", "two")
        await until(two, is_removed)
        refuses_to_act(two, file, run)
        still_reads(two, run)
        assert two.errors().count("this node was removed from its network") == 1
        one.ask("peer", "add", two.info["peer_id"])
        await until(two, is_ready)
        again = two.submit(file, "--no-source")
        assert one.wait_for(again)["conclusion"] == "success"


async def test_a_member_that_is_removed_while_away_learns_it_when_it_comes_back(tmp_path: Path) -> None:
    file = workflow(tmp_path / "w", ONE)
    with Node(tmp_path / "one", "--trust-members") as one, Node(tmp_path / "two") as two:
        one.start().ready()
        ticket = one.ticket()
        two.start("--join", ticket).ready()
        run = two.submit(file, "--no-source")
        two.wait_for(run)
        one.wait_for(run)  # what only the other knew of when it was removed has no effect
        two.kill()
        for _ in range(3):  # the cut stands on events that the other has never seen
            one.wait_for(one.submit(file, "--no-source"))
        one.ask("peer", "remove", "two")
        two.start("--join", ticket)  # as services do it, at each start; the ticket is used up
        with trio.fail_after(PATIENCE):
            while p2pwf("status", data=two.folder).returncode == 3:  # the control socket is not there yet
                await trio.sleep(0.1)
        await until(two, is_removed)
        refuses_to_act(two, file, run)
        still_reads(two, run)
        assert two.stop() == 5
        two.start()
        one.ask("peer", "add", two.info["peer_id"])
        two.ready()
        assert one.wait_for(two.submit(file, "--no-source"))["conclusion"] == "success"


def test_a_removed_folder_says_so_at_its_start(tmp_path: Path) -> None:
    with Node(tmp_path / "one", "--trust-members") as one, Node(tmp_path / "two") as two:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        one.ask("peer", "add", two.info["peer_id"], "--roles", "run,submit,admin")
        two.ask("peer", "remove", "two")
        assert two.stop() == 5
        one.stop()
        before = two.errors()
        two.start()
        assert two.process is not None
        said = ""
        with two.folder.with_suffix(".err").open() as errors:
            errors.seek(len(before))
            while '"error"' not in said:
                said = errors.readline()
                assert two.process.poll() is None
        assert json.loads(said)["error"]["code"] == "refused"
        assert "peer add" in json.loads(said)["error"]["hint"]
        assert two.stop() == 5
