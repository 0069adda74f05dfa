"""The multiplexer alone, over a connection that a test can halt in the middle of a frame."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset

from p2pwf.net.counters import Counters
from p2pwf.net.swarm import libp2p_id
from p2pwf.net.types import Timing
from p2pwf.net.yamux import GuardedYamux, GuardedYamuxStream
from tests.net.kit import peer


class Halting:
    """A secured connection that sends the first bytes of a frame and the rest only when it is let."""

    is_initiator = True

    def __init__(self) -> None:
        self.sent = bytearray()
        self.halted = trio.Event()
        self.let_go = trio.Event()
        self.closed = False

    async def read(self, _n: int | None = None) -> bytes:
        await trio.Event().wait()
        return b""

    async def write(self, data: bytes) -> None:
        self.sent += data[:5]
        self.halted.set()
        await self.let_go.wait()
        if self.closed:
            raise ConnectionClosedError("closed", transport="test")
        self.sent += data[5:]

    async def close(self) -> None:
        self.closed = True
        self.let_go.set()


def muxer(**changes: float) -> tuple[GuardedYamux, Halting]:
    conn: Any = Halting()
    return GuardedYamux(conn, libp2p_id(peer(2)), Timing(**changes), Counters()), conn


async def test_a_writer_that_is_cancelled_leaves_no_half_frame() -> None:
    muxed, conn = muxer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(muxed._write_frame, b"a whole frame")
        await conn.halted.wait()
        nursery.cancel_scope.cancel()
        conn.let_go.set()
    assert conn.sent == b"a whole frame"


async def test_a_connection_is_closed_though_a_writer_hangs_on_it() -> None:
    muxed, conn = muxer()

    async def write() -> None:
        with pytest.raises(ConnectionClosedError):
            await muxed._write_frame(b"that nobody takes")

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await conn.halted.wait()
            await muxed.close()
    assert muxed.is_closed


async def test_a_writer_whose_reader_takes_nothing_gives_up() -> None:
    muxed, conn = muxer(stall=0.1)
    conn.let_go.set()
    stream = GuardedYamuxStream(1, muxed, is_initiator=True)
    with pytest.raises(MuxedStreamReset, match="nothing was read"):
        await stream.write(bytes(stream.send_window + 1))
    assert muxed.counters.get("stream_stalled") == 1


async def test_a_writer_goes_on_when_it_is_given_credit() -> None:
    muxed, conn = muxer()
    conn.let_go.set()
    stream = GuardedYamuxStream(1, muxed, is_initiator=True)
    size = stream.send_window + 1000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, bytes(size))
        await trio.testing.wait_all_tasks_blocked()
        stream.send_window += 1000
    frames = -(-size // 65_507) + 1
    assert len(conn.sent) - size <= 12 * (frames + 1)
    assert stream.send_window == 0


async def test_a_writer_that_waits_for_credit_sees_at_once_that_its_stream_was_reset(autojump_clock: object) -> None:
    muxed, conn = muxer()
    conn.let_go.set()
    stream = GuardedYamuxStream(1, muxed, is_initiator=True)
    began = trio.current_time()

    async def write() -> None:
        with pytest.raises(MuxedStreamClosed):
            await stream.write(bytes(stream.send_window + 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        stream.closed = stream.reset_received = True
    assert trio.current_time() == began


async def test_what_came_before_a_reset_is_read_and_then_the_reset_is_told() -> None:
    muxed, _ = muxer()
    stream = GuardedYamuxStream(1, muxed, is_initiator=True)
    muxed.streams[1], muxed.stream_buffers[1], muxed.stream_events[1] = stream, bytearray(b"abc"), trio.Event()
    stream.reset_received = stream.closed = True
    assert await stream.read(2) == b"ab"
    assert await stream.read(2) == b"c"
    with pytest.raises(MuxedStreamReset):
        await stream.read(2)


async def test_a_stream_that_is_gone_has_ended_and_leaves_nothing_behind() -> None:
    muxed, _ = muxer()
    stream = GuardedYamuxStream(1, muxed, is_initiator=True)
    muxed.streams[1], muxed.stream_buffers[1], muxed.stream_events[1] = stream, bytearray(), trio.Event()
    ended = []

    async def read() -> None:
        with pytest.raises(MuxedStreamEOF):
            await stream.read(1)
        ended.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        stream.recv_closed = stream.closed = True
        muxed.stream_events[1].set()
        await muxed._finalize_stream(stream, fully_closed=True)
    assert ended == [True]
    assert not muxed.stream_events
    assert not muxed.stream_buffers
