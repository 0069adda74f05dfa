"""Counts of what the network dropped, refused and gave up. Knows nothing of libp2p."""

from __future__ import annotations

from collections import Counter


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
