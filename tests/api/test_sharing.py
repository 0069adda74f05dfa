"""Several coordinators and processes on one folder: nothing acknowledged is lost, and no chain forks itself."""

from __future__ import annotations

import random
import sqlite3
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest

from p2pwf import P2PWorkflowCoordinator, WorkflowStatus, connect
from p2pwf.embedded.store import FILE_NAME
from p2pwf.errors import P2pwfError, Refused, StorageError, UsageError
from tests.api.kit import python, workflow
from tests.e2e.kit import Node

WORK = """
import sys
from p2pwf import P2PWorkflowCoordinator

folder, peer, file, count = sys.argv[1:]
coordinator = P2PWorkflowCoordinator(peer, folder)
for number in range(int(count)):
    print(coordinator.submit_workflow(file, name=f"{number}"), flush=True)
    if number % 3 == 0:
        coordinator.assign_workflows()
    for task in coordinator.get_my_workflows()[:2]:
        coordinator.update_workflow_status(task.workflow_id, "completed")
coordinator.close()
"""
ENDLESS = "1000000"


def assert_one_line(coordinator: P2PWorkflowCoordinator) -> None:
    nodes = coordinator.merkle_clock.nodes
    assert coordinator.merkle_clock.verify_chain()
    assert [node.logical_clock for node in nodes] == list(range(1, len(nodes) + 1))
    assert all(later.parents == (earlier.hash,) for earlier, later in pairwise(nodes))


def test_processes_that_write_one_state_at_once_make_one_line(tmp_path: Path) -> None:
    file = workflow(tmp_path)
    workers = [python(WORK, tmp_path / "state", "shared", file, 15) for _ in range(4)]
    told = []
    for worker in workers:
        out, _ = worker.communicate(timeout=120)
        assert worker.returncode == 0
        told += out.split()
    with P2PWorkflowCoordinator("shared", tmp_path / "state") as found:
        assert {row["workflow_id"] for row in found.list_workflows()} == set(told)
        assert len(told) == 60
        assert_one_line(found)


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.long)])
def test_kill_9_in_the_middle_loses_nothing_that_was_acknowledged(kills: int, tmp_path: Path) -> None:
    file = workflow(tmp_path)
    chance = random.Random(kills)
    told: set[str] = set()
    other = python(WORK, tmp_path / "state", "shared", file, ENDLESS)
    assert other.stdout is not None
    told.add(other.stdout.readline().strip())
    for _ in range(kills):
        worker = python(WORK, tmp_path / "state", "shared", file, ENDLESS)
        assert worker.stdout is not None
        for _ in range(chance.randrange(1, 12)):
            told.add(worker.stdout.readline().strip())
        worker.kill()
        told |= {line.strip() for line in worker.stdout}
        worker.wait()
        worker.__exit__(None, None, None)
    other.kill()
    told |= {line.strip() for line in other.stdout}
    other.wait()
    other.__exit__(None, None, None)
    with P2PWorkflowCoordinator("shared", tmp_path / "state") as found:
        assert told <= {row["workflow_id"] for row in found.list_workflows()}
        assert_one_line(found)


def test_processes_that_make_the_folder_at_once_all_work(tmp_path: Path) -> None:
    file = workflow(tmp_path)
    workers = [python(WORK, tmp_path / "new" / "state", f"peer {index}", file, 2) for index in range(6)]
    for worker in workers:
        out, _ = worker.communicate(timeout=120)
        assert (worker.returncode, len(out.split())) == (0, 2)
    for index in range(6):
        with P2PWorkflowCoordinator(f"peer {index}", tmp_path / "new" / "state") as found:
            assert found.get_stats()["total_workflows"] == 2
            assert_one_line(found)


CLAIM = """
import sys
from p2pwf import P2PWorkflowCoordinator

coordinator = P2PWorkflowCoordinator("shared", sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for task in coordinator.get_my_workflows():
    if coordinator.update_workflow_status(task.workflow_id, "in_progress"):
        print(task.workflow_id, flush=True)
"""


