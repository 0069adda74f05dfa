"""The legs of one job, as a plan records them, from the job and the contexts that are known. Knows no other job."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow.expr import Value, has_expression, to_string
from p2pwf.workflow.matrix import Matrix, MatrixError, build_legs, leg_name
from p2pwf.workflow.model import Job
from p2pwf.workflow.nodes import MappingNode, Node, Scalar
from p2pwf.workflow.templates import Scope, evaluate_boolean, evaluate_node, evaluate_string, failure

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
Segments: TypeAlias = "tuple[str, ...]"
MAX_PARALLEL: Final = 4096
"""Legs of one run: a higher bound on them is none."""
MAX_EXACT: Final = 2**53
"""Beyond it a whole float no longer names one integer."""
MAX_GROUP: Final = 400
"""Characters of the name of a concurrency group, GitHub's bound."""


@attrs.frozen(slots=True)
class Strategy:
    """How the legs of a job go together; `max_parallel` 0 is no bound."""

    fail_fast: bool = True
    max_parallel: int = 0


def plain(value: Value) -> Plain:
    """A value as DAG-CBOR data: whole numbers as int, mappings as dict, sequences as list.

    Raises ValueError for NaN and infinities, which DAG-CBOR does not have.
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= MAX_EXACT else float(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("NaN and infinities have no place in a plan")
        return int(value) if value.is_integer() and abs(value) <= MAX_EXACT else value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value]


def evaluate_strategy(job: Job, scope: Scope) -> Strategy:
    """fail-fast and max-parallel of a job; raises InvalidWorkflow."""
    node = job.strategy
    if node is None:
        return Strategy()
    if isinstance(node, MappingNode) and not any(has_expression(key.text) for key, _ in node.entries):
        # The matrix beside them may depend on what is not known yet.
        parts: Value = {key.text: evaluate_node(part, scope) for key, part in node.entries if key.text != "matrix"}
    else:
        parts = evaluate_node(node, scope)
    if not isinstance(parts, Mapping):
        raise failure(node.place, "unexpected-value", "Expected a mapping for the strategy")
    fail_fast = parts.get("fail-fast", True)
    parallel = parts.get("max-parallel", 0)
    if not isinstance(fail_fast, bool):
        raise failure(node.place, "unexpected-value", f"Unexpected value '{to_string(fail_fast)}' for fail-fast")
    if isinstance(parallel, bool) or not isinstance(parallel, (int, float)) or not math.isfinite(parallel):
        raise failure(node.place, "unexpected-value", f"Unexpected value '{to_string(parallel)}' for max-parallel")
    return Strategy(fail_fast, min(max(int(parallel), 0), MAX_PARALLEL))


def strategy_context(strategy: Strategy, index: int, total: int) -> dict[str, Value]:
    """The `strategy` context of one leg."""
    return {
        "fail-fast": strategy.fail_fast,
        "job-index": index,
        "job-total": total,
        "max-parallel": strategy.max_parallel or total,
    }


def matrix_legs(job: Job, scope: Scope) -> list[tuple[Matrix | None, Segments]]:
    """The matrix of each leg and the segments of its name; a plain job has one leg without. Raises InvalidWorkflow."""
    node = job.strategy
    value = evaluate_node(node, scope) if node is not None else None
    matrix = value.get("matrix") if isinstance(value, Mapping) else None
    if node is None or matrix is None:
        return [(None, ())]
    place = node.place
    if isinstance(node, MappingNode):
        inner = node.get("matrix")
        place = inner.place if inner is not None else place
    try:
        legs = build_legs(matrix)
    except MatrixError as error:
        raise failure(place, "matrix", error.message) from error
    if not legs:
        raise failure(place, "matrix", "The matrix makes no jobs: every combination is excluded")
    return [(leg, segments) for leg, segments in legs]


def as_declared(job: Job, scope: Scope, index: int, recorded: Mapping[str, Value] | None) -> Mapping[str, Value] | None:
    """The recorded matrix of a leg with its keys in the order of the file: a plan has sorted them.

    Where that cannot be told, as recorded.
    """
    try:
        matrix = plain(matrix_legs(job, scope)[index][0])
    except (InvalidWorkflow, IndexError, ValueError):
        return recorded
    return matrix if isinstance(matrix, dict) and matrix == recorded else recorded


def leg_scopes(job: Job, scope: Scope, strategy: Strategy) -> list[tuple[Matrix | None, Segments, Scope]]:
    """Of each leg its matrix, the segments of its name, and its scope; raises InvalidWorkflow."""
    made = matrix_legs(job, scope)
    return [
        (
            matrix,
            segments,
            Scope({**scope.contexts, "matrix": matrix, "strategy": strategy_context(strategy, index, len(made))}),
        )
        for index, (matrix, segments) in enumerate(made)
    ]


def evaluate_legs(job: Job, scope: Scope, strategy: Strategy, above: str = "") -> list[dict[str, Plain]]:
    """The legs of a job with steps, in the form of a plan's; `above` precedes their names. Raises InvalidWorkflow."""
    return [
        {
            "name": above + shown_name(job, leg, segments),
            "matrix": plain(matrix),
            "labels": list(_labels(job.runs_on, leg)),
            "continue_on_error": job_continues(job, leg),
            "concurrency": evaluate_group(job.concurrency, leg),
        }
        for matrix, segments, leg in leg_scopes(job, scope, strategy)
    ]


