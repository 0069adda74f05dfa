"""The plan of a run as plain data, and the decisions that need the results of other jobs. No I/O, no clock.

A plan is made once, by the submitter, of DAG-CBOR types only (whole numbers as int), and read by folds that know
nothing of workflows. What depends on `needs` is left open there (`legs` is None) and decided later by `expand_job`.
Whether a job runs is decided by `should_run`, by GitHub's rules: the implicit success() looks at all ancestors; a job
of a called workflow looks at those of its own file, and its callers' conditions have to hold as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from p2pwf.workflow.calls import Frame, Layout, Needs, Planned, located, needs_context
from p2pwf.workflow.expr import Function, Value, fold, to_string
from p2pwf.workflow.facts import RunFacts
from p2pwf.workflow.legs import (
    Plain,
    Strategy,
    evaluate_group,
    evaluate_legs,
    evaluate_strategy,
    job_continues,
    shown_name,
)
from p2pwf.workflow.model import Job, Workflow
from p2pwf.workflow.nodes import MappingNode, Node
from p2pwf.workflow.templates import Scope, evaluate_condition, mentions

__all__ = ["Finish", "Flow", "Plain", "Strategy", "needs_context"]


@attrs.frozen(slots=True)
class Finish:
    """What came of a job that calls a workflow: its `conclusion`, the joint result of the called jobs, and outputs."""

    conclusion: str
    outputs: Mapping[str, str]


class Flow:
    """A run's workflow with what it calls, at given facts: its plan, and every decision about it.

    `called`: the texts of the called files by key, see `calls`. `needs` is everywhere {job id: {"result", "outputs"}}
    of the jobs that a job needs by the plan. All methods raise KeyError for an unknown job, and InvalidWorkflow, with
    the place, where an expression fails; making one raises InvalidWorkflow for calls that do not fit.
    """

    def __init__(self, workflow: Workflow, facts: RunFacts, called: Mapping[str, str] | None = None) -> None:
        self.layout = Layout(workflow, facts, called)

    def job(self, job_id: str) -> Planned:
        """The job of an id in the plan."""
        return self.layout.jobs[job_id]

    def plan(self) -> dict[str, Plain]:
        """The plan of the run: {"jobs": [...]} in declared order, called jobs before what calls them.

        Each job is {"id", "needs": [id], "legs": [leg] or None, "fail_fast": bool, "max_parallel": int, 0 for no
        bound}; each leg {"name", "matrix": map or None, "labels": [lower-cased], "continue_on_error": bool,
        "concurrency": {group, cancel_in_progress, queue} or None}. `legs` is None where they depend on `needs`.
        """
        jobs: list[Plain] = []
        for planned in self.layout.jobs.values():
            strategy = self._known_strategy(planned)
            jobs.append(
                {
                    "id": planned.id,
                    "needs": list[Plain](planned.needs),
                    "legs": self._known_legs(planned, strategy),
                    "fail_fast": strategy.fail_fast,
                    "max_parallel": strategy.max_parallel,
                }
            )
        return {"jobs": jobs}

    def _known_strategy(self, planned: Planned) -> Strategy:
        """fail-fast and max-parallel as far as they are known before any job has run."""
        if planned.calls or not self.has_known_strategy(planned.id):
            return Strategy()
        return self.strategy(planned.id, {})

    def has_known_strategy(self, job_id: str) -> bool:
        """Whether fail-fast and max-parallel depend on no other job."""
        planned = self.job(job_id)
        node = planned.job.strategy
        parts: Iterable[Node | None] = (node,)
        if isinstance(node, MappingNode):
            parts = [part for key, value in node.entries for part in (key, value) if key.text != "matrix"]
        return not any(self.layout.is_open(part, planned.frame) for part in parts)

    def _known_legs(self, planned: Planned, strategy: Strategy) -> Plain:
        if planned.calls:
            with located(planned.frame):
                group = self.layout.group(planned.calls)
            return [_call_leg(self._call_name(planned), group)]
        if self.is_dynamic(planned.id):
            return None
        return list[Plain](self._legs(planned, strategy, {}))

    def _call_name(self, planned: Planned) -> str:
        """The name of a call as a whole: what it is called without its matrix."""
        frame, job = planned.frame, planned.job
        if frame.open_name:
            return planned.id
        scope = self.layout.scope(frame, job, {})
        fixed = not self.layout.is_open(job.name, frame) and not mentions(job.name, "matrix")
        with located(frame):
            name = shown_name(job, scope, ()) if fixed else job.id
        return self.layout.above(frame, {}) + name

    def is_dynamic(self, job_id: str) -> bool:
        """Whether the legs of a job can be known only once its needs have finished."""
        planned = self.job(job_id)
        return planned.frame.open_name or any(
            self.layout.is_open(node, planned.frame) for node in parts_of_legs(planned.job)
        )

    def expand(self, job_id: str, needs: Needs) -> list[dict[str, Plain]]:
        """The legs of a job, in the form of a plan's, now that its needs are known."""
        planned = self.job(job_id)
        return self._legs(planned, self.strategy(job_id, needs), needs)

    def _legs(self, planned: Planned, strategy: Strategy, needs: Needs) -> list[dict[str, Plain]]:
        scope = self.layout.scope(planned.frame, planned.job, needs)
        above = self.layout.above(planned.frame, needs)
        with located(planned.frame):
            return evaluate_legs(planned.job, scope, strategy, above)

    def strategy(self, job_id: str, needs: Needs) -> Strategy:
        """fail-fast and max-parallel of a job, now that its needs are known."""
        planned = self.job(job_id)
        scope = self.layout.scope(planned.frame, planned.job, needs)
        with located(planned.frame):
            return evaluate_strategy(planned.job, scope)

    def continue_on_error(self, job_id: str, needs: Needs, matrix: Mapping[str, Value] | None = None) -> bool:
        """The value of a job's continue-on-error for one leg."""
        planned = self.job(job_id)
        scope = self.layout.scope(planned.frame, planned.job, needs)
        with located(planned.frame):
            return job_continues(planned.job, Scope({**scope.contexts, "matrix": matrix}))

    def should_run(self, job_id: str, needs: Needs, ancestors: Mapping[str, str], cancelled: bool) -> bool:
        """Whether a job whose needs have all ended is to run; False means that it is skipped.

        `ancestors`: the results of all jobs that it needs, directly or not, by id.
        """
        planned = self.job(job_id)
        pending: list[tuple[Frame, Job]] = [(planned.frame, planned.job)]
        frame = planned.frame
        while frame.parent is not None and frame.caller is not None:
            pending.append((frame.parent, frame.caller))
            frame = frame.parent
        return all(self._holds(frame, job, needs, ancestors, cancelled) for frame, job in reversed(pending))

    def _holds(self, frame: Frame, job: Job, needs: Needs, ancestors: Mapping[str, str], cancelled: bool) -> bool:
        """The condition of one job, as its own file has it."""
        own = {str(need): needs.get(frame.id_of(need), {}) for need in job.needs}
        above = [ancestors[name] for need in _above(frame.workflow, job) if (name := frame.id_of(need)) in ancestors]
        results = [*above, *(str(outcome.get("result", "")) for outcome in own.values())]
        scope = self.layout.scope(frame, job, needs)
        with located(frame):
            functions = job_status_functions(results, own, cancelled)
            return evaluate_condition(job.condition, Scope(scope.contexts, functions))

    def matrices_of(self, job_id: str) -> list[tuple[Frame, tuple[Frame, ...]]]:
        """The calls with a matrix that a called job is part of, from the outside in: its own leg, and all legs."""
        found: list[tuple[Frame, tuple[Frame, ...]]] = []
        frame = self.job(job_id).frame
        while frame.parent is not None and frame.caller is not None:
            if frame.total > 1:
                found.append((frame, self.job(frame.parent.id_of(frame.caller.id)).calls))
            frame = frame.parent
        return found[::-1]

    def outputs(self, needs: Needs) -> dict[str, str]:
        """The outputs of the run's own file as a called one, `needs` being all its jobs."""
        return self.layout.outputs(self.layout.root, needs)

    def finish(self, job_id: str, needs: Needs) -> Finish | None:
        """What came of a job that calls a workflow, once all called jobs have ended; None for a job with steps.

        Of a matrix, the last leg in the order of `needs` to give an output a value has it.
        """
        planned = self.job(job_id)
        if not planned.calls:
            return None
        last = {name: number for number, name in enumerate(needs)}
        outputs: dict[str, str] = {}
        results: list[str] = []
        ended: list[tuple[int, Frame]] = []
        for frame in planned.calls:
            ids = [frame.id_of(job.id) for job in frame.workflow.jobs]
            results += (own := [str(needs[name].get("result", "")) for name in ids])
            if any(result != "skipped" for result in own):
                ended.append((max(last[name] for name in ids), frame))
        for _, frame in sorted(ended, key=lambda one: one[0]):
            for name, value in self.layout.outputs(frame, needs).items():
                if value or name not in outputs:
                    outputs[name] = value
        words = ("failure", "cancelled", "success")
        return Finish(next((word for word in words if word in results), "skipped"), outputs)


