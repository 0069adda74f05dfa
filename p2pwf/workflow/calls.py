"""Reusable workflows: the file of a run and the files that it calls, laid out as one set of jobs. No I/O, no clock.

A job `call` that calls a file with jobs `a` and `b` becomes `call/a`, `call/b` and, last, `call` itself, which runs
nothing and gives the outputs. With a matrix the called jobs are `call (x)/a`, and so on. A called job needs what its
own file says, and all that its callers need: so whoever runs it knows the outcomes that `with` and `secrets` use.
Source: GitHub's documentation of reusable workflows and the open runner's `ReusableWorkflowsLoader`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, cast

import attrs

from p2pwf.core.bodies import MAX_JOBS, MAX_NAME
from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow.callrules import (
    CALL,
    INHERIT,
    default_of,
    depends_on_outcomes,
    entries,
    in_order,
    no_group,
    secret_specs,
    typed,
    wrong_names,
)
from p2pwf.workflow.expr import Value, fold
from p2pwf.workflow.facts import RunFacts
from p2pwf.workflow.faults import Elsewhere, Faults
from p2pwf.workflow.legs import (
    Plain,
    Strategy,
    evaluate_group,
    evaluate_strategy,
    leg_scopes,
    shown_name,
    strategy_context,
)
from p2pwf.workflow.matrix import leg_name
from p2pwf.workflow.model import Job, Workflow
from p2pwf.workflow.nodes import MappingNode, Node, Scalar
from p2pwf.workflow.parsing import parse
from p2pwf.workflow.templates import Scope, evaluate_string, expressions_in, failure

MAX_LEVELS: Final = 10
"""Files that may call each other in a row, the run's own among them: GitHub's bound."""
MAX_CALLED: Final = 50
"""Files that one run may call: GitHub's bound."""

Needs = Mapping[str, Mapping[str, object]]
"""Of each job {"result": …, "outputs": {name: value}}, by its id in the plan."""


@attrs.frozen(slots=True, eq=False)
class Frame:
    """One use of a file: the run's own, or for one leg of a job that calls it.

    `key`: what `called` has it under, empty for the run's own. `prefix` goes before the ids of its jobs. `needs`: what
    all of them need for the sake of the callers. `open_inputs`: inputs, folded, that depend on outcomes.
    """

    workflow: Workflow
    key: str = ""
    prefix: str = ""
    parent: Frame | None = None
    caller: Job | None = None
    matrix: Mapping[str, Value] | None = None
    segments: tuple[str, ...] = ()
    strategy: Strategy = attrs.field(factory=Strategy)
    index: int = 0
    total: int = 1
    needs: tuple[str, ...] = ()
    open_inputs: frozenset[str] = frozenset()
    open_name: bool = False

    @property
    def chain(self) -> tuple[str, ...]:
        """The keys of the files from the run's own to this one."""
        return (self.key,) if self.parent is None else (*self.parent.chain, self.key)

    def id_of(self, job: str) -> str:
        """The id in the plan of one of its jobs."""
        return self.prefix + job


@attrs.frozen(slots=True, eq=False)
class Planned:
    """A job of the plan. `calls`: for a job that calls a file, one frame for each leg; else empty."""

    id: str
    frame: Frame
    job: Job
    calls: tuple[Frame, ...] = ()

    @property
    def needs(self) -> list[str]:
        """The ids of the jobs that it waits for, each once: of a call also what it called."""
        inner = [frame.id_of(job.id) for frame in self.calls for job in frame.workflow.jobs]
        own = [self.frame.id_of(need) for need in self.job.needs]
        return list(dict.fromkeys([*inner, *self.frame.needs, *own]))


def called_key(uses: str, inside: str = "") -> str:
    """What the file that a job calls is known by: its path in the source, or `owner/repo/path@ref`.

    `inside` is the key of the calling file: a path in a file of another repository is one of that repository.
    """
    if not uses.startswith("./"):
        return uses
    path = uses.removeprefix("./")
    if "@" not in inside:
        return path
    name, _, ref = inside.partition("@")
    owner, repository, *_ = name.split("/")
    return f"{owner}/{repository}/{path}@{ref}"


