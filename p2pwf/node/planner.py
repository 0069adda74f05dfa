"""The workflow language behind the engine's `Planner`: parsed once per run, asked with plain data. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid
from p2pwf.engine import Beside
from p2pwf.errors import InvalidWorkflow, P2pwfError
from p2pwf.node.submission import normal_legs
from p2pwf.node.ticks import tick_body
from p2pwf.runs.plan import Leg
from p2pwf.runs.settings import Asks
from p2pwf.workflow import Flow, RunFacts, next_ticks, parse
from p2pwf.workflow.asks import LegOf, Names, environment_of, secrets_of

Needs: TypeAlias = "Mapping[str, Mapping[str, Any]]"
PARSED_KEPT = 64
"""Workflows kept parsed: the runs of the moment."""
ASKS_KEPT = 1024
"""Jobs of which it is kept what secrets they name: to read that takes a walk through all expressions of a file."""


def facts_of(submission: Event, attempt: int = 1) -> RunFacts:
    """The facts of a run from its submission. Its number is the submission's lamport: it rises along the clock. A rerun
    goes on counting attempts from the run before."""
    body = submission.body
    rerun = cast("Mapping[str, int] | None", body["rerun"])
    return RunFacts(
        event=cast(str, body["event"]),
        payload=cast("Mapping[str, Any]", body["payload"]),
        ref=cast(str, body["ref"]),
        sha=cast(str, body["sha"]),
        repository=cast(str, body["repository"]),
        actor=cast(str, body["actor"]),
        inputs=cast("Mapping[str, Any]", body["inputs"]),
        vars=cast("Mapping[str, str]", body["vars"]),
        workflow_name=cast(str, body["name"]),
        workflow_path=cast(str, body["path"]),
        run_id=submission.cid.text,
        run_number=submission.lamport,
        attempt=attempt + (0 if rerun is None else rerun["attempt"] - 1),
    )


class WorkflowPlanner:
    """Implements `engine.Planner` with `p2pwf.workflow`; raises InvalidWorkflow where an expression fails."""

    def __init__(self) -> None:
        self._flows: OrderedDict[Cid, Flow | InvalidWorkflow] = OrderedDict()
        self._secrets: OrderedDict[tuple[Cid, str], tuple[Names, Names]] = OrderedDict()

    def flow(self, submission: Event) -> Flow:
        """The workflow of a submission and what it calls; raises InvalidWorkflow if their texts do not check here."""
        flow = self._flows.get(submission.cid)
        if flow is None:
            flow = self._flows[submission.cid] = _parsed(submission)
            if len(self._flows) > PARSED_KEPT:
                self._flows.popitem(last=False)
        self._flows.move_to_end(submission.cid)
        if isinstance(flow, InvalidWorkflow):
            raise InvalidWorkflow(flow.message, flow.hint, flow.diagnostics)
        return flow

    def should_run(
        self, submission: Event, job: str, needs: Needs, ancestors: Mapping[str, str], cancelled: bool
    ) -> bool:
        with _known(job):
            return self.flow(submission).should_run(job, needs, ancestors, cancelled)

    def expand(self, submission: Event, job: str, needs: Needs) -> list[dict[str, Value]]:
        with _known(job):
            pins = cast("list[str]", submission.body["pins"])
            return normal_legs(self.flow(submission).expand(job, needs), pins)

    def strategy(self, submission: Event, job: str, needs: Needs) -> tuple[bool, int] | None:
        with _known(job):
            flow = self.flow(submission)
            if flow.has_known_strategy(job):
                return None
            made = flow.strategy(job, needs)
            return made.fail_fast, made.max_parallel

    def finish(self, submission: Event, job: str, needs: Needs) -> tuple[str, Mapping[str, str]] | None:
        with _known(job):
            made = self.flow(submission).finish(job, needs)
            return None if made is None else (made.conclusion, made.outputs)

    def next_tick(self, schedule: Event, after: int) -> tuple[int, Value] | None:
        found: list[tuple[int, Value]] = []
        for cron in cast("list[dict[str, Any]]", schedule.body["crons"]):
            try:
                ticks = next_ticks(cron["cron"], datetime.fromtimestamp(after, UTC), 1, cron["timezone"])
            except (P2pwfError, ValueError, OverflowError):
                continue  # a cron that this node cannot read: others may
            found += [(int(tick.timestamp()), cast(Value, cron)) for tick in ticks]
        return min(found, key=lambda one: one[0], default=None)

    def scheduled(self, schedule: Event, tick: int, cron: Value) -> Mapping[str, Value]:
        return tick_body(schedule, tick, cast("dict[str, Any]", cron))

    def asks(self, submission: Event, job: str, needs: Needs, leg: Leg, index: int, total: int) -> Asks:
        with _known(job):
            flow = self.flow(submission)
            key = submission.cid, job
            if key not in self._secrets:
                self._secrets[key] = secrets_of(flow, job)
                if len(self._secrets) > ASKS_KEPT:
                    self._secrets.popitem(last=False)
            matrix = cast("Mapping[str, Any] | None", leg.matrix)
            return Asks(environment_of(flow, job, needs, LegOf(index, total, matrix)), *self._secrets[key])

    def beside(self, submission: Event, job: str) -> Sequence[Beside]:
        if "/" not in job:
            return ()
        with _known(job):
            flow = self.flow(submission)
            return [
                Beside(
                    legs=tuple(tuple(one.id_of(inner.id) for inner in one.workflow.jobs) for one in legs),
                    index=frame.index,
                    fail_fast=frame.strategy.fail_fast,
                    max_parallel=frame.strategy.max_parallel,
                )
                for frame, legs in flow.matrices_of(job)
            ]


def _parsed(submission: Event) -> Flow | InvalidWorkflow:
    """The workflow of a submission, or what is wrong with it: both are kept, since each look asks for every job."""
    body = submission.body
    try:
        workflow = parse(cast(str, body["workflow"]), cast(str, body["path"])).require()
        return Flow(workflow, facts_of(submission), cast("Mapping[str, str]", body["called"]))
    except InvalidWorkflow as error:
        return error


@contextmanager
def _known(job: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise InvalidWorkflow(f"the plan has a job that the workflow has not: {job}") from error
