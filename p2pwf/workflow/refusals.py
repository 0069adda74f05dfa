"""What this release's runner cannot do, found in a workflow before it is submitted. One table, to be shortened."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from p2pwf.workflow.diagnostics import Diagnostic, Place
from p2pwf.workflow.model import Job, Step, Workflow

_CHECKOUT = re.compile(r"actions/checkout@.+", re.IGNORECASE)
_HINT: Final = "this release cannot run it yet; take it out, or run the workflow on GitHub"

_OF_JOB: Final[tuple[tuple[str, Callable[[Job], bool]], ...]] = (
    ("a job container ('container')", lambda job: job.container is not None),
    ("service containers ('services')", lambda job: job.services is not None),
    ("a reusable workflow ('uses' on a job)", lambda job: job.uses is not None),
    ("concurrency groups ('concurrency')", lambda job: job.concurrency is not None),
    ("deployment environments ('environment')", lambda job: job.environment is not None),
    ("custom images ('snapshot')", lambda job: job.snapshot is not None),
)
_OF_STEP: Final[tuple[tuple[str, Callable[[Step], bool]], ...]] = (
    ("actions other than actions/checkout", lambda step: step.uses is not None and not _CHECKOUT.fullmatch(step.uses)),
    ("background steps ('background')", lambda step: step.background),
    ("steps that wait, cancel or run in parallel", lambda step: step.kind not in ("run", "uses")),
)


def unsupported(workflow: Workflow) -> tuple[Diagnostic, ...]:
    """Errors for all that the runner of this release cannot do, in file order; empty if it can run the workflow."""
    found = list(_found(workflow))
    return tuple(sorted(found, key=lambda finding: (finding.line, finding.column)))


def _found(workflow: Workflow) -> Iterator[Diagnostic]:
    if workflow.concurrency is not None:
        yield _finding(workflow.concurrency.place, "The workflow uses concurrency groups ('concurrency')")
    for job in workflow.jobs:
        for what, applies in _OF_JOB:
            if applies(job):
                yield _finding(job.place, f"The job '{job.id}' uses {what}")
        for step in job.steps:
            for what, applies_to_step in _OF_STEP:
                if applies_to_step(step):
                    named = f": '{step.uses}'" if step.uses else ""
                    yield _finding(step.place, f"A step of the job '{job.id}' uses {what}{named}")


def _finding(place: Place, message: str) -> Diagnostic:
    return Diagnostic(place.line, place.column, "error", "unsupported", message, _HINT)
