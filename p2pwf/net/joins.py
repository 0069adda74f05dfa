"""The join protocol: the one thing that a stranger may ask. Knows the messages; the node decides.

One request and one answer a stream; see protocols/join.md. Everything in a request is a stranger's, so it is small,
bounded in every field, and answered within a deadline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager

import trio

from p2pwf.core.ids import DAG_CBOR_PREFIX, Cid, PeerId
from p2pwf.errors import RemoteError
from p2pwf.net.counters import Counters
from p2pwf.net.links import Connection
from p2pwf.net.requests import Open, decode_message, encode_message
from p2pwf.net.stream import StreamBroken, WireStream, closing
from p2pwf.net.types import (
    MAX_LABEL,
    MAX_LABELS,
    MAX_NAME,
    JoinHandler,
    JoinReply,
    JoinRequest,
    PastHandler,
    Timing,
)

PROTOCOL = "/p2pwf/join/1.0.0"
MAX_REQUEST = 8192
MAX_REPLY = 4096
MAX_SLOTS = 4096
MAX_SECRET = 64
MAX_REASON = 500
MAX_HAS = 1_000_000
"""Bytes of the frame that says what a former member has, as of any clock frame."""
MAX_PAST = 64
"""Frames of up to a megabyte in one answer to a former member: whoever lacks more asks again, and has got further."""
PAST_SECONDS = 60.0
"""How long all of them together may take."""
MAX_JOINS = 16
"""Requests being decided at a time, of all strangers together."""
STREAMS_PER_PEER = 2
ADMITTED, PENDING, REFUSED, REMOVED = "admitted", "pending", "refused", "removed"
STATUSES = (ADMITTED, PENDING, REFUSED, REMOVED)

Take = Callable[[bytes], Awaitable[None]]


def encode_request(request: JoinRequest) -> bytes:
    """A request as it is sent."""
    return encode_message(
        {
            "labels": list(request.labels),
            "name": request.name,
            "network": request.network,
            "secret": request.secret,
            "slots": request.slots,
        }
    )


def decode_request(data: bytes) -> JoinRequest:
    """A request received; raises RemoteError for anything malformed or out of bounds."""
    match decode_message(data, MAX_REQUEST):
        case {
            "labels": list(labels),
            "name": str(name),
            "network": (Cid() | None) as network,
            "secret": (bytes() | None) as secret,
            "slots": int(slots),
            **rest,
        } if (
            not rest
            and 0 < len(name) <= MAX_NAME
            and len(labels) <= MAX_LABELS
            and all(isinstance(label, str) and 0 < len(label) <= MAX_LABEL for label in labels)
            and not isinstance(slots, bool)
            and 0 <= slots <= MAX_SLOTS
            and (network is None or network.startswith(DAG_CBOR_PREFIX))
            and (secret is None or (not isinstance(secret, Cid) and len(secret) <= MAX_SECRET))
        ):
            texts = tuple(label for label in labels if isinstance(label, str))
            return JoinRequest(network, secret, name, texts, slots)
    raise RemoteError("a malformed join request")


def encode_reply(reply: JoinReply) -> bytes:
    """An answer as it is sent."""
    return encode_message({"network": reply.network, "reason": reply.reason[:MAX_REASON], "status": reply.status})


def decode_reply(data: bytes) -> JoinReply:
    """An answer received; raises RemoteError for anything malformed."""
    match decode_message(data, MAX_REPLY):
        case {"network": (Cid() | None) as network, "reason": str(reason), "status": str(status), **rest} if (
            not rest
            and status in STATUSES
            and len(reason) <= MAX_REASON
            and (network is None or network.startswith(DAG_CBOR_PREFIX))
        ):
            return JoinReply(status, network, reason)
    raise RemoteError("a malformed answer to a join request")


class Joins:
    """Answers join requests, and makes them."""

    def __init__(
        self,
        *,
        timing: Timing,
        counters: Counters,
        open_stream: Open,
        busy: Callable[[WireStream], AbstractContextManager[None]],
    ) -> None:
        self._timing = timing
        self._counters = counters
        self._open = open_stream
        self._busy = busy
        self._handler: JoinHandler | None = None
        self._past: PastHandler | None = None
        self._under_way = 0

    def serve_with(self, handler: JoinHandler, past: PastHandler | None) -> None:
        """Let `handler` decide from now on; before, everyone is refused. `past` brings former members to their end."""
        self._handler = handler
        self._past = past

    async def serve(self, stream: WireStream) -> None:
        """Answer the one request of a stream."""
        with self._busy(stream):
            request = decode_request(await stream.expect_frame(MAX_REQUEST, self._timing.request))
            reply = await self._decide(stream.peer, request)
            await stream.write_frame(encode_reply(reply))
            if reply.status == REMOVED and self._past is not None:
                with trio.move_on_after(PAST_SECONDS) as told:
                    await self._tell_past(stream, self._past)
                if told.cancelled_caught:
                    self._counters.count("past_not_told")

    async def _tell_past(self, stream: WireStream, past: PastHandler) -> None:
        """Send a former member what it lacks up to the cut that ended its membership, if it says what it has."""
        has: bytes | None = None
        with trio.move_on_after(self._timing.request):
            has = await stream.read_frame(MAX_HAS)
        if has is None:
            return
        sent = 0
        async with aclosing(past(stream.peer, has)) as frames:
            async for data in frames:
                if sent == MAX_PAST:
                    self._counters.count("past_not_told")
                    return
                await stream.write_frame(data)
                sent += 1

    async def _decide(self, peer: PeerId, request: JoinRequest) -> JoinReply:
        if self._handler is None or self._under_way >= MAX_JOINS:
            self._counters.count("join_not_decided")
            return JoinReply(REFUSED, None, "not now: try again")
        self._under_way += 1
        self._counters.count("join_asked")
        try:
            with trio.fail_after(self._timing.request):
                return await self._handler(peer, request)
        except trio.TooSlowError:
            self._counters.count("join_not_decided")
            return JoinReply(REFUSED, None, "not now: try again")
        finally:
            self._under_way -= 1

    async def ask(
        self, peer: PeerId, request: JoinRequest, has: bytes | None = None, take: Take | None = None
    ) -> JoinReply:
        """Ask a connected peer to be let in; see Network.ask_join and Network.ask_standing."""
        stream = await self._open(peer, PROTOCOL)
        with self._busy(stream):
            async with closing(stream):
                await stream.write_frame(encode_request(request))
                reply = decode_reply(await stream.expect_frame(MAX_REPLY, 2 * self._timing.request))
                if reply.status == REMOVED and has is not None and take is not None:
                    await stream.write_frame(has)
                    await stream.finish()
                    for _ in range(MAX_PAST):
                        with trio.move_on_after(self._timing.stall) as stalled:
                            data = await stream.read_frame(MAX_HAS)
                        if stalled.cancelled_caught:
                            raise StreamBroken(f"nothing more within {self._timing.stall:g} s")
                        if data is None:
                            break
                        await take(data)
                return reply


@contextmanager
def busy_connection(connection: Connection | None) -> Iterator[None]:
    """Keep a stranger's connection open for the time of a join request on it, and a little after."""
    if connection is None:
        yield
        return
    connection.joins += 1
    connection.asked = True
    try:
        yield
    finally:
        connection.joins -= 1
        connection.last_join = trio.current_time()
