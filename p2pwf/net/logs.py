"""The logs protocol: follow the log of one job as it is written, over one hop if need be. Knows no line's meaning.

One request a stream; then chunks of whole lines until an empty chunk, which says that the log is complete: a stream
that just ends was cut. See protocols/logs.md.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio
from attrs import frozen

from p2pwf.core.ids import DAG_CBOR_PREFIX, Cid, PeerId, RunId
from p2pwf.errors import NotFound, RemoteError, TryAgain
from p2pwf.net.blob_messages import peer_named
from p2pwf.net.counters import Counters
from p2pwf.net.requests import Open, decode_message, encode_message
from p2pwf.net.stream import StreamBroken, WireStream, closing
from p2pwf.net.types import LogHandler, Timing

PROTOCOL = "/p2pwf/logs/1.0.0"
MAX_REQUEST = 4096
MAX_HEAD = 256
MAX_CHUNK = 1 << 20
MAX_JOB_ID = 256
MAX_RELAYS = 16
"""Logs passed through for others at a time."""
RELAYS_TRIED = 3
OK, ABSENT, BUSY, UNREACHABLE = "ok", "absent", "busy", "unreachable"


@frozen
class LogRequest:
    """Which log, and from which line (0 is the first). `via`: the peer to ask it of, when the one asked is a relay."""

    run: RunId
    job: str
    leg: int
    attempt: int
    first_line: int
    via: PeerId | None = None

    def encode(self) -> bytes:
        """The request as it is sent."""
        return encode_message(
            {
                "attempt": self.attempt,
                "from": self.first_line,
                "job": self.job,
                "leg": self.leg,
                "run": self.run,
                "via": self.via,
            }
        )


def decode_request(data: bytes) -> LogRequest:
    """A request received; raises RemoteError for anything malformed."""
    match decode_message(data, MAX_REQUEST):
        case {
            "run": Cid() as run,
            "job": str(job),
            "leg": int(leg),
            "attempt": int(attempt),
            "from": int(first_line),
            "via": str() | None as via,
            **rest,
        } if (
            not rest
            and run.startswith(DAG_CBOR_PREFIX)
            and 0 < len(job) <= MAX_JOB_ID
            and min(leg, attempt, first_line) >= 0
            and not any(isinstance(number, bool) for number in (leg, attempt, first_line))
        ):
            return LogRequest(run, job, leg, attempt, first_line, peer_named(via) if via is not None else None)
    raise RemoteError("a malformed request for a log")


def encode_head(status: str) -> bytes:
    """The head of an answer."""
    return encode_message({"status": status})


def decode_head(data: bytes) -> str:
    """The status in the head of an answer; raises RemoteError for anything malformed."""
    match decode_message(data, MAX_HEAD):
        case {"status": ("ok" | "absent" | "busy" | "unreachable") as status, **rest} if not rest:
            return status
    raise RemoteError("a malformed answer to a request for a log")


class Logs:
    """Serves logs to members and follows them."""

    def __init__(
        self,
        *,
        timing: Timing,
        counters: Counters,
        open_stream: Open,
        connect: Callable[[PeerId], Awaitable[bool]],
        linked: Callable[[], Sequence[PeerId]],
    ) -> None:
        self._timing = timing
        self._counters = counters
        self._open = open_stream
        self._connect = connect
        self._linked = linked
        self._handler: LogHandler | None = None
        self._relays = 0

    def serve_with(self, handler: LogHandler) -> None:
        """Serve the logs that `handler` gives from now on."""
        self._handler = handler

    @asynccontextmanager
    async def follow(self, peer: PeerId, request: LogRequest) -> AsyncIterator[WireStream]:
        """A stream to read the chunks of a log of `peer` from, with `next_chunk`; see Network.follow_log."""
        targets: list[tuple[PeerId, PeerId | None]] = (
            [(peer, None)] if await self._connect(peer) else self._through(peer)
        )
        failure: NotFound | TryAgain | RemoteError = TryAgain(f"{peer} cannot be reached")
        for target, via in targets:
            asked = LogRequest(request.run, request.job, request.leg, request.attempt, request.first_line, via)
            try:
                stream = await self._ask(target, asked)
            except (NotFound, TryAgain, RemoteError) as error:
                failure = error
                continue
            async with closing(stream):
                yield stream
            return
        raise failure

    def _through(self, peer: PeerId) -> list[tuple[PeerId, PeerId | None]]:
        relays = [relay for relay in self._linked() if relay != peer]
        return [(relay, peer) for relay in relays[:RELAYS_TRIED]]

    async def _ask(self, peer: PeerId, request: LogRequest) -> WireStream:
        stream = await self._open(peer, PROTOCOL)
        try:
            await stream.write_frame(request.encode())
            deadline = self._timing.request + (self._timing.dial if request.via else 0.0)
            _expect_ok(decode_head(await stream.expect_frame(MAX_HEAD, deadline)), peer)
        except BaseException:
            await stream.reset()
            raise
        return stream

    async def serve(self, stream: WireStream) -> None:
        """Answer the one request of a stream."""
        request = decode_request(await stream.expect_frame(MAX_REQUEST, self._timing.request))
        if request.via is not None:
            await self._relay(stream, request, request.via)
            return
        if self._handler is None:
            await _head(stream, ABSENT)
            return
        try:
            chunks = await self._handler(request.run, request.job, request.leg, request.attempt, request.first_line)
        except NotFound:
            await _head(stream, ABSENT)
            return

        async def send() -> None:
            await _head(stream, OK)
            async with _closed_after(chunks):
                async for chunk in chunks:
                    await _write(stream, chunk)
            await stream.write_frame(b"")

        await _until_hung_up(stream, send)

    async def _relay(self, stream: WireStream, request: LogRequest, source: PeerId) -> None:
        if self._relays >= MAX_RELAYS or source not in self._linked():
            self._counters.count("log_relay_refused")
            await _head(stream, BUSY if source in self._linked() else "unreachable")
            return
        self._relays += 1
        onwards = LogRequest(request.run, request.job, request.leg, request.attempt, request.first_line)
        try:
            body = await self._ask(source, onwards)
        except NotFound:
            await _head(stream, ABSENT)
        except (TryAgain, RemoteError):
            await _head(stream, UNREACHABLE)
        else:
            async with closing(body):
                await _until_hung_up(stream, partial(_pass_on, body, stream))
        finally:
            self._relays -= 1


async def _pass_on(source: WireStream, stream: WireStream) -> None:
    await _head(stream, OK)
    try:
        while chunk := await next_chunk(source):
            await stream.write_frame(chunk)
    except RemoteError as error:
        raise StreamBroken("relaying a log failed") from error  # the source's doing, not the follower's
    await stream.write_frame(b"")


async def next_chunk(stream: WireStream) -> bytes:
    """The next chunk, b"" when the log is complete; raises StreamBroken if the stream ends before."""
    chunk = await stream.read_frame(MAX_CHUNK)
    if chunk is None:
        raise StreamBroken(f"{stream.peer} stopped sending the log")
    return chunk


@asynccontextmanager
async def _closed_after(chunks: AsyncIterator[bytes]) -> AsyncIterator[None]:
    """Close an iterator that can be closed, however the block ends: the garbage collector would be late."""
    try:
        yield
    finally:
        if isinstance(chunks, AsyncGenerator):
            with trio.CancelScope(shield=True):
                await chunks.aclose()


async def _until_hung_up(stream: WireStream, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work`, which writes to a follower, until it is done or the follower ends its side."""
    failure: Exception | None = None

    async def watch() -> None:
        try:
            while await stream.read_some():
                pass
        except StreamBroken:
            return
        finally:
            nursery.cancel_scope.cancel()

    async def run() -> None:
        nonlocal failure
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the nursery that would wrap it
            failure = error
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        nursery.start_soon(run)
    if failure is not None:
        raise failure


async def _write(stream: WireStream, chunk: bytes) -> None:
    for start in range(0, len(chunk), MAX_CHUNK):
        await stream.write_frame(chunk[start : start + MAX_CHUNK])


async def _head(stream: WireStream, status: str) -> None:
    await stream.write_frame(encode_head(status))


def _expect_ok(status: str, peer: PeerId) -> None:
    if status == ABSENT:
        raise NotFound(f"{peer} has no such log")
    if status != OK:
        raise TryAgain(f"{peer} cannot send the log now: {status}")
