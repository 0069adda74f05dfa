"""The embedded coordinator as its user meets it: submit, assign, follow, end; peers; what is refused."""

from __future__ import annotations

import json
import platform
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf import MerkleClock, P2PWorkflowCoordinator, WorkflowStatus, WorkflowTask, create_task_hash, select_task_owner
from p2pwf.assign import clock_head
from p2pwf.errors import InvalidWorkflow, Refused, UsageError
from p2pwf.ledger import BadClock, State
from p2pwf.ledger.fold import PEER_ADD, PEER_REMOVE, PRIORITY, STATUS, SUBMIT
from p2pwf.ledger.node import cid_of
from tests.api.kit import workflow

S = WorkflowStatus
KEYS = {
    "workflow_id", "name", "status", "priority", "tags", "assigned_peer", "inputs", "result", "error", "created_at",
    "started_at", "completed_at",
}  # fmt: skip
FOLLOWS = {
    S.PENDING: {S.ASSIGNED, S.CANCELLED, S.FAILED},
    S.ASSIGNED: {S.IN_PROGRESS, S.COMPLETED, S.FAILED, S.CANCELLED, S.PENDING},
    S.IN_PROGRESS: {S.COMPLETED, S.FAILED, S.CANCELLED},
    S.COMPLETED: set(),
    S.FAILED: set(),
    S.CANCELLED: set(),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return workflow(tmp_path)


@pytest.fixture
def one(tmp_path: Path) -> P2PWorkflowCoordinator:
    return P2PWorkflowCoordinator("one", tmp_path / "state")


def test_a_submission_is_pending_until_it_is_assigned(one: P2PWorkflowCoordinator, file: Path) -> None:
    id = one.submit_workflow(file, name="Tonight", inputs={"level": "2"}, priority=2.0)
    found = one.get_workflow_status(id)
    assert found is not None
    assert set(found) == KEYS
    assert (found["workflow_id"], found["name"], found["status"]) == (id, "Tonight", "pending")
    assert (found["priority"], found["tags"], found["inputs"]) == (2.0, ["p2p-workflow"], {"level": "2"})
    assert found["assigned_peer"] is found["result"] is found["error"] is found["started_at"] is None
    assert one.assign_workflows() == [id]
    assert one.assign_workflows() == []
    (task,) = one.get_my_workflows()
    assert (task.workflow_id, task.status, task.assigned_peer) == (id, S.ASSIGNED, "one")
    assert (task.workflow_file, task.workflow) == (str(file), file.read_text())


def test_defaults_are_the_workflows_name_and_normal_priority(one: P2PWorkflowCoordinator, file: Path) -> None:
    found = one.get_workflow_status(one.submit_workflow(str(file)))
    assert found is not None
    assert (found["name"], found["priority"], found["inputs"]) == ("nightly", 3.0, {})
    assert one.get_workflow_status("f" * 64) is None


def test_urgent_workflows_are_assigned_first_and_equals_in_order_of_submission(
    one: P2PWorkflowCoordinator, file: Path
) -> None:
    ids = [one.submit_workflow(file, priority=priority) for priority in (3.0, 1.0, 3.0, 6.0, 1.0, 3.0)]
    assert one.update_workflow_priority(ids[3], 0.5)
    assert one.update_workflow_priority(ids[4], 5)
    assert one.assign_workflows() == [ids[3], ids[1], ids[0], ids[2], ids[5], ids[4]]


def test_a_workflow_that_came_back_keeps_its_place_among_equals(one: P2PWorkflowCoordinator, file: Path) -> None:
    first, second = one.submit_workflow(file), one.submit_workflow(file)
    assert one.assign_workflows() == [first, second]
    assert one.update_workflow_status(second, S.PENDING)
    assert one.update_workflow_status(first, "pending")
    assert one.assign_workflows() == [first, second]


def test_everybody_computes_the_same_owner_from_the_submissions_past(one: P2PWorkflowCoordinator, file: Path) -> None:
    for peer in ("two", "three", "名前", "", "a b\n\0"):
        assert one.add_peer(peer)
    ids = [one.submit_workflow(file) for _ in range(20)]
    one.assign_workflows()
    nodes = {node.hash: node for node in one.merkle_clock.nodes}
    owners = set()
    for id in ids:
        head = clock_head(cid_of(parent) for parent in nodes[id].parents)
        owner, distance = select_task_owner(head, create_task_hash(id), reversed(one.peer_list))
        found = one.get_workflow_status(id)
        assert found is not None
        assert found["assigned_peer"] == owner
        told = [node.data for node in one.merkle_clock.nodes if node.data.get("workflow_id") == id]
        assert told[0]["distance"] == distance
        owners.add(owner)
    assert len(owners) > 2
    assert [task.workflow_id for task in one.get_my_workflows()] == [
        row["workflow_id"] for row in one.list_workflows(peer_id="one")
    ]


@pytest.mark.parametrize("target", list(S))
@pytest.mark.parametrize("path", [(), (S.ASSIGNED,), (S.ASSIGNED, S.IN_PROGRESS), (S.ASSIGNED, S.COMPLETED),
                                  (S.FAILED,), (S.CANCELLED,)])  # fmt: skip
def test_a_status_follows_only_where_the_table_says(
    path: tuple[S, ...], target: S, one: P2PWorkflowCoordinator, file: Path
) -> None:
    id = one.submit_workflow(file)
    for status in path:
        assert one.update_workflow_status(id, status)
    before = one.get_workflow_status(id)
    assert before is not None
    height = one.merkle_clock.logical_clock
    allowed = target in FOLLOWS[S(before["status"])]
    assert one.update_workflow_status(id, target.value) == allowed
    after = one.get_workflow_status(id)
    assert after is not None
    assert after["status"] == (target if allowed else before["status"])
    assert one.merkle_clock.logical_clock == height + allowed
    assert (after["assigned_peer"] == "one") == (
        after["status"] != "pending" and S.ASSIGNED in (*path, after["status"])
    )
    assert (after["completed_at"] is not None) == (after["status"] in ("completed", "failed", "cancelled"))


def test_results_errors_and_times_are_kept(one: P2PWorkflowCoordinator, file: Path) -> None:
    good, bad = one.submit_workflow(file), one.submit_workflow(file)
    one.assign_workflows()
    assert one.update_workflow_status(good, S.IN_PROGRESS)
    assert one.update_workflow_status(good, S.COMPLETED, result={"rows": [1, None, 2.5]})
    assert one.update_workflow_status(bad, S.FAILED, error="no disk")
    done, failed = one.get_workflow_status(good), one.get_workflow_status(bad)
    assert done is not None
    assert failed is not None
    assert done["result"] == {"rows": [1, None, 2.5]}
    assert done["created_at"] <= done["started_at"] <= done["completed_at"]
    assert (failed["error"], failed["result"], failed["started_at"]) == ("no disk", None, None)
    assert not one.update_workflow_status("f" * 64, S.FAILED)
    assert not one.update_workflow_priority(good, 1.0)
    assert not one.update_workflow_priority("f" * 64, 1.0)
    with pytest.raises(UsageError, match="no status"):
        one.update_workflow_status(good, "done")
    with pytest.raises(ValueError, match="JSON"):
        one.update_workflow_status(one.submit_workflow(file), S.FAILED, result={1, 2})
    assert one.merkle_clock.verify_chain()


def test_what_a_caller_changes_changes_nothing_here(one: P2PWorkflowCoordinator, file: Path) -> None:
    inputs: dict[str, Any] = {"list": [1]}
    id = one.submit_workflow(file, inputs=inputs)
    one.assign_workflows()
    inputs["list"].append(2)
    one.get_my_workflows()[0].inputs["list"].append(3)
    found = one.get_workflow_status(id)
    assert found is not None
    found["inputs"]["list"].append(4)
    again = one.get_workflow_status(id)
    assert again is not None
    assert again["inputs"] == {"list": [1]}
    assert one.merkle_clock.verify_chain()


def test_peers_come_and_go_and_what_one_had_not_begun_is_pending_again(one: P2PWorkflowCoordinator, file: Path) -> None:
    assert one.peer_list == ["one"]
    assert one.add_peer("two")
    assert not one.add_peer("two")
    assert not one.add_peer("one")
    assert one.peer_list == ["one", "two"]
    ids = [one.submit_workflow(file) for _ in range(40)]
    one.assign_workflows()
    theirs = [row["workflow_id"] for row in one.list_workflows(peer_id="two")]
    assert 1 < len(theirs) < len(ids)
    assert one.update_workflow_status(theirs[0], S.IN_PROGRESS)
    assert one.remove_peer("two")
    assert not one.remove_peer("two")
    assert [row["workflow_id"] for row in one.list_workflows("pending")] == theirs[1:]
    assert one.list_workflows(peer_id="two")[0]["workflow_id"] == theirs[0]
    assert one.assign_workflows() == theirs[1:]
    assert len(one.get_my_workflows()) == len(ids) - 1
    with pytest.raises(Refused):
        one.remove_peer("one")


def test_figures_add_up(one: P2PWorkflowCoordinator, file: Path) -> None:
    one.add_peer("two")
    ids = [one.submit_workflow(file) for _ in range(5)]
    one.assign_workflows()
    one.submit_workflow(file)
    one.update_workflow_status(ids[0], S.CANCELLED)
    mine = len(one.get_my_workflows())
    assert one.get_stats() == {
        "peer_id": "one", "total_workflows": 6, "queue_size": 1, "peer_count": 2, "merkle_clock_height": 13,
        "status_counts": {"pending": 1, "assigned": 4, "in_progress": 0, "completed": 0, "failed": 0, "cancelled": 1},
        "my_workflows": mine,
    }  # fmt: skip
    assert [row["workflow_id"] for row in one.list_workflows()][:5] == ids
    assert [row["workflow_id"] for row in one.list_workflows(S.CANCELLED)] == [ids[0]]
    assert one.list_workflows(status="assigned", peer_id="nobody") == []
    with pytest.raises(UsageError):
        one.list_workflows("done")
    json.dumps([one.get_stats(), one.list_workflows(), one.merkle_clock.to_dict()])


def test_an_id_is_found_by_its_beginning_or_end(one: P2PWorkflowCoordinator, file: Path) -> None:
    id = one.submit_workflow(file)
    for part in (id[:8], id[-8:], id):
        found = one.get_workflow_status(part)
        assert found is not None
        assert found["workflow_id"] == id
    assert one.get_workflow_status(id[:3]) is None


@pytest.mark.parametrize(
    ("name", "labels", "tags"),
    [
        ("My P2P-Workflow of the night", "[]", ["p2p-workflow"]),
        ("x", "Offline-Workflow", ["offline-workflow"]),
        ("offline-workflow", "[a, P2P-WORKFLOW]", ["p2p-workflow", "offline-workflow"]),
        ("x", "[data-collection]", []),
    ],
)
def test_a_workflow_file_tells_its_tags(
    name: str, labels: str, tags: list[str], one: P2PWorkflowCoordinator, tmp_path: Path
) -> None:
    file = workflow(tmp_path, name, labels)
    for path in (file, str(file)):
        about = one.parse_workflow_file(path)
        assert (about["name"], about["tags"]) == (name, tags)
        assert (about["jobs"], about["triggers"]) == (["build", "test"], ["workflow_dispatch", "push"])
        assert one.is_p2p_workflow(about) == bool(tags)


def test_job_names_and_labels_are_looked_at_too(one: P2PWorkflowCoordinator, tmp_path: Path) -> None:
    file = tmp_path / "w.yml"
    for job in ("name: Scrape (Offline-Workflow)", "labels: [p2p-workflow]"):
        file.write_text(f"on: push\njobs: {{a: {{{job}, runs-on: x, steps: [{{run: 'true'}}]}}}}\n")
        about = one.parse_workflow_file(file)
        assert (about["name"], len(about["tags"]), one.is_p2p_workflow(about)) == ("w", 1, True)


def test_what_cannot_be_submitted_is_refused_and_leaves_no_trace(one: P2PWorkflowCoordinator, tmp_path: Path) -> None:
    untagged = workflow(tmp_path, labels="[]", file="plain.yml")
    broken = tmp_path / "broken.yml"
    broken.write_text("on: [\n")
    good = workflow(tmp_path)
    with pytest.raises(Refused) as caught:
        one.submit_workflow(untagged)
    assert "p2p-workflow" in str(caught.value.hint)
    with pytest.raises(InvalidWorkflow, match=r"broken\.yml:"):
        one.submit_workflow(broken)
    for path in (tmp_path / "gone.yml", tmp_path, "a\0b"):
        with pytest.raises(UsageError):
            one.submit_workflow(path)
    for priority in (float("nan"), float("inf"), "high", True, None):
        with pytest.raises(UsageError):
            one.submit_workflow(good, priority=priority)  # type: ignore[arg-type]
    for inputs in ({"a": float("nan")}, {1: 2}, [1], {"a": object()}):
        with pytest.raises(UsageError):
            one.submit_workflow(good, inputs=inputs)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        one.update_workflow_priority("f" * 64, float("nan"))
    for peer in (None, 7, b"x", "\ud800"):
        with pytest.raises(UsageError):
            one.add_peer(peer)  # type: ignore[arg-type]
    assert one.get_stats()["merkle_clock_height"] == 0
    assert one.submit_workflow(untagged, force=True)


def test_the_peer_id_comes_from_the_environment_or_is_the_machines_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2P_DATA_DIR", str(tmp_path / "there"))
    monkeypatch.setenv("P2P_PEER_ID", "worker 7")
    with P2PWorkflowCoordinator() as found:
        assert (found.peer_id, found.data_dir, found.peer_list) == ("worker 7", tmp_path / "there", ["worker 7"])
    monkeypatch.delenv("P2P_PEER_ID")
    with P2PWorkflowCoordinator(data_dir=tmp_path / "here") as found:
        assert (found.peer_id, found.data_dir) == (platform.node(), tmp_path / "here")


def test_two_that_merge_each_others_clocks_hold_the_same_workflows(tmp_path: Path, file: Path) -> None:
    one = P2PWorkflowCoordinator("one", tmp_path / "a")
    two = P2PWorkflowCoordinator("two", tmp_path / "b")
    one.add_peer("two")
    ids = [one.submit_workflow(file) for _ in range(4)]
    two.merkle_clock.merge(one.merkle_clock)
    ids.append(two.submit_workflow(file, priority=1.0))
    one.assign_workflows()
    two.assign_workflows()
    one.update_workflow_status(ids[0], S.IN_PROGRESS)
    two.update_workflow_status(ids[0], S.CANCELLED)
    for first, second in ((one, two), (two, one)):
        first.merkle_clock.merge(second.merkle_clock)
    assert one.list_workflows() == two.list_workflows()
    assert {row["workflow_id"] for row in one.list_workflows()} == set(ids)
    assert one.merkle_clock.verify_chain()
    assert one.merkle_clock.head_hash == two.merkle_clock.head_hash
    again = P2PWorkflowCoordinator("one", tmp_path / "a")
    assert again.list_workflows() == one.list_workflows()
    assert again.merkle_clock.to_dict() == one.merkle_clock.to_dict()


def test_a_forged_clock_changes_nothing_and_the_own_one_is_not_pruned(
    one: P2PWorkflowCoordinator, file: Path, tmp_path: Path
) -> None:
    one.submit_workflow(file)
    told = one.merkle_clock.to_dict()
    told["nodes"][0]["data"]["priority"] = 0.0
    with pytest.raises(BadClock):
        P2PWorkflowCoordinator("two", tmp_path / "two").merkle_clock.merge(MerkleClock.from_dict(told))
    pruned = MerkleClock.from_dict(one.merkle_clock.to_dict())
    pruned.append({})
    pruned.prune(1)
    with pytest.raises(BadClock, match="pruned"):
        one.merkle_clock.merge(pruned)
    with pytest.raises(Refused, match="kept whole"):
        one.merkle_clock.prune()
    assert len(one.merkle_clock) == 1


def test_a_priority_for_what_has_ended_has_no_effect_whoever_writes_it(one: P2PWorkflowCoordinator, file: Path) -> None:
    id = one.submit_workflow(file)
    one.update_workflow_status(id, S.CANCELLED)
    before = one.list_workflows()
    one.merkle_clock.append({"event": PRIORITY, "workflow_id": id, "priority": 1.0})
    one.merkle_clock.append({"event": STATUS, "workflow_id": id, "status": "pending"})
    assert one.list_workflows() == before


@given(
    st.lists(
        st.fixed_dictionaries(
            {"event": st.sampled_from([SUBMIT, STATUS, PRIORITY, PEER_ADD, PEER_REMOVE, "other"])},
            optional={
                key: st.none() | st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.integers(-9, 9), max_size=1)
                for key in ("workflow_id", "status", "peer", "priority", "name", "file", "tags", "inputs", "workflow")
            },
        ),
        max_size=8,
    )
)  # fmt: skip
def test_nodes_of_any_content_have_no_effect_and_do_no_harm(data: list[dict[str, Any]]) -> None:
    clock, state = MerkleClock("stranger"), State()
    for one in data:
        clock.append(one)
    for node in clock.nodes:
        state.apply(node)
    assert state.tasks == {}


def test_a_task_survives_json(one: P2PWorkflowCoordinator, file: Path) -> None:
    one.submit_workflow(file, inputs={"a": [1]})
    one.assign_workflows()
    (task,) = one.get_my_workflows()
    assert WorkflowTask.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    with pytest.raises(UsageError):
        WorkflowTask.from_dict({"workflow_id": "x"})
    plain = WorkflowTask(workflow_id="w", name="n", workflow_file="f.yml")
    assert (plain.status, plain.priority, plain.inputs) == (S.PENDING, 3.0, {})


def test_the_chain_of_one_coordinator_is_one_line(one: P2PWorkflowCoordinator, file: Path) -> None:
    for _ in range(5):
        one.submit_workflow(file)
    one.assign_workflows()
    nodes = one.merkle_clock.nodes
    assert all(later.parents == (earlier.hash,) for earlier, later in pairwise(nodes))
    assert len({node.hash for node in nodes}) == len(nodes) == 10
