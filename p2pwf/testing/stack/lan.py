"""The wires of a simulated network: what TCP would show of latency, loss, partitions and machines that die.

A connection is two pipes, one for each direction. What is lost is sent again, as TCP does, so a loss is a delay; what a
partition holds back comes through once it has healed; a machine without power answers nothing, and one that is up
again answers what it knows nothing of with a reset. Knows hosts by number, no sockets, no nodes.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from collections.abc import Callable, Iterable
from hashlib import sha256
from random import Random
from typing import Final

import attrs
import trio

from p2pwf.testing.machines import Conditions

WINDOW: Final = 1 << 18
"""Bytes under way or unread of one direction: a sender waits for room, as with a socket's buffers."""
RESEND: Final = 0.2
"""Seconds until TCP sends again what was lost: its smallest timeout."""
RESEND_MOST: Final = 4.0
"""After a partition the sender's next attempt may be so far off; the timeout doubles while nothing is answered."""
KNOCKS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between the attempts of one connect, as Linux sends its SYNs."""


@attrs.define(eq=False)
class Host:
    """One machine's network card: `up` while it has power."""

    number: int
    up: bool = True
    pipes: list[Pipe] = attrs.field(factory=list)
    """Those that it sends on."""
    listening: dict[int, Callable[[Pipe, Pipe], None]] = attrs.field(factory=dict)
    """By port, what takes a new connection: the pipe to read from, the pipe to write to."""
    last_port: int = 40_000


@attrs.define(eq=False)
class Pipe:
    """One direction of a connection."""

    source: Host
    sink: Host
    back: Pipe | None = None
    """The other direction."""
    chunks: deque[tuple[float, bytes]] = attrs.field(factory=deque)
    """(arrival, bytes), in order; b"" is the end."""
    size: int = 0
    arrived: float = 0.0
    reset_at: float = math.inf
    """When its reader learns that the connection is no more."""
    refused_at: float = math.inf
    """When its writer learns it."""
    abandoned: bool = False
    """Nobody reads it any more: its reader closed it, or died."""
    ended: bool = False
    """Its writer said that nothing more comes, or died."""
    news: trio.Event = attrs.field(factory=trio.Event)

    def touch(self) -> None:
        """Wake whoever waits at either end."""
        event, self.news = self.news, trio.Event()
        event.set()


