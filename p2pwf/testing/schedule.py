"""From a seed to a judged history, in one call. `scripts/sim --scenario NAME --seed N` replays a failing one."""

from __future__ import annotations

from p2pwf.testing.draw import draw
from p2pwf.testing.oracle import Violation
from p2pwf.testing.player import play
from p2pwf.testing.scenarios import SCENARIOS, Scenario
from p2pwf.testing.sim import World

__all__ = ["SCENARIOS", "Scenario", "run_seed"]


def run_seed(name: str, seed: int) -> tuple[World, list[Violation]]:
    """Play one seed of a scenario to its end; returns the world and what was violated."""
    return play(draw(name, seed))
