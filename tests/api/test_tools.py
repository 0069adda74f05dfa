"""The ten tools over an embedded coordinator: dicts with success, and errors that say what to do."""

from __future__ import annotations

import json
from inspect import getmembers, signature
from pathlib import Path

import pytest

import p2pwf
from p2pwf.mcp import TOOLS, P2PWorkflowTools
from tests.api.kit import ROOT, workflow
from tests.api.test_coordinator import KEYS


@pytest.fixture
def tools(tmp_path: Path) -> P2PWorkflowTools:
    return P2PWorkflowTools(p2pwf.P2PWorkflowCoordinator("me", tmp_path / "state"))


def test_there_are_exactly_the_ten_with_the_parameters_that_assistants_know() -> None:
    named = {name for name, _ in getmembers(P2PWorkflowTools) if not name.startswith("_")}
    assert named == set(TOOLS)
    assert len(TOOLS) == 10
    parameters = {name: tuple(signature(getattr(P2PWorkflowTools, name)).parameters)[1:] for name in TOOLS}
    assert parameters == {
        "submit_p2p_workflow": ("workflow_file", "name", "inputs", "priority"),
        "assign_p2p_workflows": (),
        "get_p2p_workflow_status": ("workflow_id",),
        "list_p2p_workflows": ("status", "peer_id"),
        "update_p2p_workflow_status": ("workflow_id", "status", "result", "error"),
        "add_p2p_peer": ("peer_id",),
        "remove_p2p_peer": ("peer_id",),
        "get_p2p_stats": (),
        "parse_workflow_tags": ("workflow_file",),
        "get_my_p2p_workflows": (),
    }
    assert all(getattr(P2PWorkflowTools, name).__doc__ for name in TOOLS)


def test_a_workflow_from_submission_to_its_end(tools: P2PWorkflowTools, tmp_path: Path) -> None:
    file = str(workflow(tmp_path))
    made = tools.submit_p2p_workflow(workflow_file=file, inputs={"level": "2"}, priority=1.0)
    id = made["workflow_id"]
    assert (made["success"], made["status"]) == (True, "pending")
    assert tools.assign_p2p_workflows()["workflow_ids"] == [id]
    assert tools.assign_p2p_workflows()["assigned_count"] == 0
    assert tools.update_p2p_workflow_status(id, "in_progress")["new_status"] == "in_progress"
    assert tools.update_p2p_workflow_status(id, "completed", result={"n": 1})["success"]
    found = tools.get_p2p_workflow_status(id)
    assert set(found) == {*KEYS, "success"}
    assert (found["result"], found["priority"]) == ({"n": 1}, 1.0)
    listed = tools.list_p2p_workflows(status="completed", peer_id="me")
    assert (listed["count"], listed["filters"]) == (1, {"status": "completed", "peer_id": "me"})
    mine = tools.get_my_p2p_workflows()
    assert (mine["count"], mine["peer_id"], mine["workflows"]) == (1, "me", listed["workflows"])
    assert tools.get_p2p_stats()["my_workflows"] == 1
    json.dumps([made, found, listed, mine, tools.get_p2p_stats()])


def test_peers(tools: P2PWorkflowTools) -> None:
    assert tools.add_p2p_peer("other")["success"]
    assert tools.add_p2p_peer("other")["message"] == "was there already"
    assert tools.get_p2p_stats()["peer_count"] == 2
    assert tools.remove_p2p_peer("other")["success"]
    gone = tools.remove_p2p_peer("other")
    assert (gone["success"], gone["peer_id"], gone["code"]) == (False, "other", "not_found")


def test_tags_are_told_without_any_state(tmp_path: Path) -> None:
    tools = P2PWorkflowTools(data_dir=tmp_path / "nowhere")
    told = tools.parse_workflow_tags(str(workflow(tmp_path, labels="[Offline-Workflow, big]")))
    assert (told["success"], told["is_p2p"]) == (True, True)
    assert told["metadata"] == {
        "name": "nightly", "tags": ["offline-workflow"], "jobs": ["build", "test"],
        "triggers": ["workflow_dispatch", "push"], "labels": ["Offline-Workflow", "big"],
    }  # fmt: skip
    assert tools.parse_workflow_tags(str(workflow(tmp_path, labels="[]")))["is_p2p"] is False
    gone = tools.parse_workflow_tags(str(tmp_path / "gone.yml"))
    assert (gone["success"], gone["is_p2p"]) == (False, False)
    assert not (tmp_path / "nowhere").exists()


def test_what_goes_wrong_is_told_and_not_raised(tools: P2PWorkflowTools, tmp_path: Path) -> None:
    id = tools.submit_p2p_workflow(str(workflow(tmp_path)))["workflow_id"]
    tools.update_p2p_workflow_status(id, "cancelled")
    for answer, code in (
        (tools.submit_p2p_workflow(str(tmp_path / "gone.yml")), "usage"),
        (tools.submit_p2p_workflow(str(workflow(tmp_path, labels="[]"))), "refused"),
        (tools.submit_p2p_workflow(str(workflow(tmp_path)), priority=float("nan")), "usage"),
        (tools.get_p2p_workflow_status("f" * 64), "not_found"),
        (tools.list_p2p_workflows(status="done"), "usage"),
        (tools.update_p2p_workflow_status(id, "pending"), "refused"),
        (tools.update_p2p_workflow_status(id, "done"), "usage"),
        (tools.update_p2p_workflow_status("f" * 64, "failed"), "not_found"),
        (tools.remove_p2p_peer("me"), "refused"),
        (tools.add_p2p_peer(5), "usage"),  # type: ignore[arg-type]
        (tools.get_p2p_workflow_status(5), "bug"),  # type: ignore[arg-type]
    ):
        assert (answer["success"], answer["code"]) == (False, code), answer
        assert answer["error"]
        assert answer["hint"]


def test_the_package_tells_types_to_its_users() -> None:
    assert (ROOT / "p2pwf/py.typed").exists()
    assert set(p2pwf.__all__) <= set(dir(p2pwf))
    for name in p2pwf.__all__:
        assert getattr(p2pwf, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        p2pwf.nonsense  # type: ignore[attr-defined]  # noqa: B018
