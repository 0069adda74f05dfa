"""Fault schedules: from a seed to a history. A scenario names the faults; the seed decides when and where.

A failing seed is replayed by one line: `scripts/sim --scenario NAME --seed N`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, cast

import attrs

from p2pwf.core.dagcbor import Value
from p2pwf.core.ids import parse_cid
from p2pwf.engine.inputs import AddSchedule, CancelRun, RemoveSchedule, SetPriority, WriteSetting
from p2pwf.engine.recovery import RESTORED, restored_value
from p2pwf.testing.machines import Conditions, SimNode
from p2pwf.testing.oracle import Violation, check
from p2pwf.testing.planner import in_group, make_schedule, make_submission
from p2pwf.testing.sim import BOX, World, run_of

BIRTH: Final = 3.0
"""Simulated seconds in which nothing breaks: a peer whose admission failed would be no member at all."""
PEACE: Final = 240.0
"""Simulated seconds after the last fault within which every run must end: several doublings of the lease."""


@attrs.frozen(slots=True)
class Scenario:
    """What may go wrong, and for how long (simulated seconds)."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: tuple[float, float] = (0.001, 0.02)
    crashes: int = 0
    partitions: int = 0
    pauses: int = 0
    skew: bool = False
    crash_between: float = 0.0
    job_seconds: tuple[float, float] = (0.2, 5.0)
    gone: int = 0
    """Nodes that die for good."""
    restores: int = 0
    """Nodes that lose their disk and come back on an older copy of it, under their old id."""
    seconds: float = 60.0
    nodes: tuple[int, int] = (3, 6)
    submissions: tuple[int, int] = (2, 5)
    groups: bool = False
    """Whether the runs and jobs are in concurrency groups, and come in bursts."""
    ticks: bool = False
    """Whether members have schedules, due every some seconds."""
    secrets: bool = False
    """Whether jobs name secrets that are sealed to some of the peers at first."""
    wary: float = 0.0
    """The chance of each node that it runs its own runs only; every run is then cancelled at some time, since it may be
    that nobody runs it."""

    @property
    def exclusive(self) -> bool:
        """Whether nothing here excuses two peers running one job at the same time."""
        return not self.partitions and not self.pauses


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "calm": Scenario(),
    "groups": Scenario(groups=True, submissions=(4, 8), job_seconds=(0.2, 8.0)),
    "groups-crash": Scenario(groups=True, submissions=(4, 8), crashes=3),
    "wary": Scenario(wary=0.6, loss=0.02, crashes=1),
    "ticks": Scenario(ticks=True, loss=0.05, submissions=(1, 2)),
    "ticks-crash": Scenario(ticks=True, crashes=3, partitions=1, submissions=(1, 2)),
    "secrets": Scenario(secrets=True, loss=0.05, crashes=3, partitions=1, submissions=(4, 8)),
    "loss": Scenario(loss=0.1, duplicate=0.1, delay=(0.001, 0.2)),
    "crash": Scenario(loss=0.02, crashes=4),
    "long": Scenario(loss=0.02, crashes=1, nodes=(5, 6), job_seconds=(5.0, 40.0)),
    "gone": Scenario(loss=0.02, gone=1, nodes=(4, 6), submissions=(4, 8)),
    "restored": Scenario(loss=0.1, delay=(0.001, 0.3), restores=1, partitions=1),
    "torn": Scenario(crash_between=0.003),
    "partition": Scenario(loss=0.02, partitions=2),
    "pause": Scenario(pauses=3),
    "skew": Scenario(skew=True, loss=0.05, crashes=1),
    "storm": Scenario(
        loss=0.1, duplicate=0.05, delay=(0.001, 0.3), crashes=4, partitions=2, pauses=2, skew=True, crash_between=0.001
    ),
}


def _group_shapes() -> list[dict[str, Value]]:
    """Runs of one group, that waits or cancels, and runs with a job in another."""
    deploy = {"deploy": in_group("Deploy")}
    return [
        make_submission({"one": []}, group=in_group("ci")),
        make_submission({"a": [], "b": [], "c": ["a", "b"]}, group=in_group("CI")),
        make_submission({"a": [], "b": ["a"]}, group=in_group("ci", cancel_in_progress=True)),
        make_submission({"a": [], "b": ["a"]}, {"b": 2}, group=in_group("ci", queue="max")),
        make_submission({"build": [], "deploy": ["build"]}, job_groups=deploy),
        make_submission({"deploy": []}, {"deploy": 3}, job_groups=deploy, group=in_group("ci")),
        make_submission(
            {"deploy": [], "end": ["deploy"]}, job_groups={"deploy": in_group("deploy", cancel_in_progress=True)}
        ),
        make_submission({"deploy": []}, job_groups={"deploy": in_group("deploy", queue="max")}),
    ]


