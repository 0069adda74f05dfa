"""The steps of a job in their order: containers, pre stages, the steps themselves, what is in the background, post
stages from the last to the first, and the containers' end. Source of the order: the open runner's `JobExtension`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import attrs
import trio

from p2pwf.errors import P2pwfError
from p2pwf.runner.frame import Frame, Stage, World
from p2pwf.runner.state import JobState, text_of
from p2pwf.runner.step import StepRun
from p2pwf.runner.values import Outcome, StepResult
from p2pwf.workflow import Step

if TYPE_CHECKING:
    from p2pwf.runner.background import Background
    from p2pwf.runner.containers import Spec
    from p2pwf.runner.services import Containers
    from p2pwf.runner.uses import Use

WAIT_ALL: Final = "Wait for all background steps"


@attrs.define(slots=True, eq=False)
class Sequence:
    """Runs the steps of one job. `number` is that of the step that runs."""

    state: JobState
    number: int = 0
    frame: Frame = attrs.field(
        default=attrs.Factory(
            lambda self: Frame(
                state=self.state,
                resolved=self.state.resolved,
                world=World(self.state.variables, self.state.paths),
            ),
            takes_self=True,
        )
    )
    containers: Containers | None = None

    async def run(self) -> None:
        """Run them all. Raises P2pwfError for what keeps the job from beginning."""
        steps = list(_flat(self.state.resolved.steps))
        using: dict[int, Use] = {}
        pre: list[int] = []
        if any(step.uses is not None for step in steps) and not await self._unless_cancelled(
            lambda: self._find(steps, using, pre)
        ):
            return
        wanted = self._wanted()
        try:
            if wanted is not None:
                own, services = wanted
                await self._record("Initialize containers", lambda: self._start(own, services))
            for index in pre:
                await self._next(steps[index], "pre", using[index]).run()
            if any(step.background for step in steps):
                await self._with_background(steps, using)
            else:
                for index, step in enumerate(steps):
                    await self._next(step, "main", using.get(index)).run()
            for post in reversed(self.frame.posts):
                self.number += 1
                post.number = self.number
                post.frame = self.frame
                await post.run()
        finally:
            await self._stop()

    async def _find(self, steps: list[Step], using: dict[int, Use], pre: list[int]) -> None:
        """The actions that steps use, and which of them have something to do before all steps."""
        from p2pwf.runner.uses import Use, has_stage  # noqa: PLC0415 - a job of scripts does not wait for it

        using.update((index, Use(step.uses)) for index, step in enumerate(steps) if step.uses is not None)
        for index, use in using.items():
            if await has_stage(self.state, use, "pre"):
                pre.append(index)

    def _next(self, step: Step, stage: Stage, use: Use | None) -> StepRun:
        self.number += 1
        return StepRun(self.frame, step, self.number, stage, use)

    async def _record(self, name: str, work: Callable[[], Awaitable[Outcome]], step: Step | None = None) -> None:
        """Do a step of the runner's own, and record how it went."""
        state = self.state
        self.number += 1
        number, started, goes_on = self.number, state.env.now_ms(), False
        try:
            if step is not None:
                at = self.frame.scope({}, {})
                name = await state.evaluate(state.resolved.step_name, step, at) if step.name else name
                goes_on = await state.evaluate(state.resolved.step_continue_on_error, step, at)
            state.began(number, name)
            outcome = await work()
        except (P2pwfError, OSError) as error:
            state.error(number, text_of(error))
            outcome = "failure"
        conclusion: Outcome = "success" if outcome == "failure" and goes_on else outcome
        step_id = "" if step is None or step.id.startswith("__") else step.id
        state.record(
            StepResult(
                number=number,
                id=step_id,
                name=state.masker.mask(name),
                outcome=outcome,
                conclusion=conclusion,
                started_ms=started,
                completed_ms=state.env.now_ms(),
            )
        )
        if step_id:
            self.frame.keep(step_id, outcome, conclusion, {})
        if conclusion == "failure":
            self.frame.count(conclusion)

    async def _with_background(self, steps: list[Step], using: Mapping[int, Use]) -> None:
        from p2pwf.runner.background import Background  # noqa: PLC0415 - few jobs have steps in the background

        named = {target.lower() for step in steps for target in step.targets}
        async with trio.open_nursery() as nursery:
            background = Background(self.frame, nursery)

            def hear(final: bool) -> None:  # noqa: ARG001 - what has not begun does not go on either way
                background.drop_queue()

            self.state.running.add(hear)
            covered = True
            for index, step in enumerate(steps):
                if step.kind in ("run", "uses"):
                    if not step.background:
                        await self._next(step, "main", using.get(index)).run()
                        continue
                    self.number += 1
                    covered = covered and step.id.lower() in named
                    await background.start(step, self.number)
                    continue
                if step.kind == "wait-all":
                    covered = True
                await self._control(background, step)
            if not covered:
                await self._record(WAIT_ALL, lambda: self._wait(background, None))
            await background.finish()
            self.state.running.discard(hear)

    async def _control(self, background: Background, step: Step) -> None:
        named = ", ".join(step.targets)
        if step.kind == "cancel":
            await self._record(f"Cancel {named}", lambda: self._cancel(background, step.targets), step)
            return
        targets = None if step.kind == "wait-all" else step.targets
        name = {"wait-all": WAIT_ALL, "parallel": "Wait for parallel steps"}.get(step.kind, f"Wait for {named}")
        await self._record(name, lambda: self._wait(background, targets), step)

    async def _wait(self, background: Background, targets: tuple[str, ...] | None) -> Outcome:
        ids = background.unwaited() if targets is None else list(targets)
        log, number = self.state.log, self.number
        if not ids:
            log.say(number, "No background steps remaining to wait for.")
            return "success"
        names = ", ".join(background.name_of(step_id) for step_id in ids)
        log.say(number, f"Waiting for background steps: {names}")
        outcome, lines = await background.wait(ids)
        log.say(number, "Finished waiting for background steps.", *lines)
        return outcome

    async def _cancel(self, background: Background, targets: tuple[str, ...]) -> Outcome:
        log, number = self.state.log, self.number
        names = ", ".join(background.name_of(step_id) for step_id in targets)
        log.say(number, f"Cancelling background steps: {names}")
        lines = await background.cancel(targets)
        log.say(number, "Finished cancelling background steps.", *lines)
        return "success"

    def _wanted(self) -> tuple[Spec | None, list[Spec]] | None:
        """The containers that the job asks for; raises P2pwfError."""
        resolved, loan = self.state.resolved, self.state.loan
        kept = loan is not None and loan.contained
        if resolved.job.container is None and resolved.job.services is None and not kept:
            return None
        from p2pwf.runner.containers import Spec, read_spec  # noqa: PLC0415 - few jobs ask for containers

        at = self.frame.scope({}, {})
        own = read_spec(resolved.container(at))
        described = resolved.services(at)
        named = described.items() if isinstance(described, Mapping) else ()
        services = [spec for name, value in named if (spec := read_spec(value, name)) is not None]
        if own is None and kept and loan is not None:
            own = Spec(image=loan.image, is_here=True)
        return (own, services) if own is not None or services else None

    async def _start(self, own: Spec | None, services: list[Spec]) -> Outcome:
        from p2pwf.runner import native  # noqa: PLC0415 - as above
        from p2pwf.runner.engines import find_engine  # noqa: PLC0415 - as above
        from p2pwf.runner.services import Containers  # noqa: PLC0415 - as above

        what = "the job's container" if own is not None else "a service container"
        engine = await find_engine(self.state, self.number, what)
        steps = _flat(self.state.resolved.steps)
        actions = any(step.uses is not None and native.find(step.uses) is None for step in steps)
        self.containers = containers = Containers(self.state, engine, actions=actions)
        if await self._unless_cancelled(lambda: containers.start(self.number, own, services)):
            return "success"
        self.state.error(self.number, "The operation was canceled.")
        return "cancelled"

    async def _unless_cancelled(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do `work` until the job is cancelled; whether it was done."""
        scope = trio.CancelScope()

        def hear(final: bool) -> None:  # noqa: ARG001 - it does not go on either way
            scope.cancel()

        self.state.running.add(hear)
        try:
            with scope:
                await work()
        finally:
            self.state.running.discard(hear)
        return not scope.cancelled_caught

    async def _stop(self) -> None:
        """Take the containers down, whatever has happened."""
        containers = self.containers
        if containers is None:
            return
        from p2pwf.runner.services import CALM_STOP_S, STOP_S  # noqa: PLC0415 - as above

        async def stop() -> Outcome:
            await containers.stop(self.number)
            return "success"

        leaving = trio.current_effective_deadline() <= trio.current_time()  # asked before the shield goes up
        with trio.CancelScope(shield=True), trio.move_on_after(STOP_S if leaving else CALM_STOP_S):
            await self._record("Stop containers", stop)


def _flat(steps: tuple[Step, ...]) -> Iterator[Step]:
    """The steps with every parallel block as what it means: background steps, and a wait for them."""
    for step in steps:
        if step.kind != "parallel":
            yield step
            continue
        for inner in step.steps:
            yield attrs.evolve(inner, background=True)
        yield attrs.evolve(step, steps=(), targets=tuple(inner.id for inner in step.steps))
