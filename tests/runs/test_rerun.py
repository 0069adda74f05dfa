"""What a rerun carries over: of a failed run what succeeded, or all but the jobs that are named and what needs them."""

from __future__ import annotations

from typing import Any

import pytest

from p2pwf.core.bodies import FORMS
from p2pwf.core.forms import has_form
from p2pwf.errors import Refused, UsageError
from p2pwf.runs import Run
from p2pwf.runs.rerun import rerun
from p2pwf.runs.run import end_list
from tests.kit import Writer
from tests.runs.test_fold import finish

PLAN: dict[str, list[str]] = {"deploy": [], "lint": [], "test": ["lint"], "ship": ["test", "deploy"]}


def ended(writer: Writer, words: dict[str, str], outputs: dict[str, str] | None = None) -> Run:
    run = writer.submit(PLAN)
    for job in PLAN:
        finish(writer, run, job, conclusion=words.get(job, "success"), outputs=outputs)
    tally = writer.run(run).tally
    writer.write("run.end", {"run": run.id, "conclusion": tally.conclusion(), "finishes": end_list(tally)}, run)
    return writer.run(run)


def carried(body: Any) -> list[str]:
    assert has_form({**body, "absent": []}, FORMS["run.submit"])
    return [one["job"] for one in body["rerun"]["carries"]]


def test_a_run_that_goes_on_is_not_rerun() -> None:
    writer = Writer(1)
    with pytest.raises(Refused, match="has not ended"):
        rerun(writer.submit(PLAN))


def test_failed_keeps_what_succeeded_above_nothing_that_failed() -> None:
    writer = Writer(1)
    assert carried(rerun(ended(writer, {"test": "failure", "ship": "skipped"}), failed=True)) == ["deploy", "lint"]
    assert carried(rerun(ended(writer, {"lint": "failure"}), failed=True)) == ["deploy"]
    with pytest.raises(Refused, match="no job of this run failed"):
        rerun(ended(writer, {}), failed=True)


def test_a_named_job_is_done_again_with_what_needs_it_and_nothing_else() -> None:
    writer = Writer(1)
    run = ended(writer, {"deploy": "failure"})
    assert carried(rerun(run, jobs=["lint"])) == ["deploy"]
    assert carried(rerun(run, jobs=["ship"])) == ["deploy", "lint", "test"]
    assert carried(rerun(run)) == []


def test_attempts_go_on_being_counted_and_a_rerun_can_be_rerun() -> None:
    writer = Writer(1)
    body = rerun(ended(writer, {"ship": "failure"}), failed=True)
    event = writer.write("run.submit", {**body, "absent": []})
    run = writer.desk.runs[event.cid]
    assert run.tally.result("test") == "success"
    assert run.tally.result("ship") is None
    finish(writer, run, "ship")
    end: dict[str, object] = {"run": run.id, "conclusion": "success", "finishes": end_list(writer.run(run).tally)}
    writer.write("run.end", end, run)
    again: Any = rerun(writer.run(run), jobs=["ship"])
    assert (body["rerun"]["attempt"], again["rerun"]["attempt"]) == (2, 3)  # type: ignore[index,call-overload]
    assert carried(again) == ["deploy", "lint", "test"]


def test_what_would_not_fit_is_said() -> None:
    writer = Writer(1)
    run = ended(writer, {"ship": "failure"}, {"much": "x" * 60_000})
    with pytest.raises(UsageError, match="over 128 KiB"):
        rerun(run, failed=True)