def _bursts(world: World, scenario: Scenario) -> None:
    """Runs of groups, several at about one time at several nodes."""
    choose = world.random
    shapes = _group_shapes()
    for _ in range(choose.randint(*scenario.submissions)):
        when = choose.uniform(3, scenario.seconds)
        for _ in range(choose.randint(1, 4)):
            body, where = choose.choice(shapes), choose.choice(list(world.nodes.values()))

            def submit(body: dict[str, Value] = body, where: SimNode = where) -> None:
                world.submit(where, body)

            world.at(when + choose.choice((0.0, choose.uniform(0, 0.05), choose.uniform(0, 3))), submit)


def _workload(world: World, scenario: Scenario) -> None:
    choose = world.random
    shapes: list[dict[str, Value]] = [
        make_submission({"one": []}),
        make_submission({"build": [], "test": ["build"], "ship": ["test"]}, {"test": 4}),
        make_submission({"a": [], "b": [], "c": ["a", "b"]}, {"a": 3, "b": 2}, max_parallel=2),
        make_submission({"find": [], "each": ["find"], "sum": ["each"]}, {"each": None}, payload={"legs": {"each": 3}}),
        make_submission(
            {"bad": [], "after": ["bad"], "always": ["bad"]}, payload={"fail": ["bad"], "if": {"always": "always"}}
        ),
    ]
    if scenario.wary:
        always: dict[str, Value] = {"if": {"b": "always", "each": "always"}, "legs": {"each": 3}}
        shapes += [
            make_submission({"a": []}, labels={"a": ["nowhere"]}),
            make_submission({"a": [], "b": ["a"]}, {"a": 3}, labels={"a": ["nowhere"]}, payload=always),
            make_submission({"a": [], "b": ["a"], "each": ["a"]}, {"each": None}, payload=always),
        ]
    if scenario.secrets:
        named: dict[str, Value] = {"secrets": ["TOKEN"]}
        shapes = [{**one, "payload": {**cast("dict[str, Value]", one["payload"]), **named}} for one in shapes]
    for _ in range(choose.randint(*scenario.submissions)):
        when = choose.uniform(3, scenario.seconds)
        body, where = choose.choice(shapes), choose.choice(list(world.nodes.values()))
        priority = choose.choice([1.0, 3.0, 6.0])

        def submit(body: dict[str, Value] = body, where: object = where, priority: float = priority) -> None:
            token = world.submit(where, {**body, "priority": priority})  # type: ignore[arg-type]
            if scenario.wary:
                world.at(choose.uniform(world.time, scenario.seconds), lambda: cancel(token, where))
                world.at(scenario.seconds + 60, lambda: cancel(token, where))
            elif choose.random() < 0.2:
                world.at(world.time + choose.uniform(0.5, 4), lambda: steer(token, where))

        def cancel(token: object, where: object) -> None:
            reply = world.replies.get(token)
            if reply is not None and reply.error is None:
                world.give(where, CancelRun(("cancel", token), run_of(reply)))  # type: ignore[arg-type]

        def steer(token: object, where: object) -> None:
            reply = world.replies.get(token)
            if reply is None or reply.error is not None:
                return
            run = run_of(reply)
            request = CancelRun(("cancel", run), run) if choose.random() < 0.5 else SetPriority(("up", run), run, 1.0)
            world.give(where, request)  # type: ignore[arg-type]

        world.at(when, submit)


def _schedules(world: World, scenario: Scenario) -> None:
    """A few schedules, each removed before the end so that it comes to one."""
    choose = world.random
    for number in range(choose.randint(1, 3)):
        where = choose.choice(list(world.nodes.values()))
        body = make_schedule(choose.randint(10, 25), f"every {number}")

        def add(where: SimNode = where, body: dict[str, Value] = body, number: int = number) -> None:
            world.give(where, AddSchedule(("schedule", number), body))

        def remove(where: SimNode = where, number: int = number) -> None:
            reply = world.replies.get(("schedule", number))
            if reply is not None and reply.error is None:
                world.give(where, RemoveSchedule(("remove", number), parse_cid(reply.result["schedule_id"])))

        world.at(choose.uniform(3, scenario.seconds / 2), add)
        world.at(scenario.seconds, remove)
        world.at(scenario.seconds + 60, remove)


