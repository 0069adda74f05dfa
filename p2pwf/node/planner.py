"""The workflow language behind the engine's `Planner`: parsed once per run, asked with plain data. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid
from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow import RunFacts, Workflow, expand_job, parse, should_run

PARSED_KEPT = 64
"""Workflows kept parsed: the runs of the moment."""


def facts_of(submission: Event, attempt: int = 1) -> RunFacts:
    """The facts of a run from its submission. Its number is the submission's lamport: it rises along the clock."""
    body = submission.body
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
        attempt=attempt,
    )


class WorkflowPlanner:
    """Implements `engine.Planner` with `p2pwf.workflow`; raises InvalidWorkflow where an expression fails."""

    def __init__(self) -> None:
        self._parsed: OrderedDict[Cid, Workflow] = OrderedDict()

    def workflow(self, submission: Event) -> Workflow:
        """The workflow of a submission; raises InvalidWorkflow if its text does not check here."""
        workflow = self._parsed.get(submission.cid)
        if workflow is None:
            body = submission.body
            workflow = parse(cast(str, body["workflow"]), cast(str, body["path"])).require()
            self._parsed[submission.cid] = workflow
            if len(self._parsed) > PARSED_KEPT:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(submission.cid)
        return workflow

    def should_run(
        self,
        submission: Event,
        job: str,
        needs: Mapping[str, Mapping[str, Any]],
        ancestors: Sequence[str],
        cancelled: bool,
    ) -> bool:
        try:
            return should_run(self.workflow(submission), job, facts_of(submission), needs, ancestors, cancelled)
        except KeyError as error:
            raise InvalidWorkflow(f"the plan has a job that the workflow has not: {error}") from error

    def expand(self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Value]]:
        try:
            return normal_legs(expand_job(self.workflow(submission), job, facts_of(submission), needs))
        except KeyError as error:
            raise InvalidWorkflow(f"the plan has a job that the workflow has not: {error}") from error


def normal_legs(legs: Sequence[Mapping[str, Any]]) -> list[dict[str, Value]]:
    """Legs as events hold them: labels sorted, each once."""
    return [{**leg, "labels": sorted(set(leg["labels"]))} for leg in legs]