def calls_of(workflow: Workflow, key: str = "") -> list[tuple[Job, str]]:
    """The jobs of a file that call others, and the keys of what they call."""
    return [(job, called_key(job.uses, key)) for job in workflow.jobs if job.uses is not None]


class Layout:
    """The jobs of a run, `jobs` by id in the order of the plan, and the `files` that it calls, by key.

    `called`: the texts of these files; others do no harm.

    Raises InvalidWorkflow for files that are not there or do not check, calls that they do not take, and what is out
    of bounds: with all that is wrong, each at its place in the run's own file.
    """

    def __init__(self, workflow: Workflow, facts: RunFacts, called: Mapping[str, str] | None = None) -> None:
        self.facts = facts = attrs.evolve(facts, inputs=in_order(workflow, facts.inputs))
        self._github = facts.github()
        # What is laid out must come out the same for whoever submits and whoever runs it: the run's id is not known
        # to the one and the attempt not to the other.
        self._fixed = attrs.evolve(facts, run_id="0", run_number=1, attempt=1).github()
        self._called = called or {}
        self.files: dict[str, Workflow] = {}
        self.jobs: dict[str, Planned] = {}
        self.root = Frame(workflow)
        self._faults = Faults()
        self._lay_out(self.root)
        self._faults.settle()

    # -- laying out ---------------------------------------------------------------------------------------------

    def _lay_out(self, frame: Frame) -> None:
        for job in frame.workflow.jobs:
            calls: tuple[Frame, ...] = ()
            if job.uses is not None:
                with self._faults.gather(), located(frame):
                    calls = tuple(self._call(frame, job, job.uses))
                for inner in calls:
                    self._lay_out(inner)
            self._add(Planned(frame.id_of(job.id), frame, job, calls))

    def _add(self, planned: Planned) -> None:
        with located(planned.frame):
            if len(planned.id) > MAX_NAME:
                message = f"The id of the called job is too long: '{planned.id[:60]}…'"
                raise failure(planned.job.place, "too-many", message, f"with its callers' ids at most {MAX_NAME}")
            if len(self.jobs) >= MAX_JOBS:
                message = f"The workflow has more than {MAX_JOBS} jobs, with those of the workflows that it calls"
                raise failure(planned.job.place, "too-many", message)
        self.jobs[planned.id] = planned

    def _call(self, frame: Frame, job: Job, uses: str) -> Iterator[Frame]:
        key = called_key(uses, frame.key)
        if key in frame.chain or key == self.facts.workflow_path:
            raise failure(job.place, "call-cycle", f"The workflow '{key}' calls itself, directly or not")
        if len(frame.chain) >= MAX_LEVELS:
            message = f"Nested reusable workflow depth exceeded {MAX_LEVELS}."
            raise failure(job.place, "call-depth", message, f"at most {MAX_LEVELS} workflows in a row")
        workflow = self._file(job, key)
        trigger = workflow.trigger(CALL)
        if trigger is None:
            message = f"{CALL} key is not defined in the referenced workflow '{key}'."
            raise failure(job.place, "call", message, f"add `on: {CALL}` to it")
        faults = Faults()
        for wrong in wrong_names(job, trigger.inputs, secret_specs(workflow)):
            faults.add(wrong)
        if self.is_open(job.strategy, frame):
            message = f"The matrix of the job '{job.id}', which calls a workflow, depends on the outputs of other jobs"
            hint = (
                "let it depend on the event, inputs and vars only, or give the jobs of the called workflow the matrix"
            )
            raise failure((job.strategy or job).place, "call-matrix", message, hint)
        given = {fold(name.text): value for name, value in entries(job.with_)}
        sources = {fold(spec.name): given.get(fold(spec.name), spec.default) for spec in trigger.inputs}
        open_inputs = frozenset(name for name, value in sources.items() if self.is_open(value, frame))
        scope = self._scope(frame, job, {}, self._fixed)
        strategy = evaluate_strategy(job, scope)
        made = leg_scopes(job, scope, strategy)
        taken: dict[str, int] = {}
        for index, (matrix, segments, _) in enumerate(made):
            name = leg_name(job.id, segments)
            number = taken[name] = taken.get(name, 0) + 1
            inner = Frame(
                workflow=workflow,
                key=key,
                prefix=frame.id_of(name if number == 1 else f"{name} #{number}") + "/",
                parent=frame,
                caller=job,
                matrix=matrix,
                segments=segments,
                strategy=strategy,
                index=index,
                total=len(made),
                needs=tuple(dict.fromkeys((*frame.needs, *(frame.id_of(need) for need in job.needs)))),
                open_inputs=open_inputs,
                open_name=frame.open_name or self.is_open(job.name, frame),
            )
            with faults.gather():
                self._inputs(inner, {}, self._fixed)  # those that can be known now are checked now
            yield inner
        faults.settle()

    def _file(self, job: Job, key: str) -> Workflow:
        workflow = self.files.get(key)
        if workflow is None:
            text = self._called.get(key)
            if text is None:
                message = f"The job '{job.id}' calls '{key}', which is not there"
                where = "that repository has at that ref" if "@" in key else "the source has"
                raise failure(job.place, "call", message, f"is the path right, and the file one that {where}?")
            if len(self.files) >= MAX_CALLED:
                raise failure(job.place, "too-many", f"The workflow calls more than {MAX_CALLED} other workflows")
            try:
                workflow = self.files[key] = parse(text, key).require()
            except InvalidWorkflow as error:
                raise Elsewhere.of(error, key, job.place) from error
        return workflow

    # -- what is known when -------------------------------------------------------------------------------------

    def is_open(self, node: Node | None, frame: Frame) -> bool:
        """Whether a part of a file has its value only once other jobs have finished."""
        return any(depends_on_outcomes(tree, frame.open_inputs) for tree in expressions_in(node))

    def scope(self, frame: Frame, job: Job, needs: Needs) -> Scope:
        """The contexts of a job, without those of its legs, as far as outcomes are known. Raises InvalidWorkflow."""
        return self._scope(frame, job, needs, self._github)

    def _scope(self, frame: Frame, job: Job, needs: Needs, github: Mapping[str, Value]) -> Scope:
        contexts = self._contexts(frame, needs, github)
        plain = frame.parent is None and job.uses is None  # then it is given just what it needs
        own = needs if plain else {str(need): needs.get(frame.id_of(need), {}) for need in job.needs}
        return Scope({**contexts, "needs": needs_context(own), "matrix": None, "strategy": None})

    def contexts(self, frame: Frame, needs: Needs) -> dict[str, Value]:
        """github, inputs and vars in a file. Raises InvalidWorkflow where an input is not what the file takes."""
        return self._contexts(frame, needs, self._github)

    def _contexts(self, frame: Frame, needs: Needs, github: Mapping[str, Value]) -> dict[str, Value]:
        return {"github": github, "inputs": self._inputs(frame, needs, github), "vars": self.facts.vars}

    def _caller(self, frame: Frame, needs: Needs, github: Mapping[str, Value]) -> tuple[Frame, Job, Scope]:
        """The frame, the job and the scope of one leg of the call that a frame is for."""
        parent, job = cast(Frame, frame.parent), cast(Job, frame.caller)
        scope = self._scope(parent, job, needs, github)
        leg = {"matrix": frame.matrix, "strategy": strategy_context(frame.strategy, frame.index, frame.total)}
        return parent, job, Scope({**scope.contexts, **leg}, scope.functions)

    def _inputs(self, frame: Frame, needs: Needs, github: Mapping[str, Value]) -> Mapping[str, Value]:
        """The `inputs` context: the run's, or typed by what the file declares. Without needs, open ones are null."""
        if frame.parent is None:
            return self.facts.inputs
        parent, job, scope = self._caller(frame, needs, github)
        trigger = frame.workflow.trigger(CALL)
        given = {fold(name.text): value for name, value in entries(job.with_)}
        inputs: dict[str, Value] = {}
        faults = Faults()
        for spec in trigger.inputs if trigger else ():
            value = given.get(fold(spec.name))
            if fold(spec.name) in frame.open_inputs and not needs:
                inputs[spec.name] = None
            elif isinstance(value, Scalar):
                with faults.gather(), located(parent):
                    inputs[spec.name] = typed(spec, value, scope)
            else:
                with faults.gather(), located(frame):
                    inputs[spec.name] = default_of(spec, scope)
        faults.settle()
        return inputs

    def secrets(self, frame: Frame, needs: Needs, secrets: Mapping[str, str]) -> dict[str, str]:
        """The secrets that a file may use, of those of the run; raises InvalidWorkflow."""
        if frame.parent is None:
            return dict(secrets)
        parent, job, scope = self._caller(frame, needs, self._github)
        above = self.secrets(parent, needs, secrets)
        if isinstance(job.secrets, Scalar) and job.secrets.text == INHERIT:
            return above
        known = Scope({**scope.contexts, "secrets": above})
        declared = {fold(name): name for name in secret_specs(frame.workflow)}
        with located(parent):
            return {
                declared.get(fold(name.text), name.text): evaluate_string(value, known)
                for name, value in entries(job.secrets)
                if isinstance(value, Scalar)
            }

    def group(self, calls: tuple[Frame, ...]) -> dict[str, Plain] | None:
        """The concurrency group that a whole call is in: the caller's, or the called file's own.

        Raises InvalidWorkflow for what a plan cannot say: both, one for each leg, or one that depends on outcomes.
        """
        parent, job, _ = self._caller(calls[0], {}, self._github)
        node, inner = job.concurrency, calls[0].workflow.concurrency
        if node is None and inner is None:
            return None
        if node is not None and inner is not None:
            raise no_group(job, "a concurrency group, and the workflow that it calls has one as well", node)
        if self.is_open(node, parent) or self.is_open(inner, calls[0]):
            raise no_group(job, "a concurrency group that depends on the outputs of other jobs", node)
        groups = []
        for frame in calls:
            scope = self._caller(frame, {}, self._github)[2]
            if inner is not None:
                scope = Scope(self.contexts(frame, {}))
            with located(parent if inner is None else frame):
                groups.append(evaluate_group(node if inner is None else inner, scope))
        if any(group != groups[0] for group in groups):
            raise no_group(job, "a concurrency group of its own for each leg of its matrix", node)
        return groups[0]

    def above(self, frame: Frame, needs: Needs) -> str:
        """What stands before the names of a file's jobs: `Caller (a) / `; raises InvalidWorkflow."""
        if frame.parent is None:
            return ""
        parent, job, scope = self._caller(frame, needs, self._github)
        with located(parent):
            name = shown_name(job, scope, frame.segments)
        return f"{self.above(parent, needs)}{name} / "

    def outputs(self, frame: Frame, needs: Needs) -> dict[str, str]:
        """The outputs of a called file whose jobs have all ended; raises InvalidWorkflow."""
        jobs = {str(job.id): needs.get(frame.id_of(job.id), {}) for job in frame.workflow.jobs}
        scope = Scope({**self.contexts(frame, needs), "jobs": needs_context(jobs)})
        trigger = frame.workflow.trigger(CALL)
        declared = trigger.config.get("outputs") if trigger is not None and trigger.config is not None else None
        with located(frame):
            return {
                name.text: evaluate_string(value, scope)
                for name, spec in entries(declared)
                if isinstance(spec, MappingNode) and isinstance(value := spec.get("value"), Scalar)
            }


@contextmanager
def located(frame: Frame) -> Iterator[None]:
    """Let an error inside name the file, if it is not the run's own, and stand where that calls it."""
    try:
        yield
    except InvalidWorkflow as error:
        if frame.parent is None:
            raise
        top = frame
        while top.parent is not None and top.parent.parent is not None:
            top = top.parent
        raise Elsewhere.of(error, frame.key, cast(Job, top.caller).place) from error


def needs_context(needs: Needs) -> Value:
    """The `needs` context from results: {job: {"result": str, "outputs": {name: str}}}."""
    context: dict[str, Value] = {}
    for job, outcome in needs.items():
        outputs = outcome.get("outputs")
        given = {str(k): str(v) for k, v in outputs.items()} if isinstance(outputs, Mapping) else {}
        context[job] = {"result": str(outcome.get("result", "")), "outputs": given}
    return context
