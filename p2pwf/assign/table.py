"""Who is nearest: peers' hashes kept ready for many questions. Knows nothing of roles, labels or load.

Up to `COLUMNS_FROM` peers the hashes are Python integers and a distance is one XOR and one `int.bit_count`; from there
on they are numpy columns, if numpy is installed. Both give the same answers; the tests compare them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from p2pwf.assign.hashes import DIGEST_BYTES, BadDigest, combined, digest_bytes, peer_hash, tie_break

if TYPE_CHECKING:
    from p2pwf.assign.columns import Columns

P = TypeVar("P", bound=str)

COLUMNS_FROM: Final = 256
"""Peers from which on numpy is used: there it takes 5 µs instead of 23, which begins to be worth the import (25 MB)."""


class PeerTable(Generic[P]):
    """A set of peers that can say which of them are nearest to a point."""

    def __init__(self, peers: Iterable[P] = (), columns_from: int = COLUMNS_FROM) -> None:
        """`columns_from`: number of peers from which on numpy is used, if it is installed."""
        self._index: dict[P, int] = {}
        for peer in peers:
            self._index.setdefault(peer, len(self._index))
        self._peers: list[P] = list(self._index)
        self._columns_from = columns_from
        self._numbers: list[int] = [int.from_bytes(peer_hash(peer)) for peer in self._peers]
        self._columns: Columns | None = None  # in place of the numbers, once there are peers enough
        self._widen()

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[P]:
        return iter(self._peers)

    def __contains__(self, peer: object) -> bool:
        return peer in self._index

    def add(self, peer: P) -> None:
        """Add a peer; nothing changes if it is there already."""
        if peer in self._index:
            return
        self._index[peer] = len(self._peers)
        self._peers.append(peer)
        if self._columns is not None:
            self._columns.append(peer_hash(peer))
        else:
            self._numbers.append(int.from_bytes(peer_hash(peer)))
            if len(self._peers) == self._columns_from:
                self._widen()

    def discard(self, peer: P) -> None:
        """Remove a peer; nothing changes if it is not there."""
        index = self._index.pop(peer, None)
        if index is None:
            return
        # The last peer moves into the gap.
        last = self._peers.pop()
        if last != peer:
            self._peers[index] = last
            self._index[last] = index
        if self._columns is not None:
            self._columns.fill_from_end(index)
        else:
            number = self._numbers.pop()
            if last != peer:
                self._numbers[index] = number

    def owner(self, point: bytes) -> tuple[P, int]:
        """The peer nearest to `point` (32 bytes, as `combined` gives) and its distance. Raises BadDigest if none."""
        if len(point) != DIGEST_BYTES or not self._peers:
            raise _unanswerable(point)
        if self._columns is not None:
            least, found = self._columns.closest(point)
            if len(found) == 1:
                return self._peers[found[0]], least
        else:
            number = int.from_bytes(point)
            distances = [(own ^ number).bit_count() for own in self._numbers]
            least = min(distances)
            index = distances.index(least)
            ties = distances.count(least)
            if ties == 1:
                return self._peers[index], least
            found = [index]
            while len(found) < ties:
                found.append(distances.index(least, found[-1] + 1))
        tied = [self._peers[index] for index in found]
        return min([(tie_break(point, peer), peer) for peer in tied])[1], least

    def nearest(self, point: bytes, count: int) -> list[tuple[P, int]]:
        """The `count` peers (or all, if fewer) nearest to `point`, each with its distance, in order."""
        if len(point) != DIGEST_BYTES:
            raise _unanswerable(point)
        if count < 1 or not self._peers:
            return []
        if self._columns is not None:
            near = self._columns.closest_many(point, count)
        else:
            number = int.from_bytes(point)
            distances = [(own ^ number).bit_count() for own in self._numbers]
            bound = sorted(distances)[min(count, len(distances)) - 1]
            near = [(found, index) for index, found in enumerate(distances) if found <= bound]
        peers = self._peers
        ranked = sorted((found, tie_break(point, peers[index]), peers[index]) for found, index in near)
        return [(peer, found) for found, _, peer in ranked[:count]]

    def _widen(self) -> None:
        """Go over to columns if there are peers enough and numpy is there."""
        if len(self._peers) < self._columns_from:
            return
        try:
            from p2pwf.assign.columns import Columns  # noqa: PLC0415 - small networks never pay for numpy
        except (ImportError, AttributeError):  # no numpy, or one without bitwise_count
            return
        self._columns = Columns(map(peer_hash, self._peers))
        self._numbers = []


def order(point: bytes, peers: Iterable[P]) -> list[P]:
    """All peers by (distance from `point`, tie-break): the first is the owner, the next stand in for it."""
    table = PeerTable(peers)
    return [peer for peer, _ in table.nearest(point, len(table))]


def select_task_owner(clock_head: str | bytes, task_hash: str | bytes, peers: Iterable[P]) -> tuple[P, int]:
    """The peer that owns a task, and its distance in bits, whatever the order of `peers`.

    Clock head and task hash are SHA-256 digests, in hex or as bytes. Raises BadDigest for anything else and when
    there are no peers.
    """
    return PeerTable(peers).owner(combined(digest_bytes(clock_head), digest_bytes(task_hash)))


def _unanswerable(point: bytes) -> BadDigest:
    if len(point) != DIGEST_BYTES:
        return BadDigest(f"a point has {DIGEST_BYTES} bytes, not {len(point)}")
    return BadDigest("no peers to choose an owner from")
