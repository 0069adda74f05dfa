"""Requests on streams: maps in DAG-CBOR, sized before they are decoded, and streams kept open for the next request.

Opening a stream costs two round trips, a request on an open one costs one: so an idle stream is kept for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from p2pwf.core.dagcbor import DagCborError, Value, decode, encode
from p2pwf.core.ids import PeerId
from p2pwf.net.framing import BrokenFrame
from p2pwf.net.stream import StreamBroken, WireStream

VERSION = 1
SERVER_IDLE = 15.0
"""Seconds that a server waits for the next request on a stream."""
CLIENT_IDLE = 10.0
"""Seconds that a client keeps an idle stream: less than the server, so that it rarely picks one that ends."""
IDLE_STREAMS = 8
"""Idle streams kept for one peer: as many as there are requests at a time."""
STREAMS_PER_PEER = 8
"""Requests to one peer at a time; the peer allows more, which leaves room for streams that linger."""

Open = Callable[[PeerId, str], Awaitable[WireStream]]


def encode_message(message: dict[str, object]) -> bytes:
    """A request or an answer with its version."""
    return encode({**message, "v": VERSION})


def decode_message(data: bytes, limit: int) -> dict[str, Value]:
    """The map in `data`, without its version, which may be any number; raises BrokenFrame for anything else."""
    try:
        value = decode(data, limit)
    except DagCborError as error:
        raise BrokenFrame(f"a malformed message: {error}") from error
    if not isinstance(value, dict) or type(value.pop("v", None)) is not int:
        raise BrokenFrame("a message that is not a map with a version")
    return value


class Requester:
    """Streams of one protocol to peers, opened when needed and used again."""

    def __init__(self, protocol: str, open_stream: Open) -> None:
        self._protocol = protocol
        self._open = open_stream
        self._idle: dict[PeerId, deque[tuple[float, WireStream]]] = {}
        self._limits: dict[PeerId, trio.CapacityLimiter] = {}

    @asynccontextmanager
    async def ask(
        self, peer: PeerId, request: bytes, limit: int, deadline: float
    ) -> AsyncIterator[tuple[bytes, WireStream]]:
        """Send a request and give its answer's head (≤ `limit` bytes), with the stream for what follows.

        The block has to read the body to its end; left by an exception, the stream is dropped. Raises TryAgain if the
        peer is not connected, StreamBroken and BrokenFrame as the stream does.
        """
        async with self._limits.setdefault(peer, trio.CapacityLimiter(STREAMS_PER_PEER)):
            stream, head = await self._exchange(peer, request, limit, deadline)
            try:
                yield head, stream
            except BaseException:
                await stream.reset()
                raise
            await self._keep(stream)

    async def _exchange(self, peer: PeerId, request: bytes, limit: int, deadline: float) -> tuple[WireStream, bytes]:
        while (kept := self._take(peer)) is not None:
            try:
                return kept, await _round_trip(kept, request, limit, deadline)
            except StreamBroken:
                await kept.reset()  # it ended while it was idle: the next one, or a new one, will do
        stream = await self._open(peer, self._protocol)
        try:
            return stream, await _round_trip(stream, request, limit, deadline)
        except BaseException:
            await stream.reset()
            raise

    def _take(self, peer: PeerId) -> WireStream | None:
        idle = self._idle.get(peer)
        while idle:
            until, stream = idle.pop()
            if trio.current_time() < until and stream.usable:
                return stream
        return None

    async def _keep(self, stream: WireStream) -> None:
        idle = self._idle.setdefault(stream.peer, deque())
        idle.append((trio.current_time() + CLIENT_IDLE, stream))
        if len(idle) > IDLE_STREAMS:
            await idle.popleft()[1].close()


async def _round_trip(stream: WireStream, request: bytes, limit: int, deadline: float) -> bytes:
    await stream.write_frame(request)
    return await stream.expect_frame(limit, deadline)
