"""Which runs are looked at again though nothing new of theirs came in: when time alone, or a peer, may matter to them.

A node may hold thousands of open runs, and peers come and go all the time: so a change of one peer concerns only the
runs that it owns something of or has submitted, and those that lack an owner; and one tick looks at no more than so
many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from p2pwf.core.ids import Cid, PeerId
from p2pwf.roster import Roster
from p2pwf.runs import Run

IDLE_LOOK: Final = 30.0
"""Seconds after which a run is looked at even if nothing is known to come due."""
LOOKS_AT_ONCE: Final = 500
"""Runs looked at in one tick: some 50 ms; the others have to wait for the next one."""
NOBODY: Final = PeerId("")
"""Stands for the owner that something lacks."""


class Attention:
    """Kept for open runs; `forget` one that has ended."""

    def __init__(self) -> None:
        self._next: dict[Cid, float] = {}
        self._peers: dict[Cid, frozenset[PeerId]] = {}
        self._runs: dict[PeerId, dict[Cid, None]] = {}
        self._aside: dict[Cid, float] = {}
        self._since: dict[Cid, dict[str, float]] = {}

    def looked(self, run: Run, until: float, peers: Iterable[PeerId]) -> None:
        """A run was looked at, and need not be before `until` but for one of `peers`: owners of what is open (NOBODY
        where there is none) and the submitter."""
        self._next[run.id] = until
        now, before = frozenset(peers), self._peers.get(run.id, frozenset())
        if now == before:
            return
        self._peers[run.id] = now
        for peer in before - now:
            del self._runs[peer][run.id]
        for peer in now - before:
            self._runs.setdefault(peer, {})[run.id] = None

    def of(self, peer: PeerId) -> list[Cid]:
        """The runs that a peer concerns."""
        return list(self._runs.get(peer, ()))

    def due(self, active: Mapping[Cid, Run], now: float) -> list[Run]:
        """The runs whose time has come, those that wait longest first if they are too many for one tick."""
        waiting = [(when, run) for cid, run in active.items() if (when := self._next.get(cid, 0.0)) <= now]
        if len(waiting) > LOOKS_AT_ONCE:
            waiting.sort(key=lambda one: one[0])
        return [run for _, run in islice(waiting, LOOKS_AT_ONCE)]

    def peer_changed(self, peer: PeerId) -> None:
        """A peer came or went: what it concerns, and what lacks an owner, is to be looked at with the next tick."""
        for cid in (*self._runs.get(peer, ()), *self._runs.get(NOBODY, ())):
            self._next[cid] = 0.0

    def members_changed(self, before: Roster, after: Roster, me: PeerId) -> list[Cid]:
        """The roster is another: the runs to be looked at right now; the others that it may matter to are with the next
        ticks."""
        old, new = before.members, after.members
        changed = [peer for peer in old.keys() | new.keys() if old.get(peer) != new.get(peer)]
        if me in changed:
            self._next = dict.fromkeys(self._next, 0.0)
        at_once: dict[Cid, None] = {}
        for peer in changed:
            self.peer_changed(peer)
            if peer not in new or (peer in old and old[peer].roles - new[peer].roles):
                at_once.update(self._runs.get(peer, {}))
        return list(at_once)

    def set_aside(self, run: Run, until: float) -> None:
        """A run could not be dealt with: it is left alone for a while, whatever comes in of it."""
        self._aside[run.id] = self._next[run.id] = until

    def is_aside(self, run: Run, now: float) -> bool:
        return self._aside.get(run.id, 0.0) > now

    def since(self, run: Run, what: str, now: float) -> float:
        """Since when something is so of a run: `now`, if it is asked for the first time."""
        return self._since.setdefault(run.id, {}).setdefault(what, now)

    def forget(self, run: Run) -> None:
        """A run has ended."""
        for table in (self._next, self._aside, self._since):
            table.pop(run.id, None)
        for peer in self._peers.pop(run.id, ()):
            del self._runs[peer][run.id]
            if not self._runs[peer]:
                del self._runs[peer]
