"""The plan of a run as plain data, and the decisions that need the results of other jobs. No I/O, no clock.

A plan is made once, by the submitter, of DAG-CBOR types only (whole numbers as int), and read by folds that know
nothing of workflows. What depends on `needs` is left open there (`legs` is None) and decided later by `expand_job`.
Whether a job runs is decided by `should_run`, by GitHub's rules: the implicit success() looks at all ancestors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from p2pwf.workflow.expr import Function, Value, fold, has_expression, to_string
from p2pwf.workflow.facts import RunFacts
from p2pwf.workflow.matrix import Matrix, MatrixError, build_legs, leg_name
from p2pwf.workflow.model import Job, Workflow
from p2pwf.workflow.nodes import MappingNode, Node
from p2pwf.workflow.templates import (
    Scope,
    evaluate_boolean,
    evaluate_condition,
    evaluate_node,
    evaluate_string,
    failure,
    mentions,
)

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
MAX_PARALLEL: Final = 2**31 - 1
MAX_GROUP: Final = 400
"""Characters of the name of a concurrency group, GitHub's bound."""
MAX_EXACT: Final = 2**53
"""Beyond it a whole float no longer names one integer."""


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


def needs_context(needs: Mapping[str, Mapping[str, object]]) -> Value:
    """The `needs` context from results: {job: {"result": str, "outputs": {name: str}}}."""
    context: dict[str, Value] = {}
    for job, outcome in needs.items():
        outputs = outcome.get("outputs")
        given = {str(k): str(v) for k, v in outputs.items()} if isinstance(outputs, Mapping) else {}
        context[job] = {"result": str(outcome.get("result", "")), "outputs": given}
    return context


def is_dynamic(job: Job) -> bool:
    """Whether the legs of a job can be known only once its needs have finished."""
    open_parts = (job.strategy, job.runs_on, job.name, job.continue_on_error, job.concurrency, job.environment)
    return any(mentions(node, "needs") for node in open_parts)


def build_plan(workflow: Workflow, facts: RunFacts) -> dict[str, Plain]:
    """The plan of a run: {"jobs": [...]} in declared order.

    Each job is {"id", "needs": [id], "legs": [leg] or None, "fail_fast": bool, "max_parallel": int, 0 for no bound};
    each leg {"name", "matrix": map or None, "labels": [lower-cased], "continue_on_error": bool}. `legs` is None where
    they depend on `needs`. Raises InvalidWorkflow, with the place, where an expression or a matrix fails.
    """
    jobs: list[Plain] = []
    for job in workflow.jobs:
        dynamic = is_dynamic(job)
        strategy = Strategy() if mentions(job.strategy, "needs") else _strategy(job, _scope(facts, {}))
        legs: Plain = None
        if not dynamic:
            legs = list(_legs(job, _scope(facts, {}), strategy))
        jobs.append(
            {
                "id": str(job.id),
                "needs": [str(need) for need in job.needs],
                "legs": legs,
                "fail_fast": strategy.fail_fast,
                "max_parallel": strategy.max_parallel,
            }
        )
    return {"jobs": jobs}


def expand_job(
    workflow: Workflow, job_id: str, facts: RunFacts, needs: Mapping[str, Mapping[str, object]]
) -> list[dict[str, Plain]]:
    """The legs of a job, in the form of a plan's, now that its needs are known; raises InvalidWorkflow, KeyError."""
    job = workflow.job(job_id)
    scope = _scope(facts, needs)
    return _legs(job, scope, _strategy(job, scope))


def job_strategy(
    workflow: Workflow, job_id: str, facts: RunFacts, needs: Mapping[str, Mapping[str, object]]
) -> Strategy:
    """fail-fast and max-parallel of a job, now that its needs are known; raises InvalidWorkflow, KeyError."""
    return _strategy(workflow.job(job_id), _scope(facts, needs))


def should_run(  # the question in the order that it is asked
    workflow: Workflow,
    job_id: str,
    facts: RunFacts,
    needs: Mapping[str, Mapping[str, object]],
    ancestors: Iterable[str],
    cancelled: bool,
) -> bool:
    """Whether a job whose needs have all ended is to run; False means that it is skipped.

    `needs` are the direct needs; `ancestors` the results of all jobs it needs, directly or not. Raises
    InvalidWorkflow where the `if` cannot be evaluated (the job then fails), KeyError for an unknown job.
    """
    job = workflow.job(job_id)
    results = [*ancestors, *(str(outcome.get("result", "")) for outcome in needs.values())]
    scope = _scope(facts, needs)
    return evaluate_condition(job.condition, Scope(scope.contexts, job_status_functions(results, needs, cancelled)))


