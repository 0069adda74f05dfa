"""One libp2p stream as the protocols here use it: frames, raw bodies, errors of ours, ends that are told apart.

libp2p gives EOF, a reset and a lost connection as three kinds of exception; here the first is a value where it is
fair (between two frames) and everything else is a RemoteError: StreamBroken where the network may be to blame.
Deadlines are the callers': every wait may be cancelled.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import trio
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.net_stream import NetStream

from p2pwf.core.ids import PeerId
from p2pwf.errors import RemoteError
from p2pwf.net.framing import FrameDecoder, frame

READ_SIZE = 1 << 18
"""Bytes asked of the multiplexer at once: large reads are what makes bulk transfer fast."""
FRAME_SECONDS = 120.0
"""For one frame, from its first byte to its last: the largest at 8 KiB/s. Who drips bytes holds memory no longer."""
CLOSE_DEADLINE = 1.0
"""Seconds for the goodbye of a stream; past it the stream is dropped without one."""


class StreamBroken(RemoteError):
    """The stream ended or stalled where it should have gone on: a lost connection looks so too, it is no offence."""


class WireStream:
    """A stream to `peer`. One task reads, one writes."""

    def __init__(self, stream: INetStream, peer: PeerId) -> None:
        self._stream = stream
        self._decoder = FrameDecoder()
        self.peer = peer
        self.conn: SwarmConn | None = getattr(stream, "swarm_conn", None)
        """The connection that the stream is on."""

    @property
    def usable(self) -> bool:
        """Whether neither side ended it, as far as is known here."""
        stream = cast(NetStream, self._stream).muxed_stream
        return not (getattr(stream, "closed", False) or getattr(stream, "recv_closed", False))

    async def read_frame(self, limit: int) -> bytes | None:
        """The next frame of at most `limit` bytes, or None if the peer ended the stream after the last whole one.

        Raises BrokenFrame for a frame over the limit; StreamBroken for an end within one, a reset, a lost connection, a
        frame that takes over FRAME_SECONDS.
        """
        deadline = math.inf
        while True:
            data = self._decoder.next_frame(limit)
            if data is not None:
                return data
            if self._decoder.pending:
                deadline = min(deadline, trio.current_time() + FRAME_SECONDS)
            chunk = None
            with trio.move_on_at(deadline):
                chunk = await self._receive()
            if chunk is None:
                raise StreamBroken(f"a frame took over {FRAME_SECONDS:g} s")
            if not chunk:
                if self._decoder.pending:
                    raise StreamBroken("the stream ended within a frame")
                return None
            self._decoder.feed(chunk)

    async def expect_frame(self, limit: int, deadline: float) -> bytes:
        """The next frame, which has to come within `deadline` seconds; raises StreamBroken if it does not."""
        with trio.move_on_after(deadline):
            data = await self.read_frame(limit)
            if data is None:
                raise StreamBroken("the stream ended before a message")
            return data
        raise StreamBroken(f"no message within {deadline:g} s")

    async def read_some(self, limit: int = READ_SIZE) -> bytes:
        """Some bytes of a raw body, b"" at its end; raises StreamBroken when the stream breaks."""
        return self._decoder.take(limit) if self._decoder.pending else await self._receive(limit)

    async def write_frame(self, data: bytes) -> None:
        """Send `data` as one frame; raises StreamBroken when the stream breaks."""
        await self.write(frame(data))

    async def write(self, data: bytes) -> None:
        """Send bytes as they are; raises StreamBroken when the stream breaks."""
        try:
            await self._stream.write(data)
        except (BaseLibp2pError, trio.ClosedResourceError, trio.BrokenResourceError, OSError) as error:
            raise StreamBroken(f"the stream to {self.peer} broke: {type(error).__name__}") from error

    async def finish(self) -> None:
        """Tell the peer that nothing more comes from here; reading goes on."""
        try:
            await cast(NetStream, self._stream).close_write()
        except (BaseLibp2pError, trio.ClosedResourceError, trio.BrokenResourceError, OSError) as error:
            raise StreamBroken(f"the stream to {self.peer} broke: {type(error).__name__}") from error

    async def close(self) -> None:
        """End the stream in both directions, politely if that is quick. Never raises, also when cancelled."""
        await end_stream(self._stream, abruptly=False)

    async def reset(self) -> None:
        """End the stream in both directions at once: what was under way is void. Never raises."""
        await end_stream(self._stream, abruptly=True)

    async def _receive(self, limit: int = READ_SIZE) -> bytes:
        try:
            return await self._stream.read(limit)
        except StreamEOF:
            return b""
        except (BaseLibp2pError, trio.ClosedResourceError, trio.BrokenResourceError, OSError) as error:
            raise StreamBroken(f"the stream to {self.peer} broke: {type(error).__name__}") from error


async def end_stream(stream: INetStream, *, abruptly: bool) -> None:
    """Close or reset `stream` within CLOSE_DEADLINE, whatever state it and its connection are in."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_DEADLINE):
        try:
            if not abruptly:
                await stream.close()
            else:
                await stream.reset()
        except (BaseLibp2pError, trio.ClosedResourceError, trio.BrokenResourceError, OSError):
            return  # its connection is gone, and with it the stream


@asynccontextmanager
async def closing(stream: WireStream) -> AsyncIterator[WireStream]:
    """The stream for a block: closed at its end, reset if it raises or is cancelled."""
    try:
        yield stream
    except BaseException:
        await stream.reset()
        raise
    await stream.close()