def parts_of_legs(job: Job) -> tuple[Node | None, ...]:
    """What of a job decides about its legs."""
    return (job.strategy, job.runs_on, job.name, job.continue_on_error, job.concurrency, job.environment)


def _call_leg(name: str, group: dict[str, Plain] | None) -> dict[str, Plain]:
    """The one leg of a job that calls a workflow: it runs nothing, so any peer can end it."""
    return {"name": name, "matrix": None, "labels": [], "continue_on_error": False, "concurrency": group}


def _above(workflow: Workflow, job: Job) -> list[str]:
    """All jobs of a file that one needs, directly or not, in declared order. Linear, without recursion."""
    needs = {str(other.id): other.needs for other in workflow.jobs}
    found: set[str] = set()
    stack = list(job.needs)
    while stack:
        name = str(stack.pop())
        if name not in found:
            found.add(name)
            stack.extend(needs[name])
    return [name for name in needs if name in found]


def job_status_functions(results: Sequence[str], needs: Needs, cancelled: bool) -> dict[str, Function]:
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


# -- one question at a time -----------------------------------------------------------------------------------------


def build_plan(workflow: Workflow, facts: RunFacts, called: Mapping[str, str] | None = None) -> dict[str, Plain]:
    """The plan of a run; see Flow.plan. Raises InvalidWorkflow."""
    return Flow(workflow, facts, called).plan()


