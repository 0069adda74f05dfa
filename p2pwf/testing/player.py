"""Performs a plan on a world: each kind of action is a method. Does what a person, a disk or the weather would do."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from random import Random
from typing import cast

from p2pwf.core.dagcbor import Value
from p2pwf.core.events import SignedBlock
from p2pwf.core.ids import Cid, parse_cid
from p2pwf.engine.inputs import (
    AddSchedule,
    CancelRun,
    Input,
    MakeCheckpoint,
    RemoveMember,
    RemoveSchedule,
    SetPriority,
    WriteSetting,
)
from p2pwf.engine.recovery import RESTORED, restored_value
from p2pwf.errors import P2pwfError
from p2pwf.runs.rerun import rerun
from p2pwf.testing.hostile import LIES
from p2pwf.testing.machines import Conditions, SimNode
from p2pwf.testing.oracle import Violation, check
from p2pwf.testing.plan import Action, Plan
from p2pwf.testing.planner import make_schedule
from p2pwf.testing.scenarios import BIRTH, HEALED, PEACE, SCENARIOS
from p2pwf.testing.shapes import SHAPES
from p2pwf.testing.sim import BOX, World

ADMINS = 2
"""The founder and one more: that an admin removes an admin is part of life."""


class Player:
    """Plays one plan. `world`: the history so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.scenario = scenario = SCENARIOS[plan.scenario]
        self.conditions = Conditions(
            delay=scenario.delay, loss=scenario.loss, duplicate=scenario.duplicate, job_seconds=scenario.job_seconds
        )
        self.world = World(plan.seed, plan.machines, conditions=self.conditions, admins=ADMINS)
        self._machines: list[SimNode] = list(self.world.nodes.values())
        self._disks: dict[int, tuple[dict[Cid, SignedBlock], dict[str, bytes]]] = {}
        self._chance = Random(f"lies {plan.seed}")
        self.world.haste = scenario.haste
        for number, node in enumerate(self._machines):
            if scenario.history_days:
                node.history_days = scenario.history_days
            node.trusts = number not in plan.wary
            node.skew_wall = plan.skews[number] if plan.skews else 0
            node.rate = plan.rates[number] if plan.rates else 1.0
        for action in plan.actions:
            self.world.at(action.at, partial(self._act, action))

    def play(self) -> tuple[World, list[Violation]]:
        """Play it to its end; returns the world, and what was violated."""
        world, conditions, end = self.world, self.conditions, self.scenario.seconds + HEALED
        world.run(BIRTH)
        conditions.crash_between = self.scenario.crash_between
        world.run(end)
        conditions.crash_between = conditions.loss = conditions.duplicate = 0.0
        world.heal()
        for node in world.nodes.values():
            node.full, node.commit_seconds = False, 0.0
            world.restart(node)
        world.run(end + PEACE, stop=world.settled)
        return world, check(world, self.scenario.exclusive, self.scenario.steady)

    def _act(self, action: Action) -> None:
        if action.machine < len(self._machines):
            getattr(self, f"_{action.kind}")(self._machines[action.machine], action)

    # -- work ---------------------------------------------------------------------------------------------------

    def _submit(self, node: SimNode, action: Action) -> None:
        body = {**SHAPES[action.args["shape"]], "priority": action.args["priority"]}
        if "secrets" in action.args:
            payload = cast("dict[str, Value]", body["payload"])
            body["payload"] = {**payload, "secrets": action.args["secrets"]}
        self.world.submit(node, body, action.args["number"])

    def _rerun(self, node: SimNode, action: Action) -> None:
        cid = self.world.submitted(action.args["of"])
        run = None if cid is None or node.engine is None else node.engine.desk.runs.get(cid)
        if run is not None:
            try:
                body = rerun(run, action.args["failed"])
            except P2pwfError:
                return  # it has not ended, or nothing of it failed
            self.world.submit(node, body, action.args["number"])

    def _cancel(self, node: SimNode, action: Action) -> None:
        self._ask_about(node, action, CancelRun)

    def _hasten(self, node: SimNode, action: Action) -> None:
        self._ask_about(node, action, lambda token, run: SetPriority(token, run, 1.0))

    def _ask_about(self, node: SimNode, action: Action, make: Callable[[Hashable, Cid], Input]) -> None:
        run = self.world.submitted(action.args["number"])
        if run is not None:
            self.world.give(node, make((action.kind, run), run))

    def _schedule(self, node: SimNode, action: Action) -> None:
        number = action.args["number"]
        body = make_schedule(action.args["every"], f"every {number}")
        self.world.give(node, AddSchedule(("schedule", number), body))

    def _unschedule(self, node: SimNode, action: Action) -> None:
        number = action.args["number"]
        reply = self.world.replies.get(("schedule", number))
        if reply is not None and reply.error is None:
            schedule = parse_cid(reply.result["schedule_id"])
            self.world.give(node, RemoveSchedule(("remove", number), schedule))

    def _secret(self, node: SimNode, action: Action) -> None:
        boxes: dict[str, Value] = {
            other.peer: BOX for other in (node, *(self._machines[number] for number in action.args["boxes"]))
        }
        place: dict[str, Value] = {"name": "TOKEN", "environment": None, "value": bytes(296), "submitters": []}
        body: dict[str, Value] = {**place, "boxes": boxes}
        self.world.give(node, WriteSetting(("secret", action.args["number"]), "secret.set", body))

    # -- machines -----------------------------------------------------------------------------------------------

    def _crash(self, node: SimNode, action: Action) -> None:
        if node.engine is not None:
            self.world.crash(node)
            self.world.at(self.world.time + action.args["seconds"], lambda: self.world.restart(node))

    def _bury(self, node: SimNode, _: Action) -> None:
        if node.engine is not None and len(self.world.alive()) > 2:
            self.world.crash(node)
            node.gone = True

    def _pause(self, node: SimNode, action: Action) -> None:
        self.world.pause(node, action.args["seconds"])

    def _jump(self, node: SimNode, action: Action) -> None:
        node.skew_wall += action.args["ms"]

    def _fill(self, node: SimNode, action: Action) -> None:
        node.full = True

        def free() -> None:
            node.full = False

        self.world.at(self.world.time + action.args["seconds"], free)

    def _slow(self, node: SimNode, action: Action) -> None:
        node.commit_seconds = action.args["commit"]

        def mend() -> None:
            node.commit_seconds = 0.0

        self.world.at(self.world.time + action.args["seconds"], mend)

    def _backup(self, node: SimNode, _: Action) -> None:
        self._disks[id(node)] = dict(node.blocks), dict(node.meta)

    def _lose(self, node: SimNode, action: Action) -> None:
        held = self._disks.get(id(node))
        if held is None or node.gone:
            return
        told = action.args["told"]
        self.world.crash(node)
        node.blocks, node.meta = dict(held[0]), dict(held[1])
        if told:
            node.meta[RESTORED] = restored_value(())
        node.restored = node.gone = True  # until it comes back, nothing else starts it
        node.doubled = not told

    def _back(self, node: SimNode, _: Action) -> None:
        if node.restored:
            node.gone = False
            self.world.restart(node)

    # -- the network --------------------------------------------------------------------------------------------

    def _split(self, _: SimNode, action: Action) -> None:
        cells = dict(zip((node.peer for node in self._machines), action.args["cells"], strict=False))
        self.world.partition(cells)
        self.world.at(self.world.time + action.args["seconds"], self.world.heal)

    def _block(self, _: SimNode, action: Action) -> None:
        some = {self._machines[number].peer for number in action.args["machines"]}
        others = [node.peer for node in self._machines if node.peer not in some]
        hears = action.args["hears"]
        self.world.block((one, other) if hears else (other, one) for one in others for other in sorted(some))
        self.world.at(self.world.time + action.args["seconds"], self.world.heal)

    # -- members ------------------------------------------------------------------------------------------------

    def _join(self, admin: SimNode, _: Action) -> None:
        made = self.world.join(admin)
        if made is not None:
            self._machines.append(made)

    def _remove(self, admin: SimNode, action: Action) -> None:
        member = self._machines[action.args["member"]]
        if member is not admin and member is not self._machines[0]:
            self._cut(admin, member, action.args["keep_runs"])

    def _leave(self, node: SimNode, _: Action) -> None:
        if node is not self._machines[0]:
            self._cut(node, node, False)

    def _cut(self, by: SimNode, member: SimNode, keep_runs: bool) -> None:
        self.world.give(by, RemoveMember(("cut", member.peer), member.peer, keep_runs))

    def _checkpoint(self, admin: SimNode, action: Action) -> None:
        self.world.give(admin, MakeCheckpoint(("checkpoint", action.at), 0.0))

    def _turn(self, node: SimNode, _: Action) -> None:
        node.hostile = node.doubled = True

    def _lie(self, node: SimNode, action: Action) -> None:
        if node.hostile and node.engine is not None:
            LIES[action.args["lie"]](self.world, node, self._chance)


def play(plan: Plan) -> tuple[World, list[Violation]]:
    """Play a plan to its end; returns the world and what was violated."""
    return Player(plan).play()
