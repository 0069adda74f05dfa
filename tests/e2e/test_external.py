"""A node that leaves its jobs to a client: nothing runs by itself, and nothing runs twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import p2pwf
from p2pwf import WorkflowStatus
from p2pwf.errors import Refused, TryAgain
from tests.api.test_examples import script
from tests.e2e.kit import Node, workflow
from tests.e2e.kit import p2pwf as p2pwf_command

CHAIN = """
name: chain
labels: p2p-workflow
on: {workflow_dispatch: {inputs: {rows: {default: "7"}}}}
jobs:
  first: {runs-on: linux, steps: [{run: exit 9}]}
  then: {needs: first, if: needs.first.outputs.rows == '7', runs-on: linux, steps: [{run: exit 9}]}
  never: {needs: first, if: needs.first.outputs.rows != '7', runs-on: linux, steps: [{run: exit 9}]}
"""
MATRIX = """
name: wide
labels: p2p-workflow
on: workflow_dispatch
jobs: {m: {strategy: {matrix: {n: [1, 2, 3]}, fail-fast: false}, runs-on: linux, steps: [{run: exit 9}]}}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("nodes") / "one", "--executor", "external", "--slots", "2") as running:
        yield running.start().ready()


def jobs(run: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {job["name"]: (job["status"], job["conclusion"]) for job in run["jobs"]}


def test_a_client_takes_jobs_on_and_says_what_they_came_to(node: Node, tmp_path: Path) -> None:
    assert node.ask("status")["executor"] == "external"
    client = p2pwf.connect(node.folder)
    run = node.submit(workflow(tmp_path, CHAIN), "--no-source")
    (mine,) = [one for one in client.get_my_workflows() if one.workflow_id == run]
    assert mine.status is WorkflowStatus.ASSIGNED
    assert client.update_workflow_status(run, "in_progress")
    assert jobs(node.status(run))["first"] == ("in_progress", None)
    with pytest.raises(Refused, match="taken on already"):
        client.update_workflow_status(run, "in_progress")
    assert client.update_workflow_status(run, "completed", result={"rows": 7, "name": "käse"})
    assert client.update_workflow_status(run, "failed", error="no luck")  # from assigned: it begins and ends
    done = node.wait_for(run)
    assert jobs(done) == {
        "first": ("completed", "success"), "then": ("completed", "failure"), "never": ("completed", "skipped")
    }  # fmt: skip
    assert done["jobs"][0]["outputs"] == {"rows": "7", "name": "käse"}
    assert "no luck" in done["error"]
    assert client.update_workflow_status(run, "completed") is False


def test_slots_bound_what_is_taken_on_and_one_leg_can_be_meant(node: Node, tmp_path: Path) -> None:
    client = p2pwf.connect(node.folder)
    run = node.submit(workflow(tmp_path, MATRIX), "--no-source")
    assert client.update_workflow_status(run, "in_progress")
    assert [one[0] for one in jobs(node.status(run)).values()].count("in_progress") == 2
    other = node.submit(workflow(tmp_path / "other", MATRIX), "--no-source")
    with pytest.raises(TryAgain, match="all slots"):
        client.update_workflow_status(other, "in_progress")
    node.ask("workflow", "update", run, "completed", "--job", "m (2)")
    assert jobs(node.status(run))["m (2)"] == ("completed", "success")
    node.ask("workflow", "update", other, "in_progress", "--job", "m (3)")
    assert jobs(node.status(other))["m (3)"][0] == "in_progress"
    for one in (other, run):
        node.ask("workflow", "cancel", one)
        node.wait_for(one)
    assert client.update_workflow_status(run, "completed") is False
    with pytest.raises(Refused):
        client.update_workflow_status(node.submit(workflow(tmp_path, CHAIN), "--no-source"), "pending")


def test_a_command_runs_for_the_node(node: Node, tmp_path: Path) -> None:
    run = node.submit(workflow(tmp_path, CHAIN.replace("chain", "by hand")), "--no-source", "--input", "rows=3")
    code = "import json, sys; print(json.dumps(json.load(sys.stdin)['inputs']))"
    done = script("run_for_node.py", "--once", "--", sys.executable, "-c", code, folder=node.folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines().count("by hand: completed") == 2, "once for each job, one after the other"
    assert jobs(node.wait_for(run))["never"] == ("completed", "success")


def test_an_attempt_whose_node_dies_is_run_again(tmp_path: Path) -> None:
    with Node(tmp_path / "one", "--executor", "external") as one:
        one.start().ready()
        run = one.submit(workflow(tmp_path / "w", CHAIN), "--no-source")
        one.ask("workflow", "update", run, "in_progress")
        one.kill()
        one.start().ready()
        one.wait_for(run, lambda view: view["jobs"][0]["attempt"] == 2 and view["jobs"][0]["status"] == "queued")
        one.ask("workflow", "update", run, "failed")
        assert one.wait_for(run)["jobs"][0]["conclusion"] == "failure"


def test_a_node_that_runs_its_own_jobs_leaves_none_to_clients(tmp_path: Path) -> None:
    with Node(tmp_path / "one", "--slots", "1") as one:
        one.start().ready()
        run = one.submit(workflow(tmp_path / "w", CHAIN.replace("exit 9", "sleep 60")), "--no-source")
        client = p2pwf.connect(one.folder)
        for status in ("in_progress", "completed", "failed"):
            with pytest.raises(Refused, match="this node runs its own") as told:
                client.update_workflow_status(run, status)
            assert "--executor external" in (told.value.hint or "")
        assert client.update_workflow_status(run, "cancelled")


def test_what_it_refuses_is_told_to_its_client_and_to_who_asks_why_nobody_runs_it(node: Node, tmp_path: Path) -> None:
    with Node(tmp_path / "two", "--slots", "0") as other:
        other.start("--join", node.ticket()).ready()
        run = other.submit(workflow(tmp_path, MATRIX), "--no-source")
        owner = node.info["peer_id"]
        node.wait_for(run, lambda view: all(job["waiting"] for job in view["jobs"] if job["job"] == "m"))
        with pytest.raises(Refused, match="this node has refused jobs of this run"):
            p2pwf.connect(node.folder).update_workflow_status(run, "in_progress")
        decided = other.ask("workflow", "assign")
        assert [one["name"] for one in decided] == ["m (1)", "m (2)", "m (3)"]
        for one in decided:
            assert (one["workflow_id"], one["owner"], one["distance"]) == (run, None, None)
            assert {"peer_id": owner, "reason": "policy"} in one["passed_over"]
        waits = {job["waiting"] for job in other.status(run)["jobs"] if job["status"] != "waiting"}
        assert "a peer whose policy takes it: 1 refuses" in waits
        assert "owner, but its policy refuses" in p2pwf_command("explain", run, "m (1)", data=other.folder).stdout
        told = p2pwf_command("workflow", "assign", data=other.folder).stdout.splitlines()
        assert told[1].split()[1:5] == ["m", "(1)", "nobody", "-"]
        assert f"{node.info['name']}: its policy refuses" in told[1]
