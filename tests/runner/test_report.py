"""The report of a job, as protocols/reports.md has it."""

from __future__ import annotations

import json
from typing import Any

import attrs

from p2pwf.runner import Annotation, JobResult, StepResult
from p2pwf.runner.report import MAX_REPORT, report
from tests.runner.kit import Bench


def read(result: JobResult) -> dict[str, Any]:
    data = report(result)
    assert len(data) <= MAX_REPORT
    found = json.loads(data)
    assert isinstance(found, dict)
    return found


async def test_a_report_says_what_each_step_came_to(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {id: a, name: First, run: 'echo "# Fine" >> $GITHUB_STEP_SUMMARY; echo "::notice file=x.c,line=2::look"'}
        - {continue-on-error: true, run: exit 1}
        - {if: false, run: 'true'}
        """
    )
    found = read(ran.result)
    assert found["version"] == 1
    first, second, third = found["steps"]
    assert isinstance(first.pop("started_ms"), int)
    assert isinstance(first.pop("completed_ms"), int)
    assert first == {
        "number": 1,
        "id": "a",
        "name": "First",
        "outcome": "success",
        "conclusion": "success",
        "summary": "# Fine\n",
    }
    assert (second["outcome"], second["conclusion"]) == ("failure", "success")
    assert (third["outcome"], third["started_ms"], third["completed_ms"]) == ("skipped", None, None)
    assert found["annotations"][0] == {
        "level": "notice",
        "message": "look",
        "step": 1,
        "title": "",
        "file": "x.c",
        "line": 2,
        "end_line": None,
        "column": None,
        "end_column": None,
    }
    assert found["dropped"] == {"steps": 0, "annotations": 0, "summaries": 0}


def step(number: int, **fields: Any) -> StepResult:
    return attrs.evolve(StepResult(number=number, id="x", name="x", outcome="success", conclusion="success"), **fields)


def test_a_report_is_bounded_and_counts_what_found_no_room() -> None:
    nasty = "\0\ud800ü"
    steps = [step(number, name=nasty * 1000, id=nasty, summary=nasty * 60_000) for number in range(200)]
    notes = [Annotation(level="error", message=nasty * 1365, step=1, title=nasty * 1365) for _ in range(50)]
    found = read(JobResult(outcome="success", conclusion="success", steps=tuple(steps), annotations=tuple(notes)))
    dropped = found["dropped"]
    assert len(found["steps"]) + dropped["steps"] == 200
    assert len(found["annotations"]) + dropped["annotations"] == 50
    assert dropped["steps"] > 0
    assert dropped["annotations"] > 0
    assert dropped["summaries"] > 0
    assert found["steps"][0]["summary"].startswith("\0?ü"), "the first summaries stay whole"
    assert len(found["steps"][0]["name"]) == 1024


def test_the_largest_summary_finds_room() -> None:
    found = read(JobResult(outcome="success", conclusion="success", steps=(step(1, summary="x" * 1024 * 1024),)))
    assert len(found["steps"][0]["summary"]) == 1024 * 1024
