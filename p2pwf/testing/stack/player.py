"""Performs a plan on a network of real nodes: each kind of action is a method, as in `testing.player`.

The user's part goes through the nodes' API; the rest is done to machines and wires.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Final

import trio

from p2pwf.core.ids import parse_cid
from p2pwf.errors import P2pwfError
from p2pwf.node.api import NodeApi
from p2pwf.requests import SubmitRequest
from p2pwf.testing.machines import Conditions
from p2pwf.testing.oracle import Violation, check
from p2pwf.testing.plan import Action, Plan
from p2pwf.testing.player import ADMINS
from p2pwf.testing.scenarios import PEACE
from p2pwf.testing.stack.computer import Computer
from p2pwf.testing.stack.scenarios import HEALED, STACK
from p2pwf.testing.stack.shapes import WORKFLOWS
from p2pwf.testing.stack.world import StackWorld, history

TASKS_PER_NODE: Final = 60
TASKS_PER_LINK: Final = 40
"""Tasks of a node at rest, and more for each other node: about twice what they are."""
SOURCE: Final = "source"
"""The folder of the workflows, and so the name of their repository."""
SOURCE_BYTES: Final = 1_200_000
"""Of a file that travels with runs: more than one chunk of the blob protocol, and than one window of a stream."""
LOOK_SECONDS: Final = 2.0


class StackPlayer:
    """Plays one plan. `violations`: what was found at the end."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.scenario = STACK[plan.scenario]
        self.violations: list[Violation] = []
        self._banned: dict[str, None] = {}
        self._world: StackWorld
        self._files: dict[str, Path] = {}

    async def play(self, world: StackWorld) -> None:
        """Play it to its end, and judge it."""
        self._world, plan = world, self.plan
        source = world.folder / SOURCE
        source.mkdir()
        (source / "data").write_bytes(bytes(SOURCE_BYTES))
        for number, name in enumerate(WORKFLOWS):
            self._files[name] = source / f"{number}.yml"
            self._files[name].write_text(WORKFLOWS[name])
        await world.found(plan.machines, ADMINS, plan.wary)
        world.conditions.loss = self.scenario.loss
        for number, computer in enumerate(world.computers):
            computer.machine.skew_ms = plan.skews[number] if plan.skews else 0
            computer.machine.rate = plan.rates[number] if plan.rates else 1.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await self._perform()
            await self._make_peace()
            nursery.cancel_scope.cancel()
        world.time = trio.current_time()
        self.violations = [*check(world, self.scenario.exclusive), *self._own_findings()]

    async def _perform(self) -> None:
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for action in sorted(self.plan.actions, key=attrgetter("at")):
                if action.at < self.scenario.seconds + HEALED:
                    await trio.sleep_until(start + action.at)
                    nursery.start_soon(self._act, action)
            await trio.sleep_until(start + self.scenario.seconds + HEALED)
            nursery.cancel_scope.cancel()

    async def _make_peace(self) -> None:
        world = self._world
        world.conditions.loss = 0.0
        world.lan.block(())
        for computer in world.computers:
            computer.machine.full, computer.machine.slowness = False, 0.0
            await world.restart(computer)
        await world.until(world.settled, PEACE)

    async def _act(self, action: Action) -> None:
        if action.machine < len(self._world.computers):
            await getattr(self, f"_{action.kind}")(self._world.computers[action.machine], action)

    async def _watch(self) -> None:
        """Note which honest nodes are kept out by others."""
        while True:
            for computer in self._world.computers:
                network = None if computer.node is None or not computer.honest else computer.node.network
                for other in self._world.computers if network is not None else ():
                    if network is not None and other.honest and other.peer:
                        standing = network.standing(other.peer)
                        if standing.banned_for is not None:
                            self._banned[f"n{computer.number} keeps n{other.number} out"] = None
                if network is not None and network.statistics()["banned_addresses"]:
                    self._banned[f"n{computer.number} keeps an address out"] = None
            await trio.sleep(LOOK_SECONDS)

    def _own_findings(self) -> Iterator[Violation]:
        """What only whole nodes can do wrong."""
        world, seed = self._world, self.plan.seed
        for computer in world.computers:
            for fault in computer.faults:
                yield Violation("end", f"n{computer.number}: {fault}", seed)
        for line in world.complaints:
            yield Violation("log", line, seed)
        for line in self._banned:
            yield Violation("ban", line, seed)
        count = len(world.computers)
        tasks = trio.lowlevel.current_statistics().tasks_living
        if tasks > count * (TASKS_PER_NODE + TASKS_PER_LINK * count):
            yield Violation("bounds", f"{tasks} tasks are left at {count} nodes", seed)

    # -- work ---------------------------------------------------------------------------------------------------

    async def _submit(self, computer: Computer, action: Action) -> None:
        world = self._world
        # Where a run has to succeed it takes nothing along: who submitted it may be gone, and its files with it.
        alone = self.scenario.groups or action.args["number"] % 2 == 0
        request = SubmitRequest(
            file=str(self._files[action.args["shape"]]),
            priority=action.args["priority"],
            source_dir=None if alone else str(world.folder / SOURCE),
            no_source=alone,
            force=True,
        )

        async def submit(api: NodeApi) -> None:
            answer = await api.submit(request)
            self._acknowledge(computer, action, answer["workflow_id"], answer["copies"])

        computer.do(submit)

    async def _rerun(self, computer: Computer, action: Action) -> None:
        async def rerun(api: NodeApi, run: str) -> None:
            answer = await api.rerun(run, action.args["failed"], [])
            self._acknowledge(computer, action, answer["workflow_id"], answer["copies"])

        self._ask_about(computer, action.args["of"], rerun)

    def _acknowledge(self, computer: Computer, action: Action, run: str, copies: int) -> None:
        cid = parse_cid(run)
        self._world.acknowledged.setdefault(cid, (computer.peer, copies))
        self._world.numbers[action.args["number"]] = cid

    async def _cancel(self, computer: Computer, action: Action) -> None:
        self._ask_about(computer, action.args["number"], lambda api, run: api.cancel(run))

    async def _hasten(self, computer: Computer, action: Action) -> None:
        self._ask_about(computer, action.args["number"], lambda api, run: api.update(run, None, 1.0))

    def _ask_about(self, computer: Computer, number: int, what: Callable[[NodeApi, str], Awaitable[object]]) -> None:
        run = self._world.numbers.get(number)
        if run is not None:
            text = run.text
            computer.do(lambda api: what(api, text))

    # -- machines -----------------------------------------------------------------------------------------------

    async def _crash(self, computer: Computer, action: Action) -> None:
        await self._world.crash(computer)
        await trio.sleep(action.args["seconds"])
        await self._world.restart(computer)

    async def _bury(self, computer: Computer, _: Action) -> None:
        if sum(one.machine.alive for one in self._world.computers) > 2:
            await self._world.crash(computer)
            computer.gone = True

    async def _jump(self, computer: Computer, action: Action) -> None:
        computer.machine.skew_ms += action.args["ms"]

    async def _fill(self, computer: Computer, action: Action) -> None:
        computer.machine.full = True
        await trio.sleep(action.args["seconds"])
        computer.machine.full = False

    async def _slow(self, computer: Computer, action: Action) -> None:
        computer.machine.slowness = action.args["commit"]
        await trio.sleep(action.args["seconds"])
        computer.machine.slowness = 0.0

    # -- the network --------------------------------------------------------------------------------------------

    async def _split(self, _: Computer, action: Action) -> None:
        cells = dict(enumerate(action.args["cells"], 1))
        numbers = [computer.number for computer in self._world.computers]
        split = [(a, b) for a in numbers for b in numbers if cells.get(a, 0) != cells.get(b, 0)]
        self._world.lan.block(split)
        await trio.sleep(action.args["seconds"])
        self._world.lan.block(())

    async def _block(self, _: Computer, action: Action) -> None:
        some = {self._world.computers[number].number for number in action.args["machines"]}
        others = [computer.number for computer in self._world.computers if computer.number not in some]
        hears = action.args["hears"]
        self._world.lan.block((one, other) if hears else (other, one) for one in others for other in sorted(some))
        await trio.sleep(action.args["seconds"])
        self._world.lan.block(())

    # -- members ------------------------------------------------------------------------------------------------

    async def _join(self, computer: Computer, _: Action) -> None:
        await self._world.join(computer, ["run", "submit"])

    async def _remove(self, computer: Computer, action: Action) -> None:
        member = self._world.computers[action.args["member"]]
        if member is not computer and member.number > 1:
            self._cut(computer, member, lambda api: api.peer_remove(member.peer, action.args["keep_runs"]))

    async def _leave(self, computer: Computer, _: Action) -> None:
        if computer.number > 1:
            self._cut(computer, computer, lambda api: api.leave(keep_runs=False))

    def _cut(self, by: Computer, member: Computer, how: Callable[[NodeApi], Awaitable[object]]) -> None:
        """A member is removed, and so is whom it admitted if `by` does not know of that: it might be backdated."""
        if by.api is None or by.left or not member.peer:
            return

        async def cut(api: NodeApi) -> None:
            also = [one for one in self._world.computers if one.admitted_by is member and not by.knows(one)]
            before = [one for one in (member, *also) if not one.left]
            for one in before:
                one.left = True
            try:
                await how(api)
            except P2pwfError:
                for one in before:
                    one.left = False
                raise

        by.do(cut)


def play(plan: Plan) -> tuple[StackWorld, list[Violation]]:
    """Play a plan to its end; returns the world as it was left, and what was violated."""
    scenario = STACK[plan.scenario]
    player = StackPlayer(plan)
    conditions = Conditions(delay=scenario.delay, job_seconds=scenario.job_seconds)
    return history(plan.seed, conditions, player.play), player.violations
