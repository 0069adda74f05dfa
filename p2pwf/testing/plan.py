"""A fault schedule as data: what is done to a world, and when. JSON in and out, so that a shrunk one can be kept.

Nothing here is random: `draw` makes a plan from a seed, `player` performs it, `shrink` takes parts of it away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs


@attrs.frozen(slots=True)
class Action:
    """One thing that is done: `kind` is the name of a method of `player.Player`, `machine` a number from 0."""

    at: float
    """Simulated seconds."""
    kind: str
    machine: int
    args: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(slots=True)
class Plan:
    """A history's seed (for the weather), its machines, and what is done to them, in any order."""

    scenario: str
    seed: int
    machines: int
    actions: Sequence[Action]
    wary: frozenset[int] = frozenset()
    """Machines that run nothing but what they submitted themselves."""
    skews: Sequence[int] = ()
    """By machine, how far its wall clock is off, in ms."""
    rates: Sequence[float] = ()
    """By machine, how fast its monotonic clock runs."""

    def to_json(self) -> str:
        """One line of JSON; floats are written so that they read back as they were."""
        return json.dumps(
            {
                "scenario": self.scenario,
                "seed": self.seed,
                "machines": self.machines,
                "wary": sorted(self.wary),
                "skews": list(self.skews),
                "rates": list(self.rates),
                "actions": [{"at": one.at, "do": one.kind, "machine": one.machine, **one.args} for one in self.actions],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        read = json.loads(text)
        actions = [
            Action(entry.pop("at"), entry.pop("do"), entry.pop("machine"), entry) for entry in read.pop("actions")
        ]
        lists = {name: tuple(value) for name, value in read.items() if isinstance(value, list)}
        return cls(**{**read, **lists, "actions": tuple(actions), "wary": frozenset(read["wary"])})
