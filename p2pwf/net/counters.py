"""Counts of what the network dropped, refused and gave up, and the strikes of peers. Knows nothing of libp2p."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TypeVar

import trio

from p2pwf.core.ids import PeerId

STRIKES_TO_BAN = 8
"""A correct peer makes none; a few are forgiven, since another version may differ from this one in a detail."""
STRIKE_MEMORY = 300.0
"""Seconds after which the strikes of a peer are forgotten: rare mistakes never add up to a ban."""
OFFENDERS_KEPT = 1024
"""Peer ids cost an attacker nothing, so the oldest entries make room; an entry lost forgives a peer, no more."""


class Counters:
    """Named counts, for `statistics()`; names are those of `meanings`, and never hold a remote's text."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, name: str, amount: int = 1) -> None:
        """Add `amount` to the count called `name`."""
        self._counts[name] += amount

    def get(self, name: str) -> int:
        """The count called `name`, 0 if nothing was counted."""
        return self._counts[name]

    def as_dict(self) -> dict[str, int]:
        """All counts by name, sorted."""
        return dict(sorted(self._counts.items()))


class Conduct:
    """Strikes for broken protocol, by peer; too many in a while ban the peer for a while."""

    def __init__(self, ban_seconds: float, counters: Counters) -> None:
        self._ban_seconds = ban_seconds
        self._counters = counters
        self.on_ban: Callable[[PeerId], None] | None = None
        """Called with each peer that is banned: it closes the peer's connections."""
        self._strikes: OrderedDict[PeerId, tuple[int, float]] = OrderedDict()
        self._banned: OrderedDict[PeerId, float] = OrderedDict()

    def strike(self, peer: PeerId, reason: str) -> None:
        """Note that `peer` broke the protocol; `reason` is a name for the count."""
        self._counters.count(f"strike_{reason}")
        now = trio.current_time()
        strikes, since = self._strikes.pop(peer, (0, now))
        if now - since > STRIKE_MEMORY:
            strikes, since = 0, now
        strikes += 1
        if strikes < STRIKES_TO_BAN:
            _remember(self._strikes, peer, (strikes, since))
            return
        self._counters.count("banned")
        _remember(self._banned, peer, now + self._ban_seconds)
        if self.on_ban is not None:
            self.on_ban(peer)

    def is_banned(self, peer: PeerId) -> bool:
        """Whether `peer` has to stay out for now."""
        until = self._banned.get(peer)
        if until is None:
            return False
        if trio.current_time() >= until:
            del self._banned[peer]
            return False
        return True

    def banned(self) -> list[PeerId]:
        """The peers that have to stay out for now."""
        return [peer for peer in list(self._banned) if self.is_banned(peer)]


_T = TypeVar("_T")


def _remember(table: OrderedDict[PeerId, _T], peer: PeerId, value: _T) -> None:
    table[peer] = value
    table.move_to_end(peer)
    if len(table) > OFFENDERS_KEPT:
        table.popitem(last=False)
