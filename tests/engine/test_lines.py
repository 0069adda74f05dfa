"""Concurrency groups: one run and one job of a group at a time, wherever they run; the newest in line stays."""

from __future__ import annotations

from typing import Any

import pytest

from p2pwf.core.ids import Cid
from p2pwf.engine.config import SETTLE
from p2pwf.engine.inputs import CancelRun
from p2pwf.node.views import list_runs, run_status
from p2pwf.testing import make_submission
from p2pwf.testing.planner import in_group
from tests.engine.kit import Net


def grouped(name: str = "ci", cancel: bool = False, queue: str = "single", **more: Any) -> dict[str, Any]:
    return make_submission({"a": []}, group=in_group(name, cancel, queue), **more)


def deploy(cancel: bool = False, queue: str = "single", **jobs: list[str]) -> dict[str, Any]:
    return make_submission({**jobs, "deploy": list(jobs)}, job_groups={"deploy": in_group("prod", cancel, queue)})


def conclusion(net: Net, run: Cid) -> str | None:
    return net.run(run).tally.conclusion()


def test_one_run_of_a_group_runs_one_waits_and_what_waited_before_is_cancelled() -> None:
    net = Net()
    first, second, third = (net.submit(grouped(name)) for name in ("ci", "CI", "Ci"))
    assert set(net.running(first)) == {("a", 0)}
    assert conclusion(net, second) == "cancelled"
    assert not net.running(third)
    net.end(first, "a")
    assert net.running(third)
    net.end(third, "a")
    assert [conclusion(net, run) for run in (first, second, third)] == ["success", "cancelled", "success"]


def test_the_views_tell_what_waits_and_what_gave_way() -> None:
    net = Net()
    first, second, third = (net.submit(grouped()) for _ in range(3))
    engine = net.members[0].engine
    assert [run_status(engine, net.run(run))["status"] for run in (first, second, third)] == [
        "in_progress",
        "cancelled",
        "pending",
    ]
    assert [row["workflow_id"] for row in list_runs(engine, "pending", None)] == [third.text]
    gone = run_status(engine, net.run(second))
    assert "later one of its concurrency group" in gone["jobs"][0]["error"]


def test_cancel_in_progress_ends_what_runs_and_waits_for_its_end() -> None:
    net = Net()
    first = net.submit(grouped())
    second = net.submit(grouped(cancel=True))
    assert net.asked_to_stop(first) == {("a", 0)}
    assert not net.running(second)
    net.end(first, "a", result="cancelled")
    assert net.running(second)
    assert conclusion(net, first) == "cancelled"


def test_with_a_queue_of_any_length_all_run_in_their_order() -> None:
    net = Net()
    runs = [net.submit(grouped(queue="max")) for _ in range(4)]
    for number, run in enumerate(runs):
        assert [bool(net.running(other)) for other in runs] == [other is run for other in runs], number
        net.end(run, "a")
    assert {conclusion(net, run) for run in runs} == {"success"}


def test_groups_are_apart_by_repository_and_name() -> None:
    net = Net()
    runs = [
        net.submit({**grouped(name), "repository": repository})
        for name in ("ci", "other")
        for repository in ("o/one", "o/two")
    ]
    assert all(net.running(run) for run in runs)
    again = net.submit({**grouped("CI"), "repository": "O/One"})
    assert not net.running(again)


def test_what_is_dropped_before_it_started_runs_nothing_not_even_what_always_runs() -> None:
    net = Net()
    first = net.submit(grouped())
    always = make_submission(
        {"a": [], "b": ["a"], "c": ["b"]},
        {"b": None},
        payload={"if": {"a": "always", "b": "always", "c": "always"}, "legs": {"b": 2}},
        group=in_group("ci"),
    )
    second = net.submit(always)
    net.submit(grouped())
    net.wait(2)
    assert net.results(second) == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}
    assert net.running(first)


def test_a_run_that_is_cancelled_by_hand_leaves_the_group_to_the_next() -> None:
    net = Net()
    first, second = net.submit(grouped()), net.submit(grouped())
    net.members[0].give(CancelRun("cancel", first))
    net.end(first, "a", result="cancelled")
    assert net.running(second)


def test_a_run_that_is_cancelled_while_it_waits_runs_nothing() -> None:
    net = Net()
    first = net.submit(grouped())
    body = make_submission({"a": []}, payload={"if": {"a": "always"}}, group=in_group("ci"))
    second = net.submit(body)
    net.members[0].give(CancelRun("cancel", second))
    assert net.results(second) == {"a": "cancelled"}
    assert net.running(first)


def test_only_its_submitter_or_an_admin_takes_the_place_of_a_run() -> None:
    net = Net(3)
    first = net.submit(grouped(), at=1)
    net.wait(SETTLE + 1)
    assert net.running(first)
    second = net.submit(grouped(), at=1)
    third = net.submit(grouped(cancel=True), at=2)  # neither admin nor the submitter of the others
    net.wait(3)
    assert not net.asked_to_stop(first)
    assert conclusion(net, second) is None
    net.submit(grouped(), at=0)  # an admin
    net.wait(3)
    assert conclusion(net, second) == conclusion(net, third) == "cancelled"


