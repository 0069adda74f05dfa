"""Cancelling: what its `if` lets go on runs to its end, unless the cancellation is forced."""

from __future__ import annotations

from p2pwf.engine.inputs import CancelRun, JobEnded
from p2pwf.engine.outputs import CancelJob, StartJob
from tests.engine.test_engine import founder, only, submit

ALWAYS = {"if": {"clean": "always"}}


def test_a_job_that_always_runs_is_left_to_its_end_when_its_run_is_cancelled() -> None:
    bench = founder()
    (start,) = only(submit(bench, {"a": [], "clean": ["a"]}, payload=ALWAYS), StartJob)
    run = start.attempt.run
    stopped = bench.give(CancelRun("cancel", run))
    assert CancelJob(start.attempt, "the run was cancelled") in stopped
    (clean,) = only(bench.give(JobEnded(start.attempt, "cancelled", "cancelled")), StartJob)
    assert clean.attempt.job == "clean"
    assert not only(bench.wait(5.0), CancelJob)
    bench.give(JobEnded(clean.attempt, "success", "success"))
    assert bench.engine.desk.runs[run].tally.conclusion() == "cancelled"
    assert bench.engine.desk.runs[run].tally.result("clean") == "success"


def test_a_forced_cancellation_asks_no_if() -> None:
    bench = founder()
    (start,) = only(submit(bench, {"clean": [], "later": ["clean"]}, payload={"if": {"clean": "always"}}), StartJob)
    run = start.attempt.run
    assert not only(bench.give(CancelRun("cancel", run)), CancelJob)
    assert not only(bench.give(CancelRun("again", run)), CancelJob)
    assert only(bench.give(CancelRun("force", run, force=True)), CancelJob)
    assert bench.engine.desk.runs[run].forced
    bench.give(JobEnded(start.attempt, "cancelled", "cancelled"))
    assert bench.engine.desk.runs[run].tally.end is not None


def test_force_cancels_a_run_that_was_not_cancelled_before() -> None:
    bench = founder()
    (start,) = only(submit(bench, {"clean": []}, payload=ALWAYS), StartJob)
    assert only(bench.give(CancelRun("force", start.attempt.run, force=True)), CancelJob)
