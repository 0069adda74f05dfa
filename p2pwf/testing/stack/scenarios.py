"""What may go wrong in a history of real nodes, by name. Values, of the kind that `testing.scenarios` has.

Left out are what a process cannot do to itself: to be stopped with its clock running on (`pauses`), to write with a
stolen key or an old disk (`restores`, `forks`, `hostile`). Schedules are due by the minute: the core level sees ticks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from p2pwf.testing.scenarios import Scenario

HEALED: Final = 15.0
"""Simulated seconds after the last fault is drawn: what has not passed by itself then is ended."""

_BASE: Final = Scenario(seconds=30.0, nodes=(3, 5), delay=(0.001, 0.03), submissions=(3, 6))

STACK: Final[Mapping[str, Scenario]] = {
    "calm": attrs.evolve(_BASE, reruns=2),
    "loss": attrs.evolve(_BASE, loss=0.1, delay=(0.001, 0.2)),
    "crash": attrs.evolve(_BASE, loss=0.02, crashes=4, reruns=1),
    "gone": attrs.evolve(_BASE, loss=0.02, gone=1, nodes=(4, 5)),
    "groups": attrs.evolve(_BASE, groups=True, crashes=2, submissions=(2, 4)),
    "wary": attrs.evolve(_BASE, wary=0.6, loss=0.02, crashes=1),
    "partition": attrs.evolve(_BASE, loss=0.02, partitions=2),
    "one-way": attrs.evolve(_BASE, one_way=2),
    "skew": attrs.evolve(_BASE, skew=True, jumps=3, loss=0.05, crashes=1),
    "disks": attrs.evolve(_BASE, full_disks=2, slow_disks=2, crashes=1),
    "torn": attrs.evolve(_BASE, slow_disks=5, crashes=5, submissions=(8, 12), nodes=(3, 4)),
    "members": attrs.evolve(_BASE, joins=2, removals=1, leaves=1, loss=0.02, crashes=1, nodes=(4, 5)),
    "storm": attrs.evolve(
        _BASE, loss=0.1, delay=(0.001, 0.3), crashes=3, partitions=1, one_way=1, skew=True, jumps=1,
        full_disks=1, slow_disks=1, joins=1, removals=1, reruns=1,
    ),
}  # fmt: skip
