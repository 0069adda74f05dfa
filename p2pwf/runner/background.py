"""Background steps: started and left to run, waited for, cancelled. The order of things is the open runner's
`BackgroundStepCoordinator`: a step that has ended shows (its outcome, its outputs, what it set) once somebody has
waited for it, and only then counts for the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs
import trio

from p2pwf.runner.frame import Fork, Frame
from p2pwf.runner.step import StepRun
from p2pwf.runner.values import Outcome
from p2pwf.workflow import Step

SLOTS: Final = 10
"""Background steps of a job that run at a time, as on GitHub; more of them wait."""


@attrs.define(slots=True, eq=False)
class _Task:
    """A background step: `counted` once it has counted for the job, `ended` once it is over."""

    run: StepRun
    fork: Fork
    queued: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    joined: bool = False
    counted: bool = False
    cancelled: bool = False


class Background:
    """The background steps of one job, in a nursery that ends after they have."""

    def __init__(self, frame: Frame, nursery: trio.Nursery) -> None:
        self._frame = frame
        self._nursery = nursery
        self._slots = trio.Semaphore(SLOTS)
        self._tasks: dict[str, _Task] = {}

    async def start(self, step: Step, number: int) -> None:
        """Begin a step, whose `if` is asked now."""
        fork = self._frame.world.fork()
        run = StepRun(attrs.evolve(self._frame, world=fork), step, number)
        task = _Task(run, fork)
        self._tasks[step.id.lower()] = task
        if await run.begins():
            self._nursery.start_soon(self._run, task)
            return
        run.finish()
        task.ended.set()
        if run.outcome == "failure":  # it could not be told if it runs: that is no matter of waiting
            self._count(task)

    async def _run(self, task: _Task) -> None:
        state, run = self._frame.state, task.run

        def hear(final: bool) -> None:  # noqa: ARG001 - whether it would go on then does not matter before it runs
            task.queued.cancel()

        state.running.add(hear)
        got = False
        try:
            with task.queued:
                await self._slots.acquire()
                got = True
        finally:
            state.running.discard(hear)
        if got:
            try:
                await run.perform()
            finally:
                self._slots.release()
        else:
            run.outcome = "cancelled"
        run.finish()
        task.ended.set()

    def unwaited(self) -> list[str]:
        """The ids of steps that nobody has waited for."""
        return [step_id for step_id, task in self._tasks.items() if not task.joined]

    async def wait(self, ids: Iterable[str]) -> tuple[Outcome, list[str]]:
        """Wait for steps, and let them show; what they come to together, and a line about each. Unknown ids are
        passed over."""
        tasks = self._known(ids)
        for task in tasks:
            await task.ended.wait()
        for task in tasks:
            self._join(task)
        conclusions = {task.run.conclusion for task in tasks}
        together: Outcome = (
            "failure" if "failure" in conclusions else "cancelled" if "cancelled" in conclusions else "success"
        )
        for task in tasks:
            task.counted = True  # by whoever waited
        return together, [f"  {task.run.name}: {task.run.conclusion}" for task in tasks]

    async def cancel(self, ids: Iterable[str]) -> list[str]:
        """End steps, and let them show; a line about each."""
        tasks = self._known(ids)
        for task in tasks:
            task.cancelled = True
            if not task.ended.is_set():
                task.queued.cancel()
                task.run.stop()
        for task in tasks:
            await task.ended.wait()
            self._join(task)
        return [f"  {task.run.name}: {task.run.conclusion}" for task in tasks]

    async def finish(self) -> None:
        """Wait for what nobody waited for, and let all count for the job that have not."""
        for task in self._tasks.values():
            await task.ended.wait()
            self._join(task)
            if not task.counted and not (task.cancelled and task.run.conclusion == "cancelled"):
                self._count(task)

    def name_of(self, step_id: str) -> str:
        """The name of a step, or its id if there is none such."""
        task = self._tasks.get(step_id.lower())
        return step_id if task is None else task.run.name

    def _known(self, ids: Iterable[str]) -> list[_Task]:
        return [task for step_id in ids if (task := self._tasks.get(step_id.lower())) is not None]

    def _join(self, task: _Task) -> None:
        if not task.joined:
            task.joined = True
            task.fork.join(self._frame.world)
            run = task.run
            self._frame.keep(run.step.id, run.outcome, run.conclusion, run.outputs)

    def _count(self, task: _Task) -> None:
        task.counted = True
        self._frame.count(task.run.conclusion)
