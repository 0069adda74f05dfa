"""What may go wrong in a history, by name: the faults, how many of each, and for how long. Values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

BIRTH: Final = 3.0
"""Simulated seconds in which nothing breaks: a peer whose admission failed would be no member at all."""
HEALED: Final = 50.0
"""Simulated seconds after the last fault is drawn: by then each has passed, and what is left of them is ended."""
PEACE: Final = 240.0
"""Simulated seconds after the last fault within which every run must end: several doublings of the lease."""


STALL: Final = 3.0
"""Simulated seconds that a process may stand still without being taken for dead: the lease less two beats' time."""
DAY: Final = 86_400.0


@attrs.frozen(slots=True)
class Scenario:
    """What may go wrong, and for how long (simulated seconds)."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: tuple[float, float] = (0.001, 0.02)
    crashes: int = 0
    partitions: int = 0
    one_way: int = 0
    """Partitions in which messages pass in one direction only."""
    pauses: int = 0
    stalls: int = 0
    """Times that a process stands still for up to STALL: a garbage collector, a busy machine."""
    skew: bool = False
    """Whether wall clocks are off by up to an hour, and monotonic ones run by up to 1 % too fast or slow."""
    jumps: int = 0
    """Times that a wall clock is set, by up to a day."""
    full_disks: int = 0
    slow_disks: int = 0
    crash_between: float = 0.0
    job_seconds: tuple[float, float] = (0.2, 5.0)
    gone: int = 0
    """Machines that die for good."""
    restores: int = 0
    """Machines that lose their disk and come back on an older copy of it, under their old id."""
    forks: int = 0
    """The same, by hand: the machine is not told that its disk is an old one."""
    joins: int = 0
    removals: int = 0
    """Members that an admin removes."""
    leaves: int = 0
    hostile: int = 0
    """Members that have no engine and write what they like; see `hostile`."""
    seconds: float = 60.0
    nodes: tuple[int, int] = (3, 6)
    submissions: tuple[int, int] = (2, 5)
    reruns: int = 0
    groups: bool = False
    """Whether the runs and jobs are in concurrency groups, and come in bursts."""
    ticks: bool = False
    """Whether members have schedules, due every some seconds."""
    secrets: bool = False
    """Whether jobs name secrets that are sealed to some of the peers at first."""
    checkpoints: int = 0
    """Times that an admin has everything pruned that has ended by then."""
    history_days: int = 0
    """The days of history that admins keep."""
    haste: float = 1.0
    """How many times faster wall clocks go than everything else."""
    wary: float = 0.0
    """The chance of each machine that it runs its own runs only; every run is then cancelled at some time, since it may
    be that nobody runs it."""

    @property
    def exclusive(self) -> bool:
        """Whether nothing here excuses two peers running one job at the same time."""
        return not (self.partitions or self.one_way or self.pauses or self.removals or self.hostile or self.forks)

    @property
    def steady(self) -> bool:
        """Whether nobody is ever gone for longer than STALL: then any takeover of what is silent is a false one."""
        dead = self.crashes or self.gone or self.restores or self.full_disks or self.crash_between
        parted = self.removals or self.leaves or self.joins
        return self.exclusive and not (dead or parted)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "calm": Scenario(reruns=2),
    "groups": Scenario(groups=True, submissions=(4, 8), job_seconds=(0.2, 8.0)),
    "groups-crash": Scenario(groups=True, submissions=(4, 8), crashes=3),
    "wary": Scenario(wary=0.6, loss=0.02, crashes=1),
    "ticks": Scenario(ticks=True, loss=0.05, submissions=(1, 2)),
    "ticks-crash": Scenario(ticks=True, crashes=3, partitions=1, submissions=(1, 2)),
    "secrets": Scenario(secrets=True, loss=0.05, crashes=3, partitions=1, submissions=(4, 8)),
    "loss": Scenario(loss=0.1, duplicate=0.1, delay=(0.001, 0.2)),
    "crash": Scenario(loss=0.02, crashes=4, reruns=1),
    "long": Scenario(loss=0.02, crashes=1, nodes=(5, 6), job_seconds=(5.0, 40.0)),
    "gone": Scenario(loss=0.02, gone=1, nodes=(4, 6), submissions=(4, 8)),
    "alone": Scenario(partitions=3, gone=1, nodes=(4, 6), submissions=(10, 16)),
    "restored": Scenario(loss=0.1, delay=(0.001, 0.3), restores=1, partitions=1),
    "torn": Scenario(crash_between=0.003),
    "partition": Scenario(loss=0.02, partitions=2),
    "one-way": Scenario(one_way=2),
    "pause": Scenario(pauses=3),
    "busy": Scenario(
        loss=0.05, delay=(0.001, 0.2), stalls=150, slow_disks=6, skew=True, seconds=600.0, nodes=(4, 6),
        submissions=(14, 18), job_seconds=(5.0, 40.0),
    ),
    "skew": Scenario(skew=True, jumps=3, loss=0.05, crashes=1),
    "disks": Scenario(full_disks=2, slow_disks=2, crashes=1),
    "members": Scenario(
        joins=3, removals=1, leaves=1, loss=0.1, delay=(0.001, 0.5), crashes=1, nodes=(4, 6), submissions=(8, 12)
    ),
    "forked": Scenario(forks=1, nodes=(4, 6), loss=0.02),
    "hostile": Scenario(hostile=1, nodes=(4, 6), submissions=(6, 10), job_seconds=(1.0, 10.0)),
    "pruned": Scenario(
        checkpoints=6, loss=0.05, delay=(0.001, 0.3), crashes=4, partitions=1, joins=2, reruns=1, submissions=(6, 10)
    ),
    "pruned-restored": Scenario(checkpoints=6, loss=0.05, crashes=2, partitions=1, restores=2, submissions=(6, 10)),
    "pruned-members": Scenario(
        checkpoints=6, loss=0.05, crashes=2, joins=2, removals=1, leaves=1, full_disks=1, slow_disks=1,
        crash_between=0.001, nodes=(4, 6), submissions=(6, 10),
    ),
    "months": Scenario(
        history_days=7, haste=DAY, seconds=150.0, submissions=(20, 25), crashes=4, joins=2, partitions=1, nodes=(3, 4),
        loss=0.02,
    ),
    "large": Scenario(nodes=(20, 40), submissions=(4, 8), crashes=4, gone=2, seconds=30.0),
    "storm": Scenario(
        loss=0.1, duplicate=0.05, delay=(0.001, 0.3), crashes=4, partitions=2, pauses=2, skew=True, crash_between=0.001
    ),
    "hurricane": Scenario(
        loss=0.1, duplicate=0.05, delay=(0.001, 0.3), crashes=3, partitions=1, one_way=1, pauses=1, skew=True,
        jumps=1, full_disks=1, slow_disks=1, joins=1, removals=1, crash_between=0.001, nodes=(4, 6), reruns=1,
    ),
}  # fmt: skip
