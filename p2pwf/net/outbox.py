"""Frames waiting for one peer, bounded in number and bytes. Knows nothing of libp2p."""

from __future__ import annotations

from collections import deque

import trio

QUEUE_FRAMES = 4096
QUEUE_BYTES = 8 << 20
"""Per peer: eight of the largest frames; bulk senders wait for room, everyone else is told that there is none."""
BATCH_BYTES = 1 << 16
"""Small frames are written together up to about this much: one encryption and one system call for all."""


class Outbox:
    """A bounded queue with one reader; a frame larger than the bound still passes through an empty queue."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._filled = trio.Event()
        self._drained = trio.Event()
        self._closed = False
        self._last = False

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes) -> bool:
        """Queue `frame`; False if there is no room or the queue is closed."""
        if self._closed or not self._has_room(len(frame)):
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        self._filled.set()
        return True

    async def put_wait(self, frame: bytes) -> bool:
        """Queue `frame` once there is room; False if the queue was closed instead."""
        while not self._closed:
            if self.put(frame):
                return True
            await self._drained.wait()
        return False

    async def next_batch(self) -> list[bytes]:
        """Wait for frames and take at least one, more while they are small; none once the queue has ended."""
        while not self._frames and not self._last:
            self._filled = trio.Event()
            await self._filled.wait()
        batch: list[bytes] = []
        size = 0
        while self._frames and (not batch or size + len(self._frames[0]) <= BATCH_BYTES):
            batch.append(self._frames.popleft())
            size += len(batch[-1])
        self._bytes -= size
        self._drained.set()
        self._drained = trio.Event()
        return batch

    def end(self) -> None:
        """Take no further frames; the reader gets those that wait, and then learns that there are no more."""
        self._closed = self._last = True
        self._filled.set()
        self._drained.set()

    def close(self) -> int:
        """Refuse further frames and drop those queued; their number."""
        dropped = len(self._frames)
        self._closed = True
        self._frames.clear()
        self._bytes = 0
        self._drained.set()
        return dropped

    def _has_room(self, size: int) -> bool:
        if not self._frames:
            return True
        return len(self._frames) < QUEUE_FRAMES and self._bytes + size <= QUEUE_BYTES
