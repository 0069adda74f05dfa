"""Concurrency groups: who waits, who gives way, and who does neither."""

from __future__ import annotations

from typing import cast

from p2pwf.core.dagcbor import Value
from p2pwf.engine.config import SETTLE
from p2pwf.engine.inputs import JobEnded, Submit
from p2pwf.engine.outputs import CancelJob, Output, StartJob
from p2pwf.runs.view import status
from p2pwf.testing import make_submission
from p2pwf.testing.planner import in_group
from tests.engine.test_engine import Bench, exchange, founder, only, pair, submit


def started(outputs: list[Output]) -> list[str]:
    return [one.attempt.job for one in only(outputs, StartJob)]


def end(bench: Bench, start: StartJob, conclusion: str = "success") -> list[Output]:
    return bench.give(JobEnded(start.attempt, conclusion, conclusion))


def conclusions(bench: Bench) -> list[str]:
    runs = sorted(bench.engine.desk.runs.values(), key=lambda run: run.submission.order)
    return [status(run) for run in runs]


def settle(one: Bench, two: Bench) -> list[Output]:
    """Both hear all of each other, and wait as long as a group takes to settle."""
    outputs = exchange(one, two)
    for bench in (one, two):
        outputs += bench.wait(SETTLE)
    return outputs + exchange(one, two)


def test_a_run_waits_for_the_one_before_it_in_its_group() -> None:
    bench = founder()
    first = only(submit(bench, {"a": []}, group=in_group("Site", queue="max")), StartJob)[0]
    assert started(submit(bench, {"b": []}, group=in_group("site", queue="max"))) == []
    assert started(submit(bench, {"c": []}, group=in_group("other"))) == ["c"]
    assert started(end(bench, first)) == ["b"]


def test_of_the_runs_that_wait_only_the_newest_stays() -> None:
    bench = founder()
    first = only(submit(bench, {"a": []}, group=in_group("site")), StartJob)[0]
    assert started(submit(bench, {"b": []}, group=in_group("site"))) == []
    assert started(submit(bench, {"c": []}, group=in_group("site"))) == []
    assert conclusions(bench) == ["in_progress", "cancelled", "assigned"]
    assert started(end(bench, first)) == ["c"]


def test_a_later_run_takes_the_place_of_one_in_progress_if_it_says_so() -> None:
    bench = founder()
    first = only(submit(bench, {"a": [], "after": ["a"]}, group=in_group("site")), StartJob)[0]
    outputs = submit(bench, {"b": []}, group=in_group("site", cancel_in_progress=True))
    assert [one.attempt for one in only(outputs, CancelJob)] == [first.attempt]
    assert started(outputs) == []
    assert started(end(bench, first, "cancelled")) == ["b"]
    assert conclusions(bench)[0] == "cancelled"


def test_jobs_of_a_group_run_one_after_the_other_over_runs_and_peers() -> None:
    one, two = pair()
    deploy: dict[str, Value] = {"ship": in_group("deploy", queue="max")}
    outputs = submit(one, {"ship": []}, job_groups=deploy)
    outputs += exchange(one, two)
    outputs += submit(two, {"ship": []}, job_groups=deploy)
    outputs += settle(one, two)
    (first,) = only(outputs, StartJob)
    owner = one if first.attempt in one.engine.conductor.work.local.values() else two
    outputs = end(owner, first)
    outputs += settle(one, two)
    (second,) = only(outputs, StartJob)
    assert second.attempt.run != first.attempt.run


def test_a_job_gives_way_to_one_of_a_later_run() -> None:
    bench = founder()
    groups: dict[str, Value] = {"ship": in_group("deploy", cancel_in_progress=True)}
    first = only(submit(bench, {"ship": [], "other": []}, job_groups=groups), StartJob)
    assert [one.attempt.job for one in first] == ["ship", "other"]
    outputs = submit(bench, {"ship": []}, job_groups=groups)
    assert [one.attempt for one in only(outputs, CancelJob)] == [first[0].attempt]
    assert started(end(bench, first[0], "cancelled")) == ["ship"]


def legs_started(outputs: list[Output]) -> list[int]:
    return [one.attempt.leg for one in only(outputs, StartJob)]


def matrix(bench: Bench, group: Value, max_parallel: int = 0) -> list[Output]:
    """A run of four legs that are in one group."""
    return submit(bench, {"m": []}, legs={"m": 4}, job_groups={"m": group}, max_parallel=max_parallel, fail_fast=False)


def test_of_the_legs_of_one_matrix_one_runs_and_the_newest_waits() -> None:
    bench = founder()
    outputs = matrix(bench, in_group("deploy"))
    (first,) = only(outputs, StartJob)
    assert first.attempt.leg == 0
    assert legs_started(end(bench, first)) == [3]
    (run,) = bench.engine.desk.runs.values()
    finishes = [run.tally.finish(("m", leg)) for leg in range(4)]
    assert [one and one.body["conclusion"] for one in finishes] == ["success", "cancelled", "cancelled", None]


def test_the_newest_leg_of_a_matrix_cancels_what_runs_where_that_is_asked_for() -> None:
    assert legs_started(matrix(founder(), in_group("deploy", cancel_in_progress=True))) == [3]


def test_all_legs_of_a_matrix_run_one_after_the_other_where_only_one_may_start_or_all_may_wait() -> None:
    for group, parallel in ((in_group("deploy"), 1), (in_group("deploy", queue="max"), 0)):
        bench = founder()
        outputs = matrix(bench, cast(Value, group), parallel)
        for leg in range(4):
            assert legs_started(outputs) == [leg]
            outputs = end(bench, only(outputs, StartJob)[0])


def test_nobody_else_s_run_is_taken_the_place_of_unless_by_an_admin() -> None:
    one, two = pair()  # one is an admin, two is not
    outputs = submit(one, {"a": []}, group=in_group("site"))
    outputs += exchange(one, two)
    outputs += two.give(Submit("late", make_submission({"b": []}, group=in_group("site", cancel_in_progress=True))))
    outputs += settle(one, two)
    assert only(outputs, CancelJob) == []
    assert len(only(outputs, StartJob)) == 1
    outputs = one.give(Submit("later", make_submission({"c": []}, group=in_group("site", cancel_in_progress=True))))
    outputs += exchange(one, two)
    assert len(only(outputs, CancelJob)) == 1
