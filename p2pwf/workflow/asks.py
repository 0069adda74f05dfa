"""Which secrets and variables a file names: read from its expressions, before any of them is evaluated. No I/O.

`secrets.NAME` and `secrets['NAME']` name one; `toJSON(secrets)`, `secrets.*` and `secrets[matrix.x]` name all there
are. A job of a called file names what its callers hand on to that file, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import attrs

from p2pwf.workflow.callrules import INHERIT
from p2pwf.workflow.calls import Frame, Needs, located
from p2pwf.workflow.diagnostics import Diagnostic
from p2pwf.workflow.expr import Part, Value, fold, has_expression, parse, split
from p2pwf.workflow.expr.tree import Constant, Index, Name, Node, children
from p2pwf.workflow.legs import strategy_context
from p2pwf.workflow.model import Condition, Job
from p2pwf.workflow.nodes import MappingNode, Scalar, SequenceNode
from p2pwf.workflow.plan import Flow
from p2pwf.workflow.templates import Scope, evaluate_string, expressions_in

SECRETS: Final = "secrets"
VARS: Final = "vars"
DEBUG: Final = "ACTIONS_STEP_DEBUG"
"""A variable that a run reads although no file names it: it makes steps tell more."""

OF_THE_RUNNER: Final = "GITHUB_"
"""What the names of secrets begin with that nobody sets."""

Names = frozenset[str] | None
"""Names in upper case, or None: all that there are."""


def secrets_of(flow: Flow, job_id: str) -> tuple[Names, Names]:
    """Of a job the secrets of the run that it, or a caller on its way, names; and those that its own file names.

    Raises KeyError for an unknown job.
    """
    planned = flow.job(job_id)
    own = names_in((planned.frame.workflow.env, planned.job), SECRETS)
    return _of_the_run(planned.frame, own), own


def _of_the_run(frame: Frame, names: Names) -> Names:
    if frame.parent is None or frame.caller is None:
        return names
    given = frame.caller.secrets
    if isinstance(given, Scalar) and given.text == INHERIT:
        return _of_the_run(frame.parent, names)
    return _of_the_run(frame.parent, names_in((given,), SECRETS))  # all of them are evaluated, named here or not


def unset_secrets(flow: Flow, known: Collection[tuple[str | None, str]]) -> list[Diagnostic]:
    """A warning for each secret that a run will find empty: named in its files, and not among the `known` ones.

    `known`: (environment or None, name) of each that is set. Which environment a job runs in may take its needs to
    tell, so for a job that names one those of every environment count. GITHUB_TOKEN and its like are no settings.
    """
    everywhere = {name for environment, name in known if environment is None}
    anywhere = {name for _, name in known}
    told: dict[str, Diagnostic] = {}
    for job_id, planned in flow.layout.jobs.items():
        names, _ = secrets_of(flow, job_id)
        there = everywhere if planned.job.environment is None else anywhere
        place = _place_in_the_run(planned.frame, planned.job).place
        for name in sorted((names or frozenset()) - there):
            if name.startswith(OF_THE_RUNNER):
                continue
            if name in anywhere:
                message = f"the secret {name} is set for an environment, and the job {job_id!r} names none"
                hint = "give the job that `environment`, or set the secret without --environment"
            else:
                message = f"the secret {name}, which the job {job_id!r} names, is not set: it will be empty"
                hint = f"p2pwf secret set {name}"
            told.setdefault(name, Diagnostic(place.line, place.column, "warning", "secret-not-set", message, hint))
    return list(told.values())


def _place_in_the_run(frame: Frame, job: Job) -> Job:
    """The job of the run's own file that a job is, or that calls it."""
    if frame.parent is None or frame.caller is None:
        return job
    return _place_in_the_run(frame.parent, frame.caller)


def variables_of(flow: Flow) -> Names:
    """The variables that the file of a run, or one that it calls, names."""
    found = names_in((flow.layout.root.workflow, *flow.layout.files.values()), VARS)
    return None if found is None else found | {DEBUG}


def has_containers(flow: Flow, job_id: str) -> bool:
    """Whether a job brings a container or services of its own; raises KeyError for an unknown job."""
    job = flow.job(job_id).job
    return job.container is not None or job.services is not None


@attrs.frozen(slots=True)
class LegOf:
    """One leg of a job: its number of how many, and its matrix."""

    index: int = 0
    total: int = 1
    matrix: Mapping[str, Value] | None = None


def environment_of(flow: Flow, job_id: str, needs: Needs, leg: LegOf) -> str:
    """The name of the environment that one leg of a job runs in, in lower case; empty for none.

    `needs`: the outcomes of all jobs that it needs. Raises KeyError, and InvalidWorkflow where it cannot be evaluated.
    """
    planned = flow.job(job_id)
    node = planned.job.environment
    name = node.get("name") if isinstance(node, MappingNode) else node
    if not isinstance(name, Scalar):
        return ""
    scope = flow.layout.scope(planned.frame, planned.job, needs)
    strategy = strategy_context(flow.strategy(job_id, needs), leg.index, leg.total)
    with located(planned.frame):
        text = evaluate_string(name, Scope({**scope.contexts, "matrix": leg.matrix, "strategy": strategy}))
    return text.strip().lower()


# -- reading --------------------------------------------------------------------------------------------------------


def names_in(parts: Iterable[object], context: str) -> Names:
    """The keys of a context that the expressions in parts of a checked file name."""
    found: set[str] = set()
    for part in parts:
        for tree in _trees(part):
            for name in _keys(tree, fold(context)):
                if name is None:
                    return None
                found.add(fold(name))
    return frozenset(found)


def _trees(part: object) -> Iterator[Node]:
    """The trees of all expressions in nodes, conditions, and whatever has these in it."""
    if isinstance(part, (Scalar, MappingNode, SequenceNode)):
        yield from expressions_in(part)
    elif isinstance(part, Condition):
        yield from _in_condition(part)
    elif isinstance(part, tuple):
        for one in part:
            yield from _trees(one)
    elif attrs.has(kind := type(part)):
        for field in attrs.fields(kind):
            yield from _trees(getattr(part, field.name))


def _in_condition(condition: Condition) -> Iterator[Node]:
    if not condition.templated:
        tree = parse(condition.source)
        if tree is not None:
            yield tree
    elif has_expression(condition.source):
        for segment in split(condition.source):
            tree = parse(segment.source) if isinstance(segment, Part) else None
            if tree is not None:
                yield tree


def _keys(tree: Node, context: str) -> Iterator[str | None]:
    """The keys that a tree asks of a context; None for one that is not written out."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, Name):
            if node.key == context:
                yield None
        elif isinstance(node, Index) and isinstance(node.target, Name) and node.target.key == context:
            key = node.key.value if isinstance(node.key, Constant) else None
            yield key if isinstance(key, str) else None
            stack.append(node.key)
        else:
            stack.extend(children(node))
