"""Names that expressions use and that lead nowhere: an unknown need, step, input or matrix key. All are warnings.

GitHub takes such a name as null and goes on; it is nearly always a slip of the pen. Knows nodes and trees.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

import attrs

from p2pwf.workflow.build import build_triggers
from p2pwf.workflow.diagnostics import Findings, Place
from p2pwf.workflow.expr import fold, has_expression
from p2pwf.workflow.expr.parser import Constant, Index, Name
from p2pwf.workflow.expr.parser import Node as Tree
from p2pwf.workflow.expr.parser import walk as walk_tree
from p2pwf.workflow.model import Workflow
from p2pwf.workflow.nodes import MappingNode, Node, Scalar, SequenceNode
from p2pwf.workflow.tags import words_of


@attrs.frozen(slots=True)
class JobNames:
    """The names of one job, folded; None where they cannot be known from the file."""

    needs: AbstractSet[str]
    steps: Mapping[str, int]
    """Step ids and the number of the step that has each, from 0."""
    matrix: AbstractSet[str] | None


@attrs.frozen(slots=True)
class Names:
    """The names of a file, folded."""

    inputs: AbstractSet[str] | None
    jobs: Mapping[str, JobNames]

    @classmethod
    def of(cls, root: MappingNode) -> Names:
        """The names that a tree defines."""
        triggers = list(build_triggers(root.get("on"), tagged=False))
        # Other events have no inputs, but a workflow that declares none may still be told of one by nobody.
        inputs = {fold(spec.name) for trigger in triggers for spec in trigger.inputs}
        jobs = root.get("jobs")
        entries = jobs.entries if isinstance(jobs, MappingNode) else ()
        return cls(
            inputs or None,
            {key.text: _job_names(job) for key, job in entries if isinstance(job, MappingNode)},
        )


def _job_names(job: MappingNode) -> JobNames:
    steps: dict[str, int] = {}
    sequence = job.get("steps")
    for number, step in enumerate(sequence.items if isinstance(sequence, SequenceNode) else ()):
        inner = step.get("parallel") if isinstance(step, MappingNode) else None
        for body in (step, *(inner.items if isinstance(inner, SequenceNode) else ())):
            given = body.get("id") if isinstance(body, MappingNode) else None
            if isinstance(given, Scalar) and given.text:
                steps.setdefault(fold(given.text), number)
    return JobNames({fold(need) for need in words_of(job.get("needs"))}, steps, _matrix_keys(job.get("strategy")))


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


@attrs.frozen(slots=True)
class Use:
    """One expression of a file: its tree, its scalar, where in the scalar it starts, and the path of keys there."""

    tree: Tree
    node: Scalar
    offset: int
    path: tuple[str, ...]


def check_references(use: Use, names: Names, findings: Findings) -> None:
    """Warn of every name in one expression that leads nowhere."""
    path = use.path
    job = names.jobs.get(path[1]) if len(path) > 1 and path[0] == "jobs" else None
    step = int(path[3]) if job is not None and len(path) > 3 and path[2] == "steps" and path[3].isdigit() else None
    for part in walk_tree(use.tree):
        if not isinstance(part, Index) or not isinstance(part.target, Name) or not isinstance(part.key, Constant):
            continue
        key = part.key.value
        if not isinstance(key, str):
            continue
        message, known = _judge(part.target.key, key, job, step, names)
        if message:
            close = difflib.get_close_matches(fold(key)[:64], sorted(known), 1, 0.6)
            hint = f"did you mean '{close[0].lower()}'?" if close else None
            findings.warning(use.node.place_of(use.offset + part.key.offset), "unknown-name", message, hint)


def _judge(
    context: str, key: str, job: JobNames | None, step: int | None, names: Names
) -> tuple[str, AbstractSet[str]]:
    name = fold(key)
    nothing: tuple[str, AbstractSet[str]] = ("", frozenset())
    if context == "INPUTS" and names.inputs is not None and name not in names.inputs:
        return f"The workflow declares no input '{key}'", names.inputs
    if job is None:
        return nothing
    if context == "NEEDS" and name not in job.needs:
        return f"The job does not need '{key}', so needs.{key} is always null", job.needs
    if context == "MATRIX" and job.matrix is not None and name not in job.matrix:
        return f"The matrix has no key '{key}'", job.matrix
    if context == "STEPS":
        if name not in job.steps:
            return f"No step of the job has the id '{key}'", job.steps.keys()
        if step is not None and job.steps[name] >= step:
            return f"The step '{key}' has not run yet when this is evaluated", frozenset()
    return nothing


def local_uses(workflow: Workflow) -> Iterator[tuple[Place, str, bool]]:
    """What a workflow uses from its own source: where, the path without `./`, and whether it is an action."""
    for job in workflow.jobs:
        if job.uses is not None and job.uses.startswith("./"):
            yield job.place, job.uses[2:], False
        for step in job.steps:
            for one in (step, *step.steps):
                if one.uses is not None and one.uses.startswith(("./", ".\\")):
                    yield one.place, one.uses[2:].replace("\\", "/").rstrip("/"), True