class Lan:
    """All hosts and what lies between them. `digest` takes in every delivery."""

    def __init__(self, random: Random, conditions: Conditions) -> None:
        self._random = random
        self._conditions = conditions
        self._hosts: dict[int, Host] = {}
        self._blocked: set[tuple[int, int]] = set()
        self.digest = sha256()
        self.delivered = 0
        self.bytes = 0

    def host(self, number: int) -> Host:
        """The host of this number, made on first use."""
        return self._hosts.setdefault(number, Host(number))

    # -- the weather --------------------------------------------------------------------------------------------

    def block(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Let nothing pass from the first to the second of each pair, and everything else."""
        blocked = set(pairs)
        freed, self._blocked = self._blocked - blocked, blocked
        for source, sink in sorted(freed):
            for pipe in self.host(source).pipes:
                if pipe.sink.number == sink:
                    self._resend(pipe)

    def _passes(self, source: Host, sink: Host) -> bool:
        return (source.number, sink.number) not in self._blocked

    def _delay(self) -> float:
        conditions = self._conditions
        delay = self._random.uniform(*conditions.delay)
        while self._random.random() < conditions.loss:
            delay += RESEND
        return delay

    def _arrival(self, pipe: Pipe) -> float:
        """When what is sent now comes to the other end; never before what was sent earlier."""
        if not self._passes(pipe.source, pipe.sink):
            return math.inf
        pipe.arrived = max(pipe.arrived, trio.current_time() + self._delay())
        return pipe.arrived

    def _resend(self, pipe: Pipe) -> None:
        """What a partition held back goes on its way."""
        if any(arrival == math.inf for arrival, _ in pipe.chunks):
            pipe.arrived = max(pipe.arrived, trio.current_time() + self._random.uniform(0, RESEND_MOST))
            pipe.chunks = deque((min(arrival, pipe.arrived), data) for arrival, data in pipe.chunks)
        if pipe.abandoned and pipe.size:
            self._refuse(pipe)
        pipe.touch()

    # -- hosts --------------------------------------------------------------------------------------------------

    def kill(self, number: int, power: bool) -> None:
        """The process of a host is gone, its sockets with it; with `power` all of the host is, and says nothing."""
        host = self.host(number)
        host.listening.clear()
        host.up = not power
        for pipe in host.pipes:
            if pipe.back is not None:
                self.abandon(pipe.back)
                pipe.ended = True
                if not power:
                    pipe.reset_at = self._arrival(pipe)
                pipe.touch()
        host.pipes.clear()

    def boot(self, number: int) -> None:
        """A host has power again."""
        host = self.host(number)
        host.up = True
        for other in self._hosts.values():
            for pipe in other.pipes:
                if pipe.sink is host and pipe.abandoned and pipe.size:
                    self._refuse(pipe)  # what was under way is sent again, and answered by who knows nothing of it

    def abandon(self, pipe: Pipe) -> None:
        """Its reader is gone: what still comes is answered by a reset."""
        pipe.abandoned = True
        if pipe.chunks:
            self._refuse(pipe)
        pipe.chunks.clear()
        pipe.touch()

    def _refuse(self, pipe: Pipe) -> None:
        """The reader's host answers what it has no reader for, if that gets there and its answer gets back."""
        if pipe.sink.up and self._passes(pipe.source, pipe.sink) and self._passes(pipe.sink, pipe.source):
            pipe.refused_at = min(pipe.refused_at, trio.current_time() + self._delay() + self._delay())
            if pipe.back is not None:
                pipe.back.reset_at = min(pipe.back.reset_at, pipe.refused_at)
                pipe.back.touch()
        pipe.touch()

    # -- connections --------------------------------------------------------------------------------------------

    async def connect(self, source: Host, sink: Host, port: int) -> tuple[Pipe, Pipe]:
        """(the pipe to read from, the pipe to write to) of a new connection; raises OSError when nobody listens."""
        for wait in KNOCKS:
            await trio.sleep(wait)
            reaches = sink.up and self._passes(source, sink) and self._passes(sink, source)
            if not reaches or self._random.random() < self._conditions.loss:
                continue
            await trio.sleep(self._delay())
            accept = sink.listening.get(port)
            forth, back = Pipe(source, sink), Pipe(sink, source)
            forth.back, back.back = back, forth
            if accept is not None:
                source.pipes.append(forth)
                sink.pipes.append(back)
                accept(forth, back)
            try:
                await trio.sleep(self._delay())
            except BaseException:
                self.close(back, forth)
                raise
            if accept is None:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
            return back, forth
        await trio.sleep(2 * KNOCKS[-1])
        raise TimeoutError(errno.ETIMEDOUT, "connection timed out")

    async def send(self, pipe: Pipe, data: bytes) -> int:
        """Take some of `data` on its way; raises OSError once the other end is known to be gone."""
        await trio.lowlevel.checkpoint()
        while True:
            if trio.current_time() >= pipe.refused_at or (pipe.back is not None and self._is_reset(pipe.back)):
                raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
            if pipe.ended:
                raise OSError(errno.EBADF, "the socket was closed")
            room = WINDOW - pipe.size
            if room > 0:
                part = data[:room]
                pipe.size += len(part)
                if pipe.abandoned:
                    self._refuse(pipe)
                else:
                    pipe.chunks.append((self._arrival(pipe), part))
                    pipe.touch()
                return len(part)
            await _until(pipe, pipe.refused_at)

    async def receive(self, pipe: Pipe, limit: int) -> bytes:
        """Up to `limit` bytes, b"" at the end; raises OSError when the connection was reset."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._is_reset(pipe):
                raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
            if pipe.abandoned:
                raise OSError(errno.EBADF, "the socket was closed")
            if pipe.chunks and pipe.chunks[0][0] <= trio.current_time():
                return self._take(pipe, limit)
            await _until(pipe, min(pipe.chunks[0][0] if pipe.chunks else math.inf, pipe.reset_at))

    def _take(self, pipe: Pipe, limit: int) -> bytes:
        arrival, data = pipe.chunks[0]
        if not data:
            return data  # the end stays the end
        part, rest = data[:limit], data[limit:]
        if rest:
            pipe.chunks[0] = arrival, rest
        else:
            pipe.chunks.popleft()
        pipe.size -= len(part)
        pipe.touch()
        self.delivered += 1
        self.bytes += len(part)
        self.digest.update(f"{trio.current_time():.6f} {pipe.source.number}>{pipe.sink.number} {len(part)}\n".encode())
        return part

    def close(self, reading: Pipe, writing: Pipe) -> None:
        """Close one end: the other reads to the end, and what it still sends is refused."""
        if not writing.ended:
            writing.ended = True
            writing.chunks.append((self._arrival(writing), b""))
            writing.touch()
        self.abandon(reading)
        if writing in writing.source.pipes:
            writing.source.pipes.remove(writing)

    def _is_reset(self, pipe: Pipe) -> bool:
        return trio.current_time() >= pipe.reset_at


async def _until(pipe: Pipe, when: float) -> None:
    """Wait for news of a pipe, or until then."""
    with trio.move_on_at(when):
        await pipe.news.wait()
