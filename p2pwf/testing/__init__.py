"""The test kit, a public part: the production engine under a seeded simulator of whole networks, on a virtual clock."""

from p2pwf.testing.machines import SimNode
from p2pwf.testing.oracle import Violation, check
from p2pwf.testing.planner import SimPlanner, make_submission
from p2pwf.testing.schedule import SCENARIOS, Scenario, run_seed
from p2pwf.testing.sim import World

__all__ = [
    "SCENARIOS",
    "Scenario",
    "SimNode",
    "SimPlanner",
    "Violation",
    "World",
    "check",
    "make_submission",
    "run_seed",
]