def job_continues(job: Job, scope: Scope) -> bool:
    """The value of a job's continue-on-error; raises InvalidWorkflow."""
    return job.continue_on_error is not None and evaluate_boolean(job.continue_on_error, scope)


def evaluate_group(node: Node | None, scope: Scope) -> dict[str, Plain] | None:
    """A `concurrency` as {group, cancel_in_progress, queue}, None where there is none; raises InvalidWorkflow.

    A name that comes to an empty string is an error, as on GitHub, where the run or job fails with "Unexpected type of
    value '', expected type: String": who wrote a group wants one, and one that all runs shared would be a surprise.
    """
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return None
    value = evaluate_node(node, scope)
    parts: Mapping[str, Value] = value if isinstance(value, Mapping) else {"group": value}
    group, cancel, queue = parts.get("group"), parts.get("cancel-in-progress", False), parts.get("queue", "single")
    if isinstance(group, (Mapping, list, tuple)) or not to_string(group):
        raise failure(node.place, "unexpected-value", "The name of a concurrency group must be a string, not empty")
    if len(to_string(group)) > MAX_GROUP:
        message = f"Concurrency group name must be less than {MAX_GROUP} characters"
        raise failure(node.place, "concurrency-group", message)
    if not isinstance(cancel, bool):
        shown = "" if isinstance(cancel, (Mapping, list, tuple)) else to_string(cancel)
        raise failure(node.place, "unexpected-value", f"Unexpected value '{shown}' for cancel-in-progress")
    if queue not in ("single", "max"):
        shown = "" if isinstance(queue, (Mapping, list, tuple)) else to_string(queue)
        raise failure(node.place, "unexpected-value", f"Unexpected value '{shown}' for queue")
    return {"group": to_string(group), "cancel_in_progress": cancel, "queue": str(queue)}


def shown_name(job: Job, scope: Scope, segments: Sequence[str]) -> str:
    """The name of a leg: its job's own with the matrix behind it, or the job's id so; raises InvalidWorkflow."""
    if job.name is None or not job.name.text:
        return leg_name(job.id, segments)
    if has_expression(job.name.text):
        return leg_name(evaluate_string(job.name, scope) or job.id, ())
    return leg_name(job.name.text, segments)


def _labels(node: Node | None, scope: Scope) -> list[str]:
    """The labels that a runner must have, lower-cased; a runner group counts as one more label."""
    if node is None:
        return []
    value = evaluate_node(node, scope)
    parts: list[Value] = [value]
    if isinstance(value, Mapping):
        parts = [value.get("group"), value.get("labels")]
    labels: list[str] = []
    for part in parts:
        for item in part if isinstance(part, (list, tuple)) else [part]:
            if isinstance(item, (Mapping, list, tuple)):
                raise failure(node.place, "unexpected-value", "Each label of runs-on must be a string")
            if item is not None and to_string(item):
                labels.append(to_string(item).lower())
    if not labels:
        raise failure(node.place, "unexpected-value", "Unexpected value '' for runs-on", "name at least one label")
    return list(dict.fromkeys(labels))