def job_status_functions(
    results: Sequence[str], needs: Mapping[str, Mapping[str, object]], cancelled: bool
) -> dict[str, Function]:
    """success, failure, always and cancelled as the `if` of a job sees them.

    success and failure may name needs; then they look at those alone.
    """
    by_name = {fold(job): str(outcome.get("result", "")) for job, outcome in needs.items()}

    def chosen(names: Sequence[Value]) -> Sequence[str]:
        return [by_name.get(fold(to_string(name)), "") for name in names] if names else results

    def success(names: Sequence[Value]) -> bool:
        return not cancelled and all(result == "success" for result in chosen(names))

    def failed(names: Sequence[Value]) -> bool:
        return not cancelled and any(result == "failure" for result in chosen(names))

    return {
        "success": Function(success, 0, 255),
        "failure": Function(failed, 0, 255),
        "always": Function(lambda _: True),
        "cancelled": Function(lambda _: cancelled),
    }


def run_group(workflow: Workflow, facts: RunFacts) -> dict[str, Plain] | None:
    """The concurrency group of a run, {"group", "cancel_in_progress", "queue"}, or None; raises InvalidWorkflow."""
    return _group(workflow.concurrency, Scope(facts.contexts()))


def _group(node: Node | None, scope: Scope) -> dict[str, Plain] | None:
    if node is None:
        return None
    value = evaluate_node(node, scope)
    settings: Mapping[str, Value] = value if isinstance(value, Mapping) else {"group": value}
    name = to_string(settings.get("group"))
    if not name:
        return None
    if len(name) > MAX_GROUP:
        raise failure(node.place, "concurrency-group", f"The concurrency group has {len(name)} characters")
    cancel, queue = settings.get("cancel-in-progress", False), to_string(settings.get("queue", "single"))
    if not isinstance(cancel, bool):
        raise failure(node.place, "unexpected-value", f"Unexpected value '{to_string(cancel)}' for cancel-in-progress")
    if queue not in ("single", "max"):
        raise failure(node.place, "unexpected-value", f"Unexpected value '{queue}' for queue")
    return {"group": name, "cancel_in_progress": cancel, "queue": queue}


def job_continue_on_error(
    workflow: Workflow,
    job_id: str,
    facts: RunFacts,
    needs: Mapping[str, Mapping[str, object]],
    matrix: Mapping[str, Value] | None = None,
) -> bool:
    """The value of a job's continue-on-error for one leg; raises InvalidWorkflow, KeyError."""
    job = workflow.job(job_id)
    return _continues(job, _scope(facts, needs, matrix))


def _scope(
    facts: RunFacts, needs: Mapping[str, Mapping[str, object]], matrix: Mapping[str, Value] | None = None
) -> Scope:
    return Scope({**facts.contexts(), "needs": needs_context(needs), "matrix": matrix, "strategy": None})


def _continues(job: Job, scope: Scope) -> bool:
    return job.continue_on_error is not None and evaluate_boolean(job.continue_on_error, scope)


def _strategy(job: Job, scope: Scope) -> Strategy:
    node = job.strategy
    if node is None:
        return Strategy()
    value = evaluate_node(node, scope)
    if not isinstance(value, Mapping):
        raise failure(node.place, "unexpected-value", "Expected a mapping for the strategy")
    fail_fast = value.get("fail-fast", True)
    parallel = value.get("max-parallel", 0)
    if not isinstance(fail_fast, bool):
        raise failure(node.place, "unexpected-value", f"Unexpected value '{to_string(fail_fast)}' for fail-fast")
    if isinstance(parallel, bool) or not isinstance(parallel, (int, float)) or not math.isfinite(parallel):
        raise failure(node.place, "unexpected-value", f"Unexpected value '{to_string(parallel)}' for max-parallel")
    return Strategy(fail_fast, min(max(int(parallel), 0), MAX_PARALLEL))


def _matrix_legs(job: Job, scope: Scope) -> list[tuple[Matrix | None, tuple[str, ...]]]:
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


def strategy_context(strategy: Strategy, index: int, total: int) -> dict[str, Value]:
    """The `strategy` context of one leg."""
    return {
        "fail-fast": strategy.fail_fast,
        "job-index": index,
        "job-total": total,
        "max-parallel": strategy.max_parallel or total,
    }


def _legs(job: Job, scope: Scope, strategy: Strategy) -> list[dict[str, Plain]]:
    made = _matrix_legs(job, scope)
    legs: list[dict[str, Plain]] = []
    for index, (matrix, segments) in enumerate(made):
        contexts = {
            **scope.contexts,
            "matrix": matrix,
            "strategy": strategy_context(strategy, index, len(made)),
        }
        leg = Scope(contexts)
        legs.append(
            {
                "name": _name(job, leg, segments),
                "matrix": plain(matrix),
                "labels": list(_labels(job.runs_on, leg)),
                "continue_on_error": _continues(job, leg),
                "concurrency": _group(job.concurrency, leg),
            }
        )
    return legs


def _name(job: Job, scope: Scope, segments: Sequence[str]) -> str:
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
