"""The jobs of a workflow at a glance, as plain data for those who draw them. Knows no run."""

from __future__ import annotations

from typing import Any

from p2pwf.workflow.expr import has_expression
from p2pwf.workflow.matrix import MatrixError, build_legs
from p2pwf.workflow.model import Job, Workflow
from p2pwf.workflow.nodes import MappingNode, Scalar, to_value, walk


def outline(workflow: Workflow) -> list[dict[str, Any]]:
    """The jobs in declared order: {"id", "name", "needs": [id], "if", "uses", "legs"}.

    `name`, `if` and `uses` are as written, `if` and `uses` None for none; `legs` is None where only a run tells it.
    """
    return [
        {
            "id": str(job.id),
            "name": (job.name.text if job.name else "") or str(job.id),
            "needs": [str(need) for need in job.needs],
            "if": job.condition.source if job.condition else None,
            "uses": job.uses,
            "legs": _legs(job),
        }
        for job in workflow.jobs
    ]


def _legs(job: Job) -> int | None:
    matrix = job.strategy.get("matrix") if isinstance(job.strategy, MappingNode) else job.strategy
    if matrix is None:
        return 1
    if any(isinstance(part, Scalar) and has_expression(part.text) for part in walk(matrix)):
        return None
    try:
        return len(build_legs(to_value(matrix)))
    except MatrixError:
        return None
