"""Yamux as a host among strangers needs it: subclasses of libp2p 0.8.1's, each deviation with its reason.

What differs: a peer from which nothing arrives is dropped (the library pings but ignores missing answers); a peer that
sends past its window is dropped (the library warns and buffers without end); a cancelled writer never leaves half a
frame on the connection; a stalled reader is waited for as long as we say (5 s there), woken by the window update
instead of a 10 ms poll; one frame fills one Noise message; a connection that hangs can be closed.
Source: the yamux specification (hashicorp) and the library's own implementation, whose behaviour was measured.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_SYN,
    GO_AWAY_NORMAL,
    HEADER_SIZE,
    TYPE_DATA,
    TYPE_PING,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

from p2pwf.net.counters import Counters
from p2pwf.net.types import Timing

MAX_PAYLOAD = MAX_PLAINTEXT_LENGTH - HEADER_SIZE
"""Bytes of one data frame: with its header it fills one Noise message (the library's 64 KiB spill into a second)."""
CLOSE_DEADLINE = 1.0
"""Seconds for the goodbye on a connection whose peer may not read any more."""
CLEANUP_DEADLINE = 5.0
"""Seconds for the library's own clean-up of an ended connection, which waits for gossip to take note."""
CONNECTION_ERRORS = (BaseLibp2pError, trio.ClosedResourceError, trio.BrokenResourceError, OSError)


class GuardedYamux(Yamux):
    """One multiplexed connection; `heard` is when the last byte came from the peer, on trio's clock."""

    def __init__(self, secured_conn: ISecureConn, peer_id: ID, timing: Timing, counters: Counters) -> None:
        super().__init__(secured_conn, peer_id, is_initiator=secured_conn.is_initiator)
        self.timing = timing
        self.counters = counters
        self.heard = trio.current_time()
        self.on_window_exceeded: Callable[[], None] | None = None
        self._answer = trio.Event()
        self._ping_under_way = False
        read = secured_conn.read

        async def stamped_read(n: int | None = None) -> bytes:
            data = await read(n)
            self.heard = trio.current_time()
            self._answer.set()
            return data

        setattr(secured_conn, "read", stamped_read)  # noqa: B010 - a method shadowed on one instance

    async def start(self) -> None:
        """Serve the connection until it ends; whatever goes wrong ends this connection and nothing else."""
        try:
            await super().start()
        except Exception:  # noqa: BLE001 - counted; an error that left here would end the whole host
            self.counters.count("connection_crashed")
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLEANUP_DEADLINE):
                await self._cleanup_on_error()  # wakes every reader, also when the read loop ended without it
            self.event_started.set()

    async def close(self, error_code: int = GO_AWAY_NORMAL) -> None:
        """Say goodbye if the peer still reads, and close in any case."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._abort_later)
                await super().close(error_code)
                nursery.cancel_scope.cancel()
            await self.abort()

    async def abort(self) -> None:
        """Close the socket under the connection: unlike `close` it waits for nobody, so it ends blocked writers too.

        And the read loop, which waits while the peer opens streams that nobody accepts: it may wait for ever.
        """
        self.event_shutting_down.set()
        self.event_closed.set()
        self._answer.set()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_DEADLINE):
            try:
                await self.secured_conn.close()
            except CONNECTION_ERRORS:
                return  # it was closed already

    async def probe(self, seconds: float) -> bool:
        """Whether anything arrives from the peer within `seconds` of asking it."""
        asked = trio.current_time()
        self._answer = trio.Event()
        with trio.move_on_after(seconds):
            await self._ping()
            await self._answer.wait()
        return self.heard > asked and not self.event_shutting_down.is_set()

    def report_window_exceeded(self) -> None:
        """The peer sent more than it was allowed to: no correct implementation does."""
        self.counters.count("window_exceeded")
        if self.on_window_exceeded is not None:
            self.on_window_exceeded()
        self.event_shutting_down.set()  # the read loop ends with the frame that it handles

    async def _abort_later(self) -> None:
        await trio.sleep(CLOSE_DEADLINE)
        await self.abort()

    async def _write_frame(self, data: bytes) -> None:
        # Half a frame would garble every stream of the connection, so a writer is not cancelled in the middle of one.
        # The health check bounds the wait: it closes the socket under a peer that takes nothing.
        with trio.CancelScope(shield=True):
            async with self._write_lock:
                await self.secured_conn.write(data)

    async def _measure_rtt_loop(self) -> None:
        """Ping for the round-trip time, which the windows are sized by, and drop a peer that has gone silent."""
        while not self.event_shutting_down.is_set():
            if not self._ping_under_way and self._nursery is not None:
                self._ping_under_way = True
                self._nursery.start_soon(self._ping)
            with trio.move_on_after(self.timing.ping):
                await self.event_shutting_down.wait()
            if trio.current_time() - self.heard > self.timing.silence:
                self.counters.count("silent_peer_dropped")
                await self.abort()
                return

    async def _ping(self) -> None:
        self._ping_id = (self._ping_id + 1) & 0xFFFFFFFF
        header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_PING, FLAG_SYN, 0, self._ping_id)
        self._ping_sent_time = trio.current_time()
        try:
            await self._write_frame(header)
        except CONNECTION_ERRORS:
            return  # the read loop sees the same end and cleans up
        finally:
            self._ping_under_way = False


class GuardedYamuxStream(YamuxStream):
    """One stream. What the library changes from outside and a writer or the connection must notice are properties."""

    conn: GuardedYamux

    def __init__(self, stream_id: int, conn: GuardedYamux, is_initiator: bool) -> None:
        self._send_credit = 0
        self._credit_came = trio.Event()
        self._recv_credit = 0
        self._ended = self._send_ended = False
        self._message_lock = trio.Lock()
        super().__init__(stream_id, conn, is_initiator)

    @property
    def send_window(self) -> int:
        """Bytes that the peer is ready to take."""
        return self._send_credit

    @send_window.setter
    def send_window(self, value: int) -> None:
        self._send_credit = value
        if value > 0:
            self._credit_came.set()

    @property
    def recv_window(self) -> int:
        """Bytes that the peer may still send."""
        return self._recv_credit

    @recv_window.setter
    def recv_window(self, value: int) -> None:
        self._recv_credit = value
        if value < 0:
            self.conn.report_window_exceeded()

    @property
    def closed(self) -> bool:
        """Whether it has ended in both directions."""
        return self._ended

    @closed.setter
    def closed(self, value: bool) -> None:
        self._ended = value
        self._wake_writer(value)

    @property
    def send_closed(self) -> bool:
        """Whether nothing more is sent on it."""
        return self._send_ended

    @send_closed.setter
    def send_closed(self, value: bool) -> None:
        self._send_ended = value
        self._wake_writer(value)

    def _wake_writer(self, ended: bool) -> None:
        if ended:
            self._credit_came.set()

    async def write(self, data: bytes) -> None:
        """Send all of `data`; writers of one stream take turns, so that two messages never mix.

        Raises MuxedStreamReset when the peer takes nothing for `timing.stall` seconds.
        """
        async with self._message_lock:
            rest = memoryview(data)
            while rest:
                if self.send_closed or self.closed:
                    raise MuxedStreamClosed("the stream is closed")
                if self._send_credit <= 0:
                    await self._wait_for_credit()
                    continue
                size = min(self._send_credit, MAX_PAYLOAD, len(rest))
                self._send_credit -= size
                header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, self.stream_id, size)
                await self.conn._write_frame(header + rest[:size])
                rest = rest[size:]

    async def read(self, n: int | None = -1) -> bytes:
        """Up to `n` bytes, or all there are, once there are some; raises MuxedStreamEOF at the end.

        What arrived before a reset is still given, then MuxedStreamReset raised. The library takes two locks for each
        read, and leaves an entry behind for each stream that is reset while it is read.
        """
        conn, number = self.conn, self.stream_id
        while n != 0:
            buffer = conn.stream_buffers.get(number)
            if buffer:
                size = len(buffer) if n is None or n < 0 else min(n, len(buffer))
                data = bytes(memoryview(buffer)[:size])
                del buffer[:size]
                if self.closed and not buffer:
                    await conn._finalize_stream(self, fully_closed=True)
                elif not self.recv_closed:
                    await self._auto_tune_and_send_window_update(bytes_read=size)
                return data
            if self.reset_received:
                raise MuxedStreamReset("the stream was reset")
            arrived = conn.stream_events.get(number)
            if self.recv_closed or self.closed or arrived is None or conn.event_shutting_down.is_set():
                raise MuxedStreamEOF("the stream ended")
            await arrived.wait()
            if conn.stream_events.get(number) is arrived:
                conn.stream_events[number] = trio.Event()
        return b""

    async def _wait_for_credit(self) -> None:
        self._credit_came = trio.Event()
        with trio.move_on_after(self.conn.timing.stall) as waited:
            await self._credit_came.wait()  # or the end of the stream, which whoever writes looks at next
        if waited.cancelled_caught:
            self.conn.counters.count("stream_stalled")
            await self.reset()
            raise MuxedStreamReset(f"nothing was read for {self.conn.timing.stall:g} s")

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        """Grant credit once half of the window is used: the library sends an update for every read, however small."""
        async with self.window_lock:
            buffered = len(self.conn.stream_buffers.get(self.stream_id, b""))
            if self.target_recv_window - (self.recv_window + buffered) < self.target_recv_window // 2:
                return
            grant = self._grow_to_delta(buffered) + self._apply_autotune_epoch(buffered)
        if grant > 0:
            await self.send_window_update(grant, skip_lock=True)


class GuardedMuxers(MuxerMultistream):
    """Muxer selection that makes GuardedYamux: the library names its own class where it makes a connection."""

    def __init__(self, make: Callable[[ISecureConn, ID], GuardedYamux], protocol: str, deadline: float) -> None:
        super().__init__({}, negotiate_timeout=max(1, int(deadline)))
        self._make = make
        self.add_transport(TProtocol(protocol), GuardedYamux)

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Agree on Yamux with the peer and wrap the connection."""
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        return self._annotate_connection(self._make(conn, peer_id), conn, protocol)
