"""The two levels at which plans are played, by one face: networks of engines, and networks of whole nodes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import attrs

from p2pwf.testing import player
from p2pwf.testing.draw import draw
from p2pwf.testing.oracle import Violation
from p2pwf.testing.plan import Plan
from p2pwf.testing.scenarios import SCENARIOS, Scenario

REAL_TIME: Final = time.perf_counter
"""Taken before a history of whole nodes puts its own clock in the place of it."""


class Played(Protocol):
    """What figures need of a world at its end."""

    @property
    def steps(self) -> int: ...
    @property
    def time(self) -> float: ...
    def fingerprint(self) -> str: ...


@attrs.frozen(slots=True)
class Level:
    """What is played, and how. `flag`: what `scripts/sim` takes for it."""

    flag: str
    scenarios: Mapping[str, Scenario]
    play: Callable[[Plan], tuple[Played, list[Violation]]]
    tries: int
    """Histories that the shrinking of one may play."""

    def draw(self, name: str, seed: int) -> Plan:
        """The plan of one seed of a scenario."""
        return draw(name, seed, self.scenarios)


def engines() -> Level:
    """Networks of engines, under the simulated shell of `sim`."""
    return Level("", SCENARIOS, player.play, tries=300)


def nodes() -> Level:
    """Networks of whole nodes. Importing libp2p takes seconds, so only who asks for it does."""
    from p2pwf.testing.stack import player as of_nodes
    from p2pwf.testing.stack.scenarios import STACK

    return Level("--full ", STACK, of_nodes.play, tries=30)


@attrs.frozen(slots=True, kw_only=True)
class Figures:
    """What some seeds of one scenario came to. `seconds` are real ones, `virtual` simulated ones."""

    scenario: str
    seeds: int = 0
    violating: tuple[int, ...] = ()
    steps: int = 0
    virtual: float = 0.0
    seconds: float = 0.0
    last_fingerprint: str = ""

    def and_of(self, other: Figures) -> Figures:
        """The figures of both."""
        return Figures(
            scenario=self.scenario,
            seeds=self.seeds + other.seeds,
            violating=(*self.violating, *other.violating),
            steps=self.steps + other.steps,
            virtual=self.virtual + other.virtual,
            seconds=self.seconds + other.seconds,
            last_fingerprint=other.last_fingerprint,
        )

    def to_json(self) -> str:
        """One line."""
        told: dict[str, Any] = {
            "scenario": self.scenario,
            "seeds": self.seeds,
            "violating": list(self.violating),
            "steps": self.steps,
            "simulated_seconds": round(self.virtual),
            "seconds": round(self.seconds, 1),
            "speedup": round(self.virtual / max(self.seconds, 0.001)),
            "last_fingerprint": self.last_fingerprint,
        }
        return json.dumps(told)


def measure(
    level: Level, name: str, seeds: Iterable[int], failed: Callable[[Plan, list[Violation]], None] | None = None
) -> Figures:
    """Play seeds of a scenario. `failed` is told of each plan that violated something, and what."""
    found = Figures(scenario=name)
    for seed in seeds:
        started = REAL_TIME()
        plan = level.draw(name, seed)
        world, violations = level.play(plan)
        if violations and failed is not None:
            failed(plan, violations)
        one = Figures(
            scenario=name,
            seeds=1,
            violating=(seed,) if violations else (),
            steps=world.steps,
            virtual=world.time,
            seconds=REAL_TIME() - started,
            last_fingerprint=world.fingerprint()[:16],
        )
        found = found.and_of(one)
    return found