def run_group(workflow: Workflow, facts: RunFacts) -> dict[str, Plain] | None:
    """The concurrency group of a run, {"group", "cancel_in_progress", "queue"}, or None; raises InvalidWorkflow."""
    return evaluate_group(workflow.concurrency, Scope(facts.contexts()))


def is_dynamic(job: Job) -> bool:
    """Whether the legs of a job of the run's own file can be known only once its needs have finished."""
    return any(mentions(node, "needs") for node in parts_of_legs(job))


def expand_job(
    workflow: Workflow, job_id: str, facts: RunFacts, needs: Needs, called: Mapping[str, str] | None = None
) -> list[dict[str, Plain]]:
    """The legs of a job, now that its needs are known; see Flow.expand. Raises InvalidWorkflow, KeyError."""
    return Flow(workflow, facts, called).expand(job_id, needs)


def job_strategy(workflow: Workflow, job_id: str, facts: RunFacts, needs: Needs) -> Strategy:
    """fail-fast and max-parallel of a job, now that its needs are known; raises InvalidWorkflow, KeyError."""
    return Flow(workflow, facts).strategy(job_id, needs)


def should_run(
    workflow: Workflow,
    job_id: str,
    facts: RunFacts,
    needs: Needs,
    ancestors: Mapping[str, str],
    cancelled: bool,
    called: Mapping[str, str] | None = None,
) -> bool:
    """Whether a job is to run; see Flow.should_run. Raises InvalidWorkflow, KeyError."""
    return Flow(workflow, facts, called).should_run(job_id, needs, ancestors, cancelled)


def job_continue_on_error(
    workflow: Workflow, job_id: str, facts: RunFacts, needs: Needs, matrix: Mapping[str, Value] | None = None
) -> bool:
    """The value of a job's continue-on-error for one leg; raises InvalidWorkflow, KeyError."""
    return Flow(workflow, facts).continue_on_error(job_id, needs, matrix)
