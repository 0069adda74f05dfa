"""Makes a failing history smaller: actions are taken away while the same invariant is still violated.

Method: delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002), by halves,
quarters and so on, to a plan of which no single action can go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import attrs

from p2pwf.testing.oracle import Violation
from p2pwf.testing.plan import Action, Plan
from p2pwf.testing.player import play as play_engines

TRIES: Final = 300
"""Histories that a shrinking plays at most: some minutes."""


Play: TypeAlias = Callable[[Plan], tuple[object, list[Violation]]]


def shrink(plan: Plan, violations: Sequence[Violation], tries: int = TRIES, play: Play = play_engines) -> Plan:
    """A smaller plan that violates one of the same invariants when it is played; `plan` itself if there is none."""
    wanted = {one.invariant for one in violations}
    left = tries

    def fails(actions: Sequence[Action]) -> bool:
        nonlocal left
        if left <= 0:
            return False
        left -= 1
        _, found = play(attrs.evolve(plan, actions=tuple(actions)))
        return any(one.invariant in wanted for one in found)

    return attrs.evolve(plan, actions=tuple(_smallest(list(plan.actions), fails)))


def _smallest(actions: list[Action], fails: Callable[[Sequence[Action]], bool]) -> list[Action]:
    parts = 2
    while len(actions) > 1:
        size = -(-len(actions) // parts)
        for start in range(0, len(actions), size):
            rest = actions[:start] + actions[start + size :]
            if rest and fails(rest):
                actions, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(actions), parts * 2)
    return actions
