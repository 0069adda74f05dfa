"""Events that wait for their links, bounded. Knows no rule; it only counts, keeps and lets go.

An event whose links are not all here waits until they are. The pool is bounded in all and for each author, so that a
flood of events with invented links (they cost their sender a signature each) pushes out the flooder's own first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId

MAX_PENDING = 8192
"""Events in the pool: a few chunks of a sync that overtook one another."""
MAX_PENDING_BYTES = 32 * 1024 * 1024
MAX_PER_AUTHOR = 1024
"""Of one author: an eighth of the pool, so no author alone can fill it."""


class Pending:
    """The pool. `wanted` maps each missing id to the events that wait for it."""

    def __init__(self) -> None:
        self._events: OrderedDict[Cid, tuple[Event, set[Cid], PeerId | None]] = OrderedDict()
        self._by_author: dict[PeerId, OrderedDict[Cid, None]] = {}
        self._waiting: dict[Cid, set[Cid]] = {}
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    def __contains__(self, cid: object) -> bool:
        return cid in self._events

    def missing(self) -> Iterable[Cid]:
        """Ids that some event waits for and that do not wait here themselves."""
        return [cid for cid in self._waiting if cid not in self._events]

    def add(self, event: Event, missing: Iterable[Cid], source: PeerId | None = None) -> None:
        """Let `event`, whose signature is good, wait for `missing`; `source` sent it.

        The oldest of its author, then of all, make room."""
        if event.cid in self._events:
            return
        absent = set(missing)
        self._events[event.cid] = (event, absent, source)
        own = self._by_author.setdefault(event.author, OrderedDict())
        own[event.cid] = None
        self._bytes += len(event.signed.block)
        for cid in absent:
            self._waiting.setdefault(cid, set()).add(event.cid)
        if len(own) > MAX_PER_AUTHOR:
            self._drop(next(iter(own)))
        while len(self._events) > MAX_PENDING or self._bytes > MAX_PENDING_BYTES:
            self._drop(next(iter(self._events)))

    def arrived(self, cid: Cid) -> list[tuple[Event, PeerId | None]]:
        """The events that waited for nothing but `cid`, with who sent them, taken out of the pool."""
        ready = []
        for waiter in self._waiting.pop(cid, ()):
            event, absent, source = self._events[waiter]
            absent.discard(cid)
            if not absent:
                self._remove(waiter)
                ready.append((event, source))
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

    def _drop(self, cid: Cid) -> None:
        self.dropped += 1
        self._remove(cid)

    def _remove(self, cid: Cid) -> None:
        event, absent, _ = self._events.pop(cid)
        own = self._by_author[event.author]
        del own[cid]
        if not own:
            del self._by_author[event.author]
        self._bytes -= len(event.signed.block)
        for missing in absent:
            waiters = self._waiting.get(missing)
            if waiters is not None:
                waiters.discard(cid)
                if not waiters:
                    del self._waiting[missing]