def test_of_processes_that_want_one_workflow_one_gets_it(tmp_path: Path) -> None:
    file = workflow(tmp_path)
    with P2PWorkflowCoordinator("shared", tmp_path / "state") as one:
        ids = [one.submit_workflow(file) for _ in range(40)]
        one.assign_workflows()
    workers = [python(CLAIM, tmp_path / "state") for _ in range(3)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    claimed = [line for worker in workers for line in worker.communicate(timeout=60)[0].split()]
    assert sorted(claimed) == sorted(ids)


def test_two_coordinators_of_one_state_see_each_other_and_those_of_two_do_not(tmp_path: Path) -> None:
    file = workflow(tmp_path)
    one, same = P2PWorkflowCoordinator("a", tmp_path / "s"), P2PWorkflowCoordinator("a", tmp_path / "s")
    other = P2PWorkflowCoordinator("b", tmp_path / "s")
    first = one.submit_workflow(file)
    same.add_peer("x")
    second = same.submit_workflow(file)
    assert [row["workflow_id"] for row in one.list_workflows()] == [first, second]
    assert one.peer_list == ["a", "x"]
    assert one.assign_workflows() == [first, second]
    assert same.assign_workflows() == []
    assert other.list_workflows() == []
    assert other.peer_list == ["b"]
    assert_one_line(same)


def test_any_texts_are_peer_ids_and_each_has_a_state_of_its_own(tmp_path: Path) -> None:
    file = workflow(tmp_path)
    names = [
        "",
        " ",
        "a",
        "A",
        "../a",
        "/etc/passwd",
        "a\0",
        "\0a",
        "e\u0301",
        "\u00e9",
        "名前" * 500,
        "'; DROP TABLE node; --",
    ]
    for count, name in enumerate(names, 1):
        with P2PWorkflowCoordinator(name, tmp_path / "s") as one:
            assert one.get_stats()["total_workflows"] == 0
            for _ in range(count):
                one.submit_workflow(file)
            one.add_peer(names[count % len(names)])
            one.assign_workflows()
    for count, name in enumerate(names, 1):
        with P2PWorkflowCoordinator(name, tmp_path / "s") as one:
            assert one.peer_id == name
            assert one.peer_list == [name, names[count % len(names)]]
            assert one.get_stats()["status_counts"]["assigned"] == count
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["embedded.db", "embedded.lock"]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_done_the_state_is_what_a_fresh_start_makes_of_it(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    file = workflow(tmp_path)
    # Two coordinators of one state, one of another on the same folder, one on another folder.
    places = [("a", "s"), ("a", "s"), ("b", "s"), ("a", "t")]
    them = [P2PWorkflowCoordinator(peer, tmp_path / folder) for peer, folder in places]
    for _ in range(60):
        one, other = chance.choice(them), chance.choice(them)
        ids = [row["workflow_id"] for row in one.list_workflows()] or ["none"]
        match chance.randrange(8):
            case 0 | 1:
                one.submit_workflow(file, priority=chance.choice([1.0, 3.0]))
            case 2:
                one.assign_workflows()
            case 3:
                one.add_peer(chance.choice("abc"))
            case 4:
                peer = chance.choice("abc")
                assert peer == one.peer_id or one.remove_peer(peer) in (True, False)
            case 5:
                one.merkle_clock.merge(other.merkle_clock)
            case _:
                one.update_workflow_status(chance.choice(ids), chance.choice(list(WorkflowStatus)))
        assert them[0].list_workflows() == them[1].list_workflows()
    for (peer, folder), one in zip(places, them, strict=True):
        with P2PWorkflowCoordinator(peer, tmp_path / folder) as fresh:
            assert fresh.list_workflows() == one.list_workflows()
            assert fresh.get_stats() == one.get_stats()
            assert fresh.peer_list == one.peer_list
            assert fresh.merkle_clock.verify_chain()
            assert fresh.merkle_clock.to_dict() == one.merkle_clock.to_dict()
    for one in them:
        for other in them:
            one.merkle_clock.merge(other.merkle_clock)
    for one in them:
        one.merkle_clock.merge(them[-1].merkle_clock)
        assert one.list_workflows() == them[-1].list_workflows()
        one.close()


def test_a_node_and_coordinators_work_on_one_folder(tmp_path: Path) -> None:
    file = workflow(tmp_path)
    with P2PWorkflowCoordinator("me", tmp_path / "one") as before, Node(tmp_path / "one") as node:
        id = before.submit_workflow(file)
        node.start().ready()
        before.assign_workflows()
        assert connect(tmp_path / "one").get_stats()["total_workflows"] == 0
        with P2PWorkflowCoordinator("me", tmp_path / "one") as after:
            assert [row["workflow_id"] for row in after.list_workflows("assigned")] == [id]


def test_threads_share_one_coordinator(tmp_path: Path) -> None:
    file = workflow(tmp_path)
    with P2PWorkflowCoordinator("a", tmp_path / "s") as one:

        def work() -> None:
            for _ in range(10):
                one.submit_workflow(file)
                one.assign_workflows()
                one.list_workflows()

        threads = [Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.get_stats()["status_counts"]["assigned"] == 40
        assert_one_line(one)


def test_what_a_failed_write_left_in_memory_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = workflow(tmp_path)
    with P2PWorkflowCoordinator("a", tmp_path / "s") as one:
        kept = one.submit_workflow(file)
        with monkeypatch.context() as patch:

            def fail(*_: object) -> None:
                raise sqlite3.OperationalError("disk I/O error")

            patch.setattr("p2pwf.embedded.store.NodeStore._sum", fail)
            with pytest.raises(StorageError):
                one.submit_workflow(file)
        assert [row["workflow_id"] for row in one.list_workflows()] == [kept]
        again = one.submit_workflow(file)
        assert [row["workflow_id"] for row in one.list_workflows()] == [kept, again]
        assert_one_line(one)


def test_a_damaged_row_is_found(tmp_path: Path) -> None:
    file = workflow(tmp_path)
    with P2PWorkflowCoordinator("a", tmp_path / "s") as one:
        one.submit_workflow(file)
    database = sqlite3.connect(tmp_path / "s" / FILE_NAME)
    for harm, whose in (("block = x'00'", "a"), ("hash = zeroblob(32)", "a"), ("sum = 7", "a"), ("state = x'62'", "b")):
        with database:
            database.execute("CREATE TABLE kept AS SELECT * FROM node")
            database.execute(f"UPDATE node SET {harm}")  # noqa: S608 - a list of our own
        with pytest.raises(StorageError, match="damaged"):
            P2PWorkflowCoordinator(whose, tmp_path / "s")
        with database:
            database.execute("DELETE FROM node")
            database.execute("INSERT INTO node SELECT * FROM kept")
            database.execute("DROP TABLE kept")
    P2PWorkflowCoordinator("a", tmp_path / "s").close()


def test_a_folder_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    file = workflow(tmp_path)
    for path in (file, file / "below"):
        with pytest.raises(P2pwfError) as caught:
            P2PWorkflowCoordinator("a", path)
        assert caught.value.hint
    (tmp_path / "s").mkdir()
    with sqlite3.connect(tmp_path / "s" / FILE_NAME) as other:
        other.execute("CREATE TABLE mine (x)")
    with pytest.raises(Refused, match="not a p2pwf coordinator database"):
        P2PWorkflowCoordinator("a", tmp_path / "s")


FORK = """
import gc, os, sys
from p2pwf import P2PWorkflowCoordinator
from p2pwf.errors import UsageError

coordinator = P2PWorkflowCoordinator("a", sys.argv[1])
child = os.fork()
if child == 0:
    try:
        coordinator.list_workflows()
    except UsageError as error:
        print(error, flush=True)
    del coordinator
    gc.collect()
    with P2PWorkflowCoordinator("a", sys.argv[1]) as own:
        own.submit_workflow(sys.argv[2])
    os._exit(0)
os.waitpid(child, 0)
print(len(coordinator.list_workflows()))
coordinator.submit_workflow(sys.argv[2])
"""


def test_a_forked_child_makes_a_coordinator_of_its_own(tmp_path: Path) -> None:
    out, _ = python(FORK, tmp_path / "s", workflow(tmp_path)).communicate(timeout=60)
    assert out.splitlines() == ["this coordinator belongs to the process that forked this one", "1"]
    with P2PWorkflowCoordinator("a", tmp_path / "s") as found:
        assert len(found.list_workflows()) == 2
        assert_one_line(found)


def test_a_closed_coordinator_says_so(tmp_path: Path) -> None:
    one = P2PWorkflowCoordinator("a", tmp_path / "s")
    one.close()
    one.close()
    with pytest.raises(UsageError, match="closed"):
        one.list_workflows()


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    with P2PWorkflowCoordinator("a", tmp_path / "s"):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
        for name in (FILE_NAME, "embedded.lock"):
            assert (tmp_path / "s" / name).stat().st_mode & 0o777 == 0o600
