"""The seam: `Engine.handle(input, now) -> list[Output]`. All of a node's decisions, and none of its I/O."""

from p2pwf.engine.config import Beside, EngineConfig, Planner
from p2pwf.engine.engine import Engine, found

__all__ = ["Beside", "Engine", "EngineConfig", "Planner", "found"]
