"""Events that wait for their links, bounded. Knows no rule; it only counts, keeps, and lets go. Time is an argument.

An event whose links are not all here waits until they are. Who signed it says nothing of who floods, since keys cost
nothing: so what waits is counted for the peer that sent it. Each has a share, and when the whole is full the peer with
the most makes room, so that a flood pushes out the flooder's own. Ids that are missing are asked for in turns too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeAlias

import attrs

from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId

MAX_PENDING = 8192
"""Events in the pool: a few chunks of a sync that overtook one another."""
MAX_PENDING_BYTES = 32 * 1024 * 1024
MAX_PER_SENDER = 1024
"""From one peer: an eighth of the pool, two messages full of events."""
MAX_SENDER_BYTES = 4 * 1024 * 1024
"""From one peer: more than the four largest events."""
KEPT = 120.0
"""Seconds that an event waits: links are asked for every few seconds, and what is let go comes with a sync again."""
ASK_AGAIN = 2.0
"""Seconds after which a missing event is asked for once more."""

Sender: TypeAlias = PeerId | None


@attrs.frozen(slots=True, eq=False)
class _Waiter:
    event: Event
    absent: set[Cid]
    sender: Sender
    since: float


@attrs.define(slots=True, eq=False)
class _Share:
    """What waits from one sender. `asked`: the ids that it waits for, by when they were asked for (never: minus
    infinity), the ones longest ago first; `needs`: how many of its events wait for each."""

    events: OrderedDict[Cid, None] = attrs.field(factory=OrderedDict)
    size: int = 0
    asked: OrderedDict[Cid, float] = attrs.field(factory=OrderedDict)
    needs: dict[Cid, int] = attrs.field(factory=dict)


class Pending:
    """The pool. `dropped` counts what made room, waited too long, or stood on what was refused."""

    def __init__(self) -> None:
        self._events: OrderedDict[Cid, _Waiter] = OrderedDict()
        self._shares: dict[Sender, _Share] = {}
        self._waiting: dict[Cid, set[Cid]] = {}
        """Of each missing id, the events that wait for it."""
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    def __contains__(self, cid: object) -> bool:
        return cid in self._events

    def add(self, event: Event, missing: Iterable[Cid], sender: Sender = None, now: float = 0.0) -> None:
        """Let `event`, whose signature is good, wait for `missing`; `sender` sent it at `now` (monotonic seconds).

        The oldest of its sender, then of the sender that has the most, make room."""
        if event.cid in self._events:
            return
        waiter = self._events[event.cid] = _Waiter(event, set(missing), sender, now)
        self._count(waiter)
        self._bytes += len(event.signed.block)
        for cid in waiter.absent:
            self._waiting.setdefault(cid, set()).add(event.cid)
        share = self._shares[sender]
        while len(share.events) > MAX_PER_SENDER or share.size > MAX_SENDER_BYTES:
            self._drop(next(iter(share.events)))
        while len(self._events) > MAX_PENDING:
            self._drop(next(iter(max(self._shares.values(), key=lambda one: len(one.events)).events)))
        while self._bytes > MAX_PENDING_BYTES:
            self._drop(next(iter(max(self._shares.values(), key=lambda one: one.size).events)))

    def again(self, cid: Cid, sender: Sender) -> None:
        """Another peer sends what waits: it is counted for whoever of the two has less, so that nobody's flood takes
        along what others sent too."""
        waiter = self._events[cid]
        share = self._shares.get(sender)
        if (0 if share is None else len(share.events)) + 1 < len(self._shares[waiter.sender].events):
            self._uncount(waiter)
            self._events[cid] = attrs.evolve(waiter, sender=sender)
            self._count(self._events[cid])

    def ask(self, now: float, limit: int, sender: Sender) -> tuple[Cid, ...]:
        """At most `limit` missing ids that events of `sender` wait for and that were not asked for of late; they count
        as asked for. Cost: what is returned, and what waits here itself."""
        share = self._shares.get(sender)
        return () if share is None else tuple(self._due(share, now, limit))

    def ask_in_turns(self, now: float, limit: int) -> tuple[Cid, ...]:
        """The same of events of all senders, as many from each as from any other that misses as much."""
        found: dict[Cid, None] = {}
        shares = sorted(self._shares.values(), key=lambda share: len(share.asked))
        for number, share in enumerate(shares):
            fair = max(1, (limit - len(found)) // (len(shares) - number))
            found.update(dict.fromkeys(self._due(share, now, min(fair, limit - len(found)))))
        return tuple(found)

    def _due(self, share: _Share, now: float, limit: int) -> list[Cid]:
        found: list[Cid] = []
        while share.asked and len(found) < limit:
            cid, asked = next(iter(share.asked.items()))
            if now - asked < ASK_AGAIN:
                break
            share.asked[cid] = now
            share.asked.move_to_end(cid)
            if cid not in self._events:
                found.append(cid)
        return found

    def arrived(self, cid: Cid) -> list[tuple[Event, Sender]]:
        """The events that waited for nothing but `cid`, with who sent them, taken out of the pool."""
        ready = []
        for one in self._waiting.pop(cid, ()):
            waiter = self._events[one]
            waiter.absent.discard(cid)
            self._need_no_more(self._shares[waiter.sender], cid)
            if not waiter.absent:
                self._remove(one)
                ready.append((waiter.event, waiter.sender))
        return ready

    def refused(self, cid: Cid) -> int:
        """`cid` will never be accepted: drop what waits for it, and what waits for that; returns how many."""
        count = 0
        doomed = list(self._waiting.get(cid, ()))
        while doomed:
            waiter = doomed.pop()
            if waiter in self._events:
                doomed.extend(self._waiting.get(waiter, ()))
                self._drop(waiter)
                count += 1
        return count

    def expire(self, now: float) -> None:
        """Let go of what has waited for KEPT seconds."""
        while self._events:
            oldest = next(iter(self._events.values()))
            if now - oldest.since < KEPT:
                break
            self._drop(oldest.event.cid)

    def _count(self, waiter: _Waiter) -> None:
        event, share = waiter.event, self._shares.setdefault(waiter.sender, _Share())
        share.events[event.cid] = None
        share.size += len(event.signed.block)
        for cid in waiter.absent:
            share.needs[cid] = share.needs.get(cid, 0) + 1
            if cid not in share.asked:
                share.asked[cid] = float("-inf")
                share.asked.move_to_end(cid, last=False)

    def _drop(self, cid: Cid) -> None:
        self.dropped += 1
        self._remove(cid)

    def _remove(self, cid: Cid) -> None:
        waiter = self._events.pop(cid)
        self._uncount(waiter)
        self._bytes -= len(waiter.event.signed.block)
        for missing in waiter.absent:
            waiters = self._waiting.get(missing)
            if waiters is not None:
                waiters.discard(cid)
                if not waiters:
                    del self._waiting[missing]

    def _uncount(self, waiter: _Waiter) -> None:
        share = self._shares[waiter.sender]
        del share.events[waiter.event.cid]
        share.size -= len(waiter.event.signed.block)
        for cid in waiter.absent:
            self._need_no_more(share, cid)
        if not share.events:
            del self._shares[waiter.sender]

    @staticmethod
    def _need_no_more(share: _Share, cid: Cid) -> None:
        share.needs[cid] -= 1
        if not share.needs[cid]:
            del share.needs[cid], share.asked[cid]
