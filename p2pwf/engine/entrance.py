"""How much work a node takes in: whoever submits is told to wait before memory and time run out, not after.

What others submit comes in as events, which nobody can refuse; so a node that holds too many open runs refuses those
of its own user, if they are more than its share. So one member's flood keeps nobody else out, and a network of
well-behaved members holds at most twice MAX_OPEN.
"""

from __future__ import annotations

from typing import Final

from p2pwf.engine.desk import Desk
from p2pwf.errors import Overloaded

MAX_OPEN: Final = 10_000
"""Open runs known here from which on a member may have its share of them only: each costs some 20 KB, and a look at all
of them is what a loop can do within a second."""
MAX_UNACKNOWLEDGED: Final = 512
"""Submissions that wait for a second copy: what a node commits in the quarter of a second that each may wait."""


COUNT_EVERY: Final = 1.0
"""Seconds for which a count of own runs holds while as many are open: looking at 10,000 takes a millisecond, and who is
refused comes again."""


class Entrance:
    """Counts what is open; decides nothing else."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._own = 0
        self._counted = -1, 0.0

    def check(self, unacknowledged: int) -> None:
        """Raise Overloaded unless this node takes one more submission now."""
        if unacknowledged >= MAX_UNACKNOWLEDGED:
            raise Overloaded(
                f"{unacknowledged} submissions wait for their second copy", "submit less at a time, and try again"
            )
        count = len(self._desk.active)
        if count < MAX_OPEN:
            return
        share = MAX_OPEN // max(1, len(self._desk.roster.members))
        own = self._count_own()
        if own >= share:
            raise Overloaded(
                f"{count} runs are open, {own} of them submitted here, where {share} may be",
                "wait until some have ended, or cancel some: `p2pwf workflow list --status pending`",
            )

    def _count_own(self) -> int:
        count, now = len(self._desk.active), self._desk.now.mono
        if count != self._counted[0] or now - self._counted[1] >= COUNT_EVERY:
            self._own = sum(run.submitter == self._desk.me for run in self._desk.active.values())
            self._counted = count, now
        return self._own
