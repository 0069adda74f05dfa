"""What the workflow of a run says about its jobs, as far as their outcomes are known: asked, never acted upon here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import attrs

from p2pwf.clock.messages import Attempt
from p2pwf.engine.config import Beside
from p2pwf.engine.desk import Desk, needs_context
from p2pwf.engine.groups import Groups
from p2pwf.engine.inputs import JobEnded
from p2pwf.errors import P2pwfError
from p2pwf.runs import PlannedJob, Run
from p2pwf.runs.tally import RunEvent, conclusion

REPLACED: Final = "a later one of its concurrency group takes its place"
GIVEN_UP: Final = "the run was cancelled while it waited for its concurrency group"


@attrs.frozen(slots=True)
class Siblings:
    """What an open leg must know of its job: is the run cancelled, has a leg failed that takes the others along, how
    many legs have finished."""

    job: PlannedJob
    cancelled: bool
    failed: bool
    finished: int
    max_parallel: int = 0
    waits: bool = False
    """As many legs as may of a call's matrix are under way, or the run is about to be dropped."""
    dropped: str = ""
    """Why the leg, or the whole run before it started, is dropped for its concurrency group."""

    @property
    def why(self) -> str:
        """Why the leg is not to go on."""
        return self.dropped or ("the run was cancelled" if self.cancelled else "another leg failed")


class Judge:
    """Asks the planner. What it raises for a job that cannot be judged is P2pwfError."""

    def __init__(self, desk: Desk, groups: Groups) -> None:
        self._desk = desk
        self._groups = groups

    def siblings(self, run: Run, job: PlannedJob, cancelled: bool, finishes: Sequence[RunEvent | None]) -> Siblings:
        """What the open legs of a job must know; `finishes`: of each leg, None where it is open."""
        fail_fast, max_parallel = self._strategy(run, job)
        failed = fail_fast and any(one is not None and conclusion(one) == "failure" for one in finishes)
        waits = False
        for beside in self._beside(run, job):
            results = [[run.tally.result(name) for name in leg if name in run.plan.jobs] for leg in beside.legs]
            others = [leg for index, leg in enumerate(results) if index != beside.index]
            failed = failed or (beside.fail_fast and any("failure" in leg for leg in others))
            ended = sum(None not in leg for leg in results)
            waits = waits or bool(beside.max_parallel and ended < beside.index - beside.max_parallel + 1)
        return Siblings(job, cancelled, failed, sum(one is not None for one in finishes), max_parallel, waits)

    def _strategy(self, run: Run, job: PlannedJob) -> tuple[bool, int]:
        """fail-fast and max-parallel of a job: the plan's, or what the outcomes of its needs make of them."""
        known = job.fail_fast, job.max_parallel
        if job.legs is not None:
            return known
        try:
            made = self._desk.config.planner.strategy(run.submission, job.id, needs_context(run, job.needs))
        except P2pwfError:
            return known  # its legs could not have been worked out either
        return known if made is None else made

    def _beside(self, run: Run, job: PlannedJob) -> Sequence[Beside]:
        try:
            return self._desk.config.planner.beside(run.submission, job.id)
        except P2pwfError:
            return ()  # whoever is to run it says why it cannot be read

    def called(self, run: Run, job: PlannedJob, attempt: Attempt) -> JobEnded | None:
        """How a job ends that stands for those it called, which all have; None for a job that runs something."""
        ended = {name: max(event.order for event in run.tally.finishes(name) or ()) for name in job.needs}
        needs = needs_context(run, tuple(sorted(job.needs, key=lambda name: ended[name])))
        made = self._desk.config.planner.finish(run.submission, job.id, needs)
        return None if made is None else JobEnded(attempt, made[0], made[0], dict(made[1]))

    def should_run(self, run: Run, job: PlannedJob, cancelled: bool) -> bool:
        """Whether a job whose needs have concluded is to run."""
        ancestors = {name: cast(str, run.tally.result(name)) for name in run.plan.ancestors(job.id)}
        return self._desk.config.planner.should_run(
            run.submission, job.id, needs_context(run, job.needs), ancestors, cancelled
        )

    def is_cancelled(self, run: Run) -> bool:
        """Whether a run was cancelled, by somebody or by a later one of its concurrency group."""
        return self._desk.is_cancelled(run) or self._groups.is_superseded(run)

    def wanted(self, run: Run, job: str) -> bool:
        """Whether a job of any run, whose needs have concluded, is to run; one that cannot be judged is not."""
        try:
            return self.should_run(run, run.plan.jobs[job], self.is_cancelled(run))
        except P2pwfError:
            return False
