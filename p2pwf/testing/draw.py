"""From a scenario and a seed to a plan: what is submitted, what breaks, when and where. The seed decides all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final

from p2pwf.testing.hostile import LIES
from p2pwf.testing.plan import Action, Plan
from p2pwf.testing.scenarios import SCENARIOS, STALL, Scenario
from p2pwf.testing.shapes import GROUPED, NOWHERE, PLAIN

EARLY: Final = 3.0
"""Seconds after which work is submitted, and a second later things break."""
HOUR_MS: Final = 3_600_000
SECRETS_SET: Final = 4
LIES_TOLD: Final = 24
"""By each hostile machine."""


def draw(name: str, seed: int, scenarios: Mapping[str, Scenario] = SCENARIOS) -> Plan:
    """The plan of one seed of a scenario; equal for equal seeds, on any machine."""
    scenario = scenarios[name]
    choose = Random(f"plan {seed}")
    low, high = scenario.nodes
    machines = low + seed % (high - low + 1)
    wary = frozenset(n for n in range(machines) if scenario.wary and choose.random() < scenario.wary)
    skews = [choose.randint(-HOUR_MS, HOUR_MS) for _ in range(machines)] if scenario.skew else []
    rates = [choose.uniform(0.99, 1.01) for _ in range(machines)] if scenario.skew else []
    actions = [*_work(choose, scenario, machines), *_faults(choose, scenario, machines)]
    return Plan(name, seed, machines, tuple(actions), wary, tuple(skews), tuple(rates))


def _work(choose: Random, scenario: Scenario, machines: int) -> Iterator[Action]:
    yield from (_bursts if scenario.groups else _runs)(choose, scenario, machines)
    if scenario.ticks:
        yield from _schedules(choose, scenario, machines)
    if scenario.secrets:
        yield from _secrets(choose, scenario, machines)


def _runs(choose: Random, scenario: Scenario, machines: int) -> Iterator[Action]:
    shapes = [*PLAIN, *(NOWHERE if scenario.wary else ())]
    count = choose.randint(*scenario.submissions)
    for number in range(count):
        at, where = choose.uniform(EARLY, scenario.seconds), choose.randrange(machines)
        submit = {"number": number, "shape": choose.choice(shapes), "priority": choose.choice([1.0, 3.0, 6.0])}
        if scenario.secrets:
            submit["secrets"] = ["TOKEN"]
        yield Action(at, "submit", where, submit)
        if scenario.wary:
            yield Action(choose.uniform(at, scenario.seconds), "cancel", where, {"number": number})
            yield Action(scenario.seconds + 60, "cancel", where, {"number": number})
        elif choose.random() < 0.2:
            steer = choose.choice(("cancel", "hasten"))
            yield Action(at + choose.uniform(0.5, 4), steer, where, {"number": number})
    for number in range(count, count + scenario.reruns):
        again = {"number": number, "of": choose.randrange(count), "failed": choose.random() < 0.5}
        yield Action(choose.uniform(EARLY + 10, scenario.seconds + 20), "rerun", choose.randrange(machines), again)


def _bursts(choose: Random, scenario: Scenario, machines: int) -> Iterator[Action]:
    """Runs of groups, several at about one time at several nodes."""
    number = 0
    for _ in range(choose.randint(*scenario.submissions)):
        when = choose.uniform(EARLY, scenario.seconds)
        for _ in range(choose.randint(1, 4)):
            at = when + choose.choice((0.0, choose.uniform(0, 0.05), choose.uniform(0, 3)))
            args = {"number": number, "shape": choose.choice(list(GROUPED)), "priority": 3.0}
            yield Action(at, "submit", choose.randrange(machines), args)
            number += 1


def _schedules(choose: Random, scenario: Scenario, machines: int) -> Iterator[Action]:
    """A few schedules, each removed before the end so that it comes to one."""
    for number in range(choose.randint(1, 3)):
        where = choose.randrange(machines)
        at = choose.uniform(EARLY, scenario.seconds / 2)
        yield Action(at, "schedule", where, {"number": number, "every": choose.randint(10, 25)})
        for at in (scenario.seconds, scenario.seconds + 60):
            yield Action(at, "unschedule", where, {"number": number})


def _secrets(choose: Random, scenario: Scenario, machines: int) -> Iterator[Action]:
    """A secret that is set a few times, sealed to its author, an admin, and whoever that happens to be to."""
    for number in range(SECRETS_SET):
        boxes = [n for n in range(1, machines) if choose.random() < 0.3]
        yield Action(choose.uniform(EARLY, scenario.seconds), "secret", 0, {"number": number, "boxes": boxes})


Drawn = Callable[[Random, Scenario, int, float], Iterator[Action]]
"""One fault of a kind: from the time at which it falls, and the number of machines."""


def _faults(choose: Random, scenario: Scenario, machines: int) -> Iterator[Action]:
    for count, fault in (
        (scenario.gone, _bury),
        (scenario.restores, _restore),
        (scenario.forks, _fork),
        (scenario.crashes, _crash),
        (scenario.partitions, _split),
        (scenario.one_way, _block),
        (scenario.pauses, _pause),
        (scenario.stalls, _stall),
        (scenario.jumps, _jump),
        (scenario.full_disks, _fill),
        (scenario.slow_disks, _slow),
        (scenario.joins, _join),
        (scenario.removals, _remove),
        (scenario.leaves, _leave),
        (scenario.checkpoints, _checkpoint),
        (scenario.hostile, _lie),
    ):
        for _ in range(count):
            yield from fault(choose, scenario, machines, choose.uniform(EARLY + 1, scenario.seconds))


def _bury(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    yield Action(at, "bury", choose.randrange(machines))


def _crash(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    yield Action(at, "crash", choose.randrange(machines), {"seconds": choose.uniform(0.5, 40)})


def _split(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    cells = [choose.randint(0, 1) for _ in range(machines)]
    yield Action(at, "split", 0, {"cells": cells, "seconds": choose.uniform(1, 40)})


def _block(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    """Some machines are heard by none of the others, or hear none of them."""
    deaf = [n for n in range(machines) if choose.random() < 0.4]
    args = {"machines": deaf, "hears": choose.random() < 0.5, "seconds": choose.uniform(1, 40)}
    yield Action(at, "block", 0, args)


def _pause(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    yield Action(at, "pause", choose.randrange(machines), {"seconds": choose.uniform(1, 30)})


def _stall(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    yield Action(at, "pause", choose.randrange(machines), {"seconds": choose.uniform(0.1, STALL)})


def _jump(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    yield Action(at, "jump", choose.randrange(machines), {"ms": choose.randint(-24 * HOUR_MS, 24 * HOUR_MS)})


def _fill(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    yield Action(at, "fill", choose.randrange(machines), {"seconds": choose.uniform(1, 30)})


def _slow(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    args = {"commit": choose.uniform(0.01, 1.0), "seconds": choose.uniform(5, 40)}
    yield Action(at, "slow", choose.randrange(machines), args)


def _join(choose: Random, _: Scenario, __: int, at: float) -> Iterator[Action]:
    yield Action(at, "join", choose.randrange(2))


def _remove(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    args = {"member": choose.randrange(1, machines), "keep_runs": choose.random() < 0.5}
    yield Action(at, "remove", choose.randrange(2), args)


def _leave(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    yield Action(at, "leave", choose.randrange(1, machines))


def _checkpoint(choose: Random, _: Scenario, __: int, at: float) -> Iterator[Action]:
    yield Action(at, "checkpoint", choose.randrange(2))


def _lie(choose: Random, scenario: Scenario, machines: int, at: float) -> Iterator[Action]:
    """A member that has had enough: from then on it lies, and equivocates at last."""
    where = choose.randrange(1, machines)
    yield Action(at, "turn", where)
    for _ in range(LIES_TOLD):
        yield Action(choose.uniform(at, scenario.seconds + 20), "lie", where, {"lie": choose.choice(list(LIES))})


def _old_disk(choose: Random, where: int, at: float, told: bool) -> Iterator[Action]:
    """A machine writes, loses its disk, and comes back on an older copy; it is asked to write as soon as it can."""
    lost = at + choose.uniform(0.2, 20)
    back = lost + choose.uniform(1, 20)
    yield Action(at, "backup", where)
    times = [choose.uniform(at, lost) for _ in range(3)] + [lost - choose.uniform(0, 0.2)]
    times += [back + choose.uniform(0, 3) for _ in range(4)]
    for count, when in enumerate(times):
        yield Action(when, "submit", where, {"number": 1000 * (where + 1) + count, "shape": "one", "priority": 3.0})
    yield Action(lost, "lose", where, {"told": told})
    yield Action(back, "back", where)


def _restore(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    yield from _old_disk(choose, choose.randrange(machines), at, told=True)


def _fork(choose: Random, _: Scenario, machines: int, at: float) -> Iterator[Action]:
    yield from _old_disk(choose, choose.randrange(1, machines), at, told=False)
