"""The join protocol: the one thing that a stranger may ask. Knows the messages; the node decides.

One request and one answer a stream; see protocols/join.md. Everything in a request is a stranger's, so it is small,
bounded in every field, and answered within a deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import trio

from p2pwf.core.ids import DAG_CBOR_PREFIX, Cid, PeerId
from p2pwf.errors import RemoteError
from p2pwf.net.counters import Counters
from p2pwf.net.links import Connection
from p2pwf.net.requests import Open, decode_message, encode_message
from p2pwf.net.stream import WireStream, closing
from p2pwf.net.types import JoinHandler, JoinReply, JoinRequest, Timing

PROTOCOL = "/p2pwf/join/1.0.0"
MAX_REQUEST = 8192
MAX_REPLY = 4096
MAX_NAME = 64
MAX_LABELS = 32
MAX_LABEL = 64
MAX_SLOTS = 4096
MAX_SECRET = 64
MAX_REASON = 500
MAX_JOINS = 16
"""Requests being decided at a time, of all strangers together."""
STREAMS_PER_PEER = 2
ADMITTED, PENDING, REFUSED = "admitted", "pending", "refused"
STATUSES = (ADMITTED, PENDING, REFUSED)


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
        self._under_way = 0

    def serve_with(self, handler: JoinHandler) -> None:
        """Let `handler` decide from now on; before, everyone is refused."""
        self._handler = handler

    async def serve(self, stream: WireStream) -> None:
        """Answer the one request of a stream."""
        with self._busy(stream):
            request = decode_request(await stream.expect_frame(MAX_REQUEST, self._timing.request))
            await stream.write_frame(encode_reply(await self._decide(stream.peer, request)))

    async def _decide(self, peer: PeerId, request: JoinRequest) -> JoinReply:
        if self._handler is None or self._under_way >= MAX_JOINS:
            self._counters.count("join_not_decided")
            return JoinReply(REFUSED, None, "not now: try again")
        self._under_way += 1
        try:
            with trio.fail_after(self._timing.request):
                return await self._handler(peer, request)
        except trio.TooSlowError:
            self._counters.count("join_not_decided")
            return JoinReply(REFUSED, None, "not now: try again")
        finally:
            self._under_way -= 1

    async def ask(self, peer: PeerId, request: JoinRequest) -> JoinReply:
        """Ask a connected peer to be let in; see Network.ask_join."""
        stream = await self._open(peer, PROTOCOL)
        with self._busy(stream):
            async with closing(stream):
                await stream.write_frame(encode_request(request))
                return decode_reply(await stream.expect_frame(MAX_REPLY, 2 * self._timing.request))


@contextmanager
def busy_connection(connection: Connection | None) -> Iterator[None]:
    """Keep a stranger's connection open for the time of a join request on it, and a little after."""
    if connection is None:
        yield
        return
    connection.joins += 1
    try:
        yield
    finally:
        connection.joins -= 1
        connection.last_join = trio.current_time()
