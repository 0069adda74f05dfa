"""Peers' hashes as numpy columns: the fast way through many peers. Knows nothing of peers.

The answers are those of the integers that `table` uses for few peers; the tests compare them.
Only imported for tables of many peers, and only if numpy (2.0 or newer) is installed: it is an accelerator, never
needed. Row r of the array holds 64 bits of every hash, so that a pass reads memory in order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

WORDS: Final = 4
"""64-bit words of a SHA-256 digest. Their byte order does not matter: bits are only compared and counted."""
CHUNK: Final = 16_384
"""Hashes per pass: 0.5 MiB, so that the words stay in the second-level cache from XOR to sum (measured)."""

count_bits = np.bitwise_count  # new in numpy 2.0: with an older one this import fails and the caller does without


class Columns:
    """Hashes by index: the store of a `PeerTable` of many peers."""

    def __init__(self, digests: Iterable[bytes]) -> None:
        flat = np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, WORDS)
        self._words: NDArray[np.uint64] = flat.T.copy()  # a view of the bytes would be read-only
        self._size = len(flat)

    def append(self, digest: bytes) -> None:
        """Put a hash at the end; the array doubles when it is full."""
        if self._size == self._words.shape[1]:
            grown = np.zeros((WORDS, max(CHUNK, 2 * self._size)), dtype=np.uint64)
            grown[:, : self._size] = self._words
            self._words = grown
        self._words[:, self._size] = np.frombuffer(digest, dtype=np.uint64)
        self._size += 1

    def fill_from_end(self, index: int) -> None:
        """Remove the hash at `index`; the last one takes its place."""
        self._size -= 1
        self._words[:, index] = self._words[:, self._size]

    def closest(self, point: bytes) -> tuple[int, list[int]]:
        """The smallest distance from `point` and the indices of all hashes at it. There must be one."""
        distances = self._wrapped(point)
        found = [int(distances.argmin())]
        flat = distances.tobytes()  # looking for another one in bytes is faster than in an array
        least = flat[found[0]]
        if least == 0:
            near = self.closest_many(point, 1)
            return near[0][0], [index for _, index in near]
        while (index := flat.find(least, found[-1] + 1)) >= 0:
            found.append(index)
        return least, found

    def closest_many(self, point: bytes, count: int) -> list[tuple[int, int]]:
        """(distance, index) of the `count` nearest hashes and of all others as near as the farthest of those."""
        distances: NDArray[np.uint8] | NDArray[np.uint16] = self._wrapped(point)
        if not distances.all():
            # A zero is a distance of 0 or of 256, which nobody meets but who looks for it.
            bits = count_bits(self._words[:, : self._size] ^ np.frombuffer(point, dtype=np.uint64)[:, None])
            distances = np.add.reduce(bits, axis=0, dtype=np.uint16)
        bound = np.partition(distances, count - 1)[count - 1] if count < len(distances) else distances.max()
        indices = (distances <= bound).nonzero()[0]
        return list(zip(distances[indices].tolist(), indices.tolist(), strict=True))

    def _wrapped(self, point: bytes) -> NDArray[np.uint8]:
        """Distances modulo 256: a byte each is much less to move, and 256 is the only one that it cannot hold."""
        words = np.frombuffer(point, dtype=np.uint64)[:, None]
        size = self._size
        if size <= CHUNK:
            few: NDArray[np.uint8] = np.add.reduce(count_bits(self._words[:, :size] ^ words), axis=0, dtype=np.uint8)
            return few
        distances = np.empty(size, dtype=np.uint8)
        for start in range(0, size, CHUNK):
            end = min(start + CHUNK, size)
            bits = count_bits(self._words[:, start:end] ^ words)
            np.add.reduce(bits, axis=0, dtype=np.uint8, out=distances[start:end])
        return distances
