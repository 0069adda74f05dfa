"""Names that expressions use and that lead nowhere: an unknown need, step, input or matrix key. All are warnings.

GitHub takes such a name as null and goes on; it is nearly always a slip of the pen. Knows nodes and trees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import attrs

from p2pwf.workflow.build import configured_triggers
from p2pwf.workflow.diagnostics import Findings, Place
from p2pwf.workflow.expr import fold, has_expression
from p2pwf.workflow.expr.tree import Parsed, way_of
from p2pwf.workflow.model import Workflow
from p2pwf.workflow.nodes import Inside, MappingNode, Node, Scalar, SequenceNode
from p2pwf.workflow.tags import words_of

MAX_COMPARED: Final = 200
"""Names that one is compared with to tell which was meant."""


_GITHUB: Final = (
    "action action_path action_ref action_repository action_status actor actor_id api_url base_ref env event "
    "event_name event_path graphql_url head_ref job output path ref ref_name ref_protected ref_type repository "
    "repository_id repository_owner repository_owner_id repositoryUrl repository_visibility retention_days "
    "run_attempt run_id run_number secret_source server_url sha state step_summary token triggering_actor "
    "workflow workflow_ref workflow_sha workspace"
)
_JOB: Final = "check_run_id container services status workflow_file_path workflow_ref workflow_repository workflow_sha"
FIXED: Final[Mapping[str, tuple[str, ...]]] = {
    "GITHUB": tuple(_GITHUB.split()),
    "JOB": tuple(_JOB.split()),
    "RUNNER": ("name", "os", "arch", "temp", "tool_cache", "debug", "environment", "workspace"),
    "STRATEGY": ("fail-fast", "job-index", "job-total", "max-parallel"),
}
"""The keys of contexts that are the same for every workflow."""
_FIXED_FOLDED: Final = {context: frozenset(map(fold, known)) for context, known in FIXED.items()}
_OF_STEP: Final = ("outputs", "outcome", "conclusion")
_OF_NEED: Final = ("outputs", "result")


@attrs.frozen(slots=True)
class JobNames:
    """The names of one job, folded; None where they cannot be known from the file."""

    needs: AbstractSet[str]
    steps: Mapping[str, int]
    """Step ids and the number of the step that has each, from 0."""
    matrix: AbstractSet[str] | None
    outputs: AbstractSet[str] | None


@attrs.frozen(slots=True)
class Names:
    """The names of a file, folded, and the types of its inputs."""

    inputs: Mapping[str, AbstractSet[str]] | None
    jobs: Mapping[str, JobNames]
    folded: Mapping[str, JobNames]

    @classmethod
    def of(cls, root: MappingNode) -> Names:
        """The names that a tree defines."""
        # Other events have no inputs, but a workflow that declares none may still be told of one by nobody.
        inputs: dict[str, set[str]] = {}
        for trigger in configured_triggers(root.get("on")):
            for spec in trigger.inputs:
                inputs.setdefault(fold(spec.name), set()).add(spec.type)
        jobs = root.get("jobs")
        entries = jobs.entries if isinstance(jobs, MappingNode) else ()
        names = {key.text: _job_names(job) for key, job in entries if isinstance(job, MappingNode)}
        return cls(inputs or None, names, {fold(name): job for name, job in names.items()})


def _job_names(job: MappingNode) -> JobNames:
    steps: dict[str, int] = {}
    sequence = job.get("steps")
    for number, step in enumerate(sequence.items if isinstance(sequence, SequenceNode) else ()):
        inner = step.get("parallel") if isinstance(step, MappingNode) else None
        for body in (step, *(inner.items if isinstance(inner, SequenceNode) else ())):
            given = body.get("id") if isinstance(body, MappingNode) else None
            if isinstance(given, Scalar) and given.text:
                steps.setdefault(fold(given.text), number)
    needs = {fold(need) for need in words_of(job.get("needs"))}
    return JobNames(needs, steps, _matrix_keys(job.get("strategy")), _outputs(job))


def _outputs(job: MappingNode) -> AbstractSet[str] | None:
    if job.get("uses") is not None:
        return None
    outputs = job.get("outputs")
    if outputs is None:
        return frozenset()
    if not isinstance(outputs, MappingNode) or any(has_expression(key.text) for key, _ in outputs.entries):
        return None
    return {fold(key.text) for key, _ in outputs.entries}


def _matrix_keys(strategy: Node | None) -> AbstractSet[str] | None:
    if strategy is None:
        return frozenset()
    matrix = strategy.get("matrix") if isinstance(strategy, MappingNode) else None
    if not isinstance(matrix, MappingNode):
        return None
    keys: set[str] = set()
    for key, value in matrix.entries:
        if has_expression(key.text):
            return None
        if key.text == "exclude":
            continue
        if key.text != "include":
            keys.add(fold(key.text))
            continue
        if not isinstance(value, SequenceNode):
            return None
        for entry in value.items:
            if not isinstance(entry, MappingNode) or any(has_expression(name.text) for name, _ in entry.entries):
                return None
            keys.update(fold(name.text) for name, _ in entry.entries)
    return keys


@attrs.define(slots=True)  # never changed, and made in great number
class Use:
    """One expression of a file: what it is, its scalar, where in the scalar it starts, and the path of keys there."""

    expression: Parsed
    node: Scalar
    offset: int
    path: tuple[str, ...]


def check_references(use: Use, names: Names, findings: Findings) -> None:
    """Warn of every name in one expression that leads nowhere."""
    path = use.path
    job = names.jobs.get(path[1]) if len(path) > 1 and path[0] == "jobs" else None
    step = int(path[3]) if job is not None and len(path) > 3 and path[2] == "steps" and path[3].isdigit() else None
    for chain in use.expression.chains:
        name, keys = way_of(chain)
        if name is None or keys[0][0] is None:
            continue
        fault = _judge(name.key, [key for key, _ in keys], job, step, names)
        if fault is None:
            continue
        hint = None
        if not findings.full and fault.known:
            import difflib  # noqa: PLC0415 - only for what is wrong

            spelled = {fold(known): known for known in sorted(fault.known)[:MAX_COMPARED]}
            wrong = keys[fault.place][0] or ""
            close = difflib.get_close_matches(fold(wrong)[:64], spelled, 1, 0.6)
            shown = spelled[close[0]] if close else ""
            hint = f"did you mean '{shown.lower() if shown.isupper() else shown}'?" if close else None
        findings.warning(Inside(use.node, use.offset + keys[fault.place][1]), "unknown-name", fault.message, hint)


@attrs.frozen(slots=True)
class _Fault:
    """What is wrong with a way, at which of its keys, and the names that there are."""

    message: str
    place: int = 0
    known: AbstractSet[str] = frozenset()


def _judge(
    context: str, keys: Sequence[str | None], job: JobNames | None, step: int | None, names: Names
) -> _Fault | None:
    key = keys[0] or ""
    name = fold(key)
    known = _FIXED_FOLDED.get(context)
    if known is not None and name not in known:
        return _Fault(f"The context {context.lower()} has no '{key}'", 0, frozenset(FIXED[context]))
    if context == "INPUTS" and names.inputs is not None and name not in names.inputs:
        return _Fault(f"The workflow declares no input '{key}'", 0, names.inputs.keys())
    if context == "JOBS" and names.jobs:
        if name not in names.folded:
            return _Fault(f"The workflow has no job '{key}'", 0, frozenset(names.jobs))
        return _judge_outcome(keys, "jobs", names.folded[name])
    if job is None:
        return None
    if context == "NEEDS":
        if name not in job.needs:
            return _Fault(f"The job does not need '{key}', so needs.{key} is always null", 0, job.needs)
        return _judge_outcome(keys, "needs", names.folded.get(name))
    if context == "MATRIX" and job.matrix is not None and name not in job.matrix:
        return _Fault(f"The matrix has no key '{key}'", 0, job.matrix)
    if context == "STEPS":
        if name not in job.steps:
            return _Fault(f"No step of the job has the id '{key}'", 0, job.steps.keys())
        if step is not None and job.steps[name] >= step:
            return _Fault(f"The step '{key}' has not run yet when this is evaluated")
        if len(keys) > 1 and keys[1] is not None and fold(keys[1]) not in map(fold, _OF_STEP):
            return _Fault(f"A step has no '{keys[1]}': it has {', '.join(_OF_STEP)}", 1, frozenset(_OF_STEP))
    return None


def _judge_outcome(keys: Sequence[str | None], context: str, of: JobNames | None) -> _Fault | None:
    """What follows `needs.x` and `jobs.x`: its result, or an output that the job declares."""
    if len(keys) < 2 or keys[1] is None:
        return None
    if fold(keys[1]) not in map(fold, _OF_NEED):
        message = f"{context}.{keys[0]} has no '{keys[1]}': it has {', '.join(_OF_NEED)}"
        return _Fault(message, 1, frozenset(_OF_NEED))
    output = keys[2] if len(keys) > 2 and fold(keys[1]) == "OUTPUTS" else None
    if output is not None and of is not None and of.outputs is not None and fold(output) not in of.outputs:
        return _Fault(f"The job '{keys[0]}' declares no output '{output}'", 2, of.outputs)
    return None


def local_uses(workflow: Workflow) -> Iterator[tuple[Place, str, bool]]:
    """What a workflow uses from its own source: where, the path without `./`, and whether it is an action."""
    for job in workflow.jobs:
        if job.uses is not None and job.uses.startswith("./"):
            yield job.place, job.uses[2:], False
        for step in job.steps:
            for one in (step, *step.steps):
                if one.uses is not None and one.uses.startswith(("./", ".\\")):
                    yield one.place, one.uses[2:].replace("\\", "/").rstrip("/"), True
