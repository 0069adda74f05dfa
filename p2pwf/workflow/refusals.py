"""What this release's runner cannot do, found in a workflow before it is submitted. One table, to be shortened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from p2pwf.workflow.diagnostics import Diagnostic, Place
from p2pwf.workflow.model import Job, Workflow

_HINT: Final = "this release cannot run it yet; take it out, or run the workflow on GitHub"

_OF_JOB: Final[tuple[tuple[str, Callable[[Job], bool]], ...]] = (
    ("a reusable workflow ('uses' on a job)", lambda job: job.uses is not None),
    ("custom images ('snapshot')", lambda job: job.snapshot is not None),
)


def unsupported(workflow: Workflow) -> tuple[Diagnostic, ...]:
    """Errors for all that the runner of this release cannot do, in file order; empty if it can run the workflow."""
    found = list(_found(workflow))
    return tuple(sorted(found, key=lambda finding: (finding.line, finding.column)))


def _found(workflow: Workflow) -> Iterator[Diagnostic]:
    for job in workflow.jobs:
        for what, applies in _OF_JOB:
            if applies(job):
                yield _finding(job.place, f"The job '{job.id}' uses {what}")


def _finding(place: Place, message: str) -> Diagnostic:
    return Diagnostic(place.line, place.column, "error", "unsupported", message, _HINT)