def _secrets(world: World, scenario: Scenario) -> None:
    """A secret that is set a few times, sealed to its author, the only admin, and whoever that happens to be to."""
    choose = world.random
    first, *others = world.nodes.values()

    def set_it(number: int) -> None:
        peers = [first, *(node for node in others if choose.random() < 0.3)]
        place: dict[str, Value] = {"name": "TOKEN", "environment": None}
        boxes: dict[str, Value] = {node.peer: BOX for node in peers}
        body = {**place, "value": bytes(296), "boxes": boxes, "submitters": []}
        world.give(first, WriteSetting(("secret", number), "secret.set", body))

    for number in range(4):
        world.at(choose.uniform(3, scenario.seconds), partial(set_it, number))


def _faults(world: World, scenario: Scenario) -> None:
    choose = world.random
    nodes = list(world.nodes.values())

    def crash() -> None:
        node = choose.choice(nodes)
        if node.engine is not None:
            world.crash(node)
            world.at(world.time + choose.uniform(0.5, 40), lambda: world.restart(node))

    def split() -> None:
        world.partition({node.peer: choose.randint(0, 1) for node in nodes})
        world.at(world.time + choose.uniform(1, 40), world.heal)

    def pause() -> None:
        world.pause(choose.choice(nodes), choose.uniform(1, 30))

    def bury() -> None:
        up = [node for node in nodes if node.engine is not None]
        if len(up) > 2:
            node = choose.choice(up)
            world.crash(node)
            node.gone = True

    def restore() -> None:
        node = choose.choice([node for node in nodes if not node.restored])
        blocks, meta = dict(node.blocks), dict(node.meta)
        node.restored = True

        def submit() -> None:
            world.submit(node, make_submission({"one": []}))

        def lose() -> None:
            world.crash(node)
            node.blocks, node.meta = blocks, {**meta, RESTORED: restored_value(())}
            back = world.time + choose.uniform(1, 20)
            world.at(back, lambda: world.restart(node))
            for _ in range(4):  # it is asked to write as soon as it can
                world.at(back + choose.uniform(0, 3), submit)

        end = world.time + choose.uniform(0.2, 20)
        for _ in range(3):
            world.at(choose.uniform(world.time, end), submit)
        world.at(end - choose.uniform(0, 0.2), submit)
        world.at(end, lose)

    for number, fault in (
        (scenario.gone, bury),
        (scenario.restores, restore),
        (scenario.crashes, crash),
        (scenario.partitions, split),
        (scenario.pauses, pause),
    ):
        for _ in range(number):
            world.at(choose.uniform(4, scenario.seconds), fault)
    if scenario.skew:
        for node in nodes:
            node.skew_wall = choose.randint(-3_600_000, 3_600_000)


def run_seed(name: str, seed: int) -> tuple[World, list[Violation]]:
    """Play one seed of a scenario to its end; returns the world and what was violated."""
    scenario = SCENARIOS[name]
    conditions = Conditions(
        delay=scenario.delay, loss=scenario.loss, duplicate=scenario.duplicate, job_seconds=scenario.job_seconds
    )
    low, high = scenario.nodes
    world = World(seed, nodes=low + seed % (high - low + 1), slots=2, conditions=conditions, wary=scenario.wary)
    (_bursts if scenario.groups else _workload)(world, scenario)
    if scenario.ticks:
        _schedules(world, scenario)
    if scenario.secrets:
        _secrets(world, scenario)
    _faults(world, scenario)
    world.run(BIRTH)
    conditions.crash_between = scenario.crash_between
    world.run(scenario.seconds + 50)
    conditions.crash_between = conditions.loss = conditions.duplicate = 0.0
    world.heal()
    for node in world.nodes.values():
        world.restart(node)
    world.run(scenario.seconds + 50 + PEACE, stop=lambda: _settled(world))
    return world, check(world, scenario.exclusive)


def _settled(world: World) -> bool:
    engines = [node.engine for node in world.nodes.values() if not node.gone]
    if any(engine is None for engine in engines) or any(node.paused for node in world.nodes.values()):
        return False
    digests = {engine.desk.clock.dag.digest() for engine in engines if engine is not None}
    ended = all(not engine.desk.active for engine in engines if engine is not None)
    return ended and len(digests) == 1 and all(not node.jobs for node in world.nodes.values())
