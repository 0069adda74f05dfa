"""What a peer may open here: the gate for streams, by membership, number and time. Knows no protocol's content.

Every inbound stream passes through `Door.handle`. A stranger is offered the join protocol only; a member is offered
all; streams are bounded per peer and protocol; an exception in a handler ends its stream, never the host (the library
lets it end the host). Source of the negotiation: multistream-select 1.0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from p2pwf.core.ids import PeerId
from p2pwf.errors import RemoteError
from p2pwf.net.conduct import STREAM_REFUSED, Allowances, Conduct, points_of
from p2pwf.net.counters import Counters
from p2pwf.net.stream import StreamBroken, WireStream, end_stream
from p2pwf.net.swarm import peer_text
from p2pwf.net.types import Gate, Timing

MAX_STREAMS_PER_PEER = 64
"""Of all protocols together, also those still negotiating: a member uses a handful."""
MAX_STREAMS_PER_PROTOCOL = 16
"""Of one protocol and peer, unless the protocol says less."""
STREAM_RATE, STREAM_BURST = 50.0, 500.0
"""Streams opened by one peer: requests share streams, so a member opens a few a minute, and a bunch when it follows
the logs of a large matrix."""
LINGER = 5.0
"""Seconds that a peer has to end its side of a stream that was served, before it is reset."""

Handler = Callable[[WireStream], Awaitable[None]]
RawHandler = Callable[[INetStream], Awaitable[None]]


class Door:
    """Negotiates inbound streams and hands them to the handler of their protocol."""

    def __init__(self, gate: Gate, timing: Timing, counters: Counters, conduct: Conduct) -> None:
        self._gate = gate
        self._timing = timing
        self._counters = counters
        self._conduct = conduct
        self._for_members = Multiselect({})
        self._for_strangers = Multiselect({})
        self._opened = Allowances(STREAM_RATE, STREAM_BURST)
        self._limits: dict[str, int] = {}
        self._by_peer: Counter[PeerId] = Counter()
        self._by_protocol: Counter[tuple[PeerId, str]] = Counter()

    def serve(self, protocol: str, handler: Handler, *, limit: int = MAX_STREAMS_PER_PROTOCOL) -> None:
        """Serve `protocol` to members; the handler gets a WireStream and may raise."""
        self.serve_raw(protocol, self._wrapped(handler), limit=limit)

    def serve_strangers(self, protocol: str, handler: Handler, *, limit: int) -> None:
        """Serve `protocol` to everyone."""
        raw = self._wrapped(handler)
        self.serve_raw(protocol, raw, limit=limit)
        self._for_strangers.add_handler(TProtocol(protocol), raw)

    def serve_raw(self, protocol: str, handler: RawHandler, *, limit: int) -> None:
        """Serve `protocol` to members with a handler of the library's."""
        self._limits[protocol] = limit
        self._for_members.add_handler(TProtocol(protocol), handler)

    @property
    def offered_to_members(self) -> Multiselect:
        """What members may open, for identify to tell them."""
        return self._for_members

    def open_streams(self) -> int:
        """Inbound streams being served."""
        return self._by_peer.total()

    async def handle(self, stream: INetStream) -> None:
        """Serve one inbound stream to its end. Never raises but for cancellation."""
        peer = peer_text(stream.muxed_conn.peer_id)
        if self._by_peer[peer] >= MAX_STREAMS_PER_PEER or not self._opened.of(peer).spend():
            self._counters.count("stream_refused")
            await end_stream(stream, abruptly=True)
            self._conduct.strike(peer, "too_many_streams", STREAM_REFUSED)
            return
        with _slot(self._by_peer, peer):
            try:
                await self._negotiate_and_serve(stream, peer)
            except StreamBroken:
                self._counters.count("stream_broken")
            except RemoteError as error:
                self._conduct.strike(peer, "protocol", points_of(error))
            except Exception:  # noqa: BLE001 - counted; what a remote provokes must not end the host
                self._counters.count("handler_raised")
            finally:
                await end_stream(stream, abruptly=True)

    async def _negotiate_and_serve(self, stream: INetStream, peer: PeerId) -> None:
        offered = self._for_members if self._gate.is_member(peer) else self._for_strangers
        try:
            with trio.fail_after(self._timing.negotiate):
                protocol, handler = await offered.negotiate(MultiselectCommunicator(stream))
        except (MultiselectError, trio.TooSlowError, UnicodeDecodeError):
            self._counters.count("negotiation_failed")
            return
        if protocol is None or handler is None:
            return
        key = (peer, str(protocol))
        if self._by_protocol[key] >= self._limits[str(protocol)]:
            self._counters.count("stream_refused")
            self._conduct.strike(peer, "too_many_streams", STREAM_REFUSED)
            return
        stream.set_protocol(protocol)
        with _slot(self._by_protocol, key):
            await handler(stream)

    def _wrapped(self, handler: Handler) -> RawHandler:
        async def serve(stream: INetStream) -> None:
            wire = WireStream(stream, peer_text(stream.muxed_conn.peer_id))
            await handler(wire)
            # Served: our side ends first, and the peer reads to the end; a reset now could overtake the answer.
            with trio.move_on_after(LINGER):
                await wire.finish()
                while await wire.read_some():
                    self._counters.count("bytes_after_end")

        return serve


_K = TypeVar("_K")


@contextmanager
def _slot(counts: Counter[_K], key: _K) -> Iterator[None]:
    """One more in a count for the time of a block; zero counts are not kept."""
    counts[key] += 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]
