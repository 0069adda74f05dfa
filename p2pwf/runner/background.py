"""Background steps: started and left to run, waited for, cancelled. The order of things is the open runner's
`BackgroundStepCoordinator`: a step that has ended shows (its outcome, its outputs, what it set) once somebody has
waited for it, and only then counts for the job.
"""

from __future__ import annotations

from collections import deque
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
    ended: trio.Event = attrs.field(factory=trio.Event)
    joined: bool = False
    counted: bool = False
    cancelled: bool = False


class Background:
    """The background steps of one job, in a nursery that ends after they have."""

    def __init__(self, frame: Frame, nursery: trio.Nursery) -> None:
        self._frame = frame
        self._nursery = nursery
        self._free = SLOTS
        self._queue: deque[_Task] = deque()
        self._tasks: dict[str, _Task] = {}

    async def start(self, step: Step, number: int) -> None:
        """Begin a step, whose `if` is asked now."""
        fork = self._frame.world.fork()
        run = StepRun(attrs.evolve(self._frame, world=fork), step, number)
        task = _Task(run, fork)
        self._tasks[step.id.lower()] = task
        if await run.begins():
            self._queue.append(task)
            self._go_on()
            return
        self._end(task)
        if run.outcome == "failure":  # it could not be told if it runs: that is no matter of waiting
            self._count(task)

    def _go_on(self) -> None:
        """Run what is next in the queue, as far as there are slots."""
        while self._free and self._queue:
            self._free -= 1
            self._nursery.start_soon(self._run, self._queue.popleft())

    @staticmethod
    def _end(task: _Task) -> None:
        task.run.finish()
        task.ended.set()

    def drop_queue(self) -> None:
        """What has not begun never will: the job is cancelled."""
        while self._queue:
            self._drop(self._queue[0])

    def _drop(self, task: _Task) -> None:
        self._queue.remove(task)
        task.run.outcome = "cancelled"
        self._end(task)

    async def _run(self, task: _Task) -> None:
        try:
            await task.run.perform()
        finally:
            self._free += 1
        self._end(task)
        self._go_on()

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
            if task in self._queue:
                self._drop(task)
            elif not task.ended.is_set():
                task.run.stop(wanted=True)
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
