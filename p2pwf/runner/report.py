"""What a job's steps came to, as the blob that `job.finish` names: see protocols/reports.md. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import attrs

from p2pwf.runner.values import JobResult, StepResult

VERSION: Final = 1
MAX_REPORT: Final = 2 * 1024 * 1024
"""Bytes of a report: every peer that shows the run fetches it whole."""
MAX_STEPS: Final = 512 * 1024
MAX_ANNOTATIONS: Final = 512 * 1024
"""Bytes of the two lists, summaries left out: what remains is for those."""
MAX_NAME: Final = 1024
"""Characters of a step's id and name."""


def report(result: JobResult) -> bytes:
    """The report of a job, at most MAX_REPORT bytes of UTF-8 JSON; what found no room is counted in `dropped`."""
    steps, steps_dropped = _fitting([_step(step) for step in result.steps], MAX_STEPS)
    annotations, annotations_dropped = _fitting([attrs.asdict(item) for item in result.annotations], MAX_ANNOTATIONS)
    dropped = {"steps": steps_dropped, "annotations": annotations_dropped, "summaries": 0}
    report = {"version": VERSION, "steps": steps, "annotations": annotations, "dropped": dropped}
    left = MAX_REPORT - len(_encode(report)) - 16  # the count of summaries may grow
    for entry, step in zip(steps, result.steps, strict=False):
        size = len(_encode(step.summary)) - len(_encode(""))
        if size > left:
            dropped["summaries"] += 1
        else:
            left -= size
            entry["summary"] = step.summary
    return _encode(report)


def _step(step: StepResult) -> dict[str, object]:
    return {
        **attrs.asdict(step),
        "id": step.id[:MAX_NAME],
        "name": step.name[:MAX_NAME],
        "summary": "",
    }


def _fitting(entries: list[dict[str, object]], bound: int) -> tuple[list[dict[str, object]], int]:
    """The first of the entries, as many as the bound holds, and how many it does not."""
    for count, entry in enumerate(entries):
        bound -= len(_encode(entry)) + 1
        if bound < 0:
            return entries[:count], len(entries) - count
    return entries, 0


def _encode(value: Mapping[str, object] | str) -> bytes:
    # A lone surrogate (half a pair that came through JSON) is no UTF-8: it shows as a question mark.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