def test_of_runs_submitted_at_once_at_several_members_one_starts() -> None:
    net = Net(3)
    runs = [net.submit(grouped(queue="max"), at=at, share=False) for at in range(3)]
    net.share()
    assert not net.running()
    net.wait(SETTLE + 1)
    assert len(net.running()) == 1
    order = []
    while running := [run for run in runs if net.running(run)]:
        assert len(running) == 1
        order += running
        net.end(running[0], "a")
        net.wait(SETTLE + 1)
    assert sorted(order) == sorted(runs)


def test_a_member_that_lost_its_memory_decides_the_same() -> None:
    net = Net(2)
    two = net.members[1]
    first = net.submit(grouped())
    net.wait(SETTLE + 1)
    second, third = net.submit(grouped()), net.submit(grouped())
    for _ in range(2):
        for member in net.members:
            held = dict(member.running)
            net.restart(member)
            member.running.update(held)
    net.wait(4)
    for engine in (net.members[0].engine, two.engine):
        assert engine.conductor.groups.is_superseded(engine.desk.runs[second]) or engine.desk.runs[second].tally.end
        assert engine.conductor.groups.run_waits(engine.desk.runs[third])
    assert conclusion(net, second) == "cancelled"
    assert not net.running(third)
    assert conclusion(net, first) is None


# -- jobs -----------------------------------------------------------------------------------------------------------


def test_a_job_waits_for_the_job_of_its_group_in_another_run() -> None:
    net = Net()
    first, second = net.submit(deploy()), net.submit(deploy(queue="max"))
    assert set(net.running()) == {("deploy", 0)}
    assert net.running(first)
    net.end(first, "deploy")
    assert net.running(second)


def test_of_jobs_that_wait_the_newest_stays_and_the_run_goes_on() -> None:
    net = Net()
    first, second, third = (net.submit(deploy(build=[])) for _ in range(3))
    for run in (first, second, third):
        net.end(run, "build")
    assert net.running(first)
    assert net.results(second) == {"build": "success", "deploy": "cancelled"}
    assert not net.running(third)
    net.end(first, "deploy")
    assert net.running(third)


def test_a_job_that_is_not_ready_holds_no_group() -> None:
    net = Net()
    first, second = net.submit(deploy(build=[])), net.submit(deploy())
    assert net.running(second)
    net.end(first, "build")
    assert not net.running(first)
    net.end(second, "deploy")
    assert net.running(first)


def test_a_job_may_cancel_the_one_that_runs() -> None:
    net = Net()
    first, second = net.submit(deploy()), net.submit(deploy(cancel=True))
    assert net.asked_to_stop(first) == {("deploy", 0)}
    net.end(first, "deploy", result="cancelled")
    assert net.running(second)


def test_a_job_that_will_not_run_cancels_nothing() -> None:
    net = Net()
    first, second = net.submit(deploy()), net.submit(deploy(cancel=True, build=[]))
    net.end(second, "build", result="failure")
    assert not net.asked_to_stop(first)
    assert net.results(second)["deploy"] == "skipped"


def test_legs_of_one_matrix_in_one_group_run_one_after_the_other() -> None:
    net = Net(3)
    run = net.submit(make_submission({"a": []}, {"a": 3}, job_groups={"a": in_group("g", queue="max")}))
    for leg in range(3):
        net.wait(SETTLE + 1)
        assert set(net.running()) == {("a", leg)}
        net.end(run, "a", leg)
    assert conclusion(net, run) == "success"


def test_runs_and_jobs_that_want_each_others_groups_come_to_an_end() -> None:
    net = Net()
    one = make_submission(
        {"a": [], "b": ["a"]}, group=in_group("x", queue="max"), job_groups={"b": in_group("y", queue="max")}
    )
    two = make_submission(
        {"a": [], "b": ["a"]}, group=in_group("y", queue="max"), job_groups={"b": in_group("x", queue="max")}
    )
    runs = [net.submit(body) for body in (one, two, one, two)]
    for _ in range(20):
        for (job, leg), start in net.running().items():
            net.end(start.attempt.run, job, leg)
        net.wait(1)
    assert [conclusion(net, run) for run in runs] == ["success"] * 4


@pytest.mark.parametrize("members", [1, 3])
def test_a_run_that_waits_for_its_group_keeps_no_job_from_starting_elsewhere(members: int) -> None:
    net = Net(members)
    first = net.submit(make_submission({"a": [], "b": ["a"]}, group=in_group("x"), job_groups={"b": in_group("y")}))
    net.wait(SETTLE + 1)
    waiting = net.submit(make_submission({"b": []}, group=in_group("x"), job_groups={"b": in_group("y")}))
    net.wait(SETTLE + 1)
    net.end(first, "a")
    net.wait(SETTLE + 1)
    assert set(net.running(first)) == {("b", 0)}
    assert not net.running(waiting)
