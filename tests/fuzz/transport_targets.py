"""What reaches a host before and below its protocols: addresses, negotiation, the multiplexer. As targets.

Each takes any bytes and fails only if something else comes out than a value or an error that the caller of the reader
takes for granted, or if a connection that has ended leaves a stream behind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

import trio
from libp2p.abc import ISecureConn
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.stream_muxer.yamux.yamux import YAMUX_HEADER_FORMAT

from p2pwf.core.ids import PeerId, public_key_of
from p2pwf.core.sign import Signer
from p2pwf.errors import P2pwfError, UsageError
from p2pwf.net.addresses import dial_pair, listen_pair, split_peer
from p2pwf.net.counters import Counters
from p2pwf.net.guards import install
from p2pwf.net.mdns import parse_record
from p2pwf.net.swarm import libp2p_id
from p2pwf.net.types import Timing
from p2pwf.net.yamux import GuardedYamux

PEER: Final = Signer(b"\5" * 32).peer_id
install()


def address(data: bytes) -> None:
    """An address, as a peer tells one, as it is pasted, and as the local network announces it."""
    text = data.decode("utf-8", "replace")
    for read in (split_peer, dial_pair, listen_pair):
        with suppress(UsageError):
            read(text)
    with suppress(P2pwfError):
        public_key_of(PeerId(text))
    names = data.split(b"\n")
    record = parse_record({b"dnsaddr%d" % number: value for number, value in enumerate(names)})
    if record is not None:
        assert len(public_key_of(record[0])) == 32
        assert all(listen_pair(one) for one in record[1])


class _Given:
    """A stream, or a connection, on which some bytes came and then the end; what is written goes nowhere."""

    is_initiator = False

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.closed = False

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        start = self._at
        self._at = len(self._data) if n is None or n < 0 else min(len(self._data), start + n)
        if self.closed:
            raise ConnectionClosedError("closed", transport="test")
        return self._data[start : self._at]

    async def write(self, _data: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        self.closed = True

    def get_remote_address(self) -> None:
        return None


async def _handler(_stream: object) -> None:
    """Of the protocol that is offered."""


def negotiation(data: bytes) -> None:
    """How a stream begins: the errors are those that the door takes for a peer's."""

    async def negotiate() -> None:
        offered = Multiselect({cast(Any, "/p2pwf/join/1.0.0"): cast(Any, _handler)})
        with suppress(MultiselectError, trio.TooSlowError, UnicodeDecodeError):
            await offered.negotiate(MultiselectCommunicator(cast(Any, _Given(data))))

    trio.run(negotiate)


def muxer(data: bytes) -> None:
    """Frames of the multiplexer, whole and broken, and then the end of the connection. Nobody accepts its streams."""

    async def serve() -> None:
        conn = _Given(data)
        muxed = GuardedYamux(cast(ISecureConn, conn), libp2p_id(PEER), Timing(ping=0.1, silence=0.3), Counters())
        with trio.fail_after(30):
            await muxed.start()
        assert muxed.event_shutting_down.is_set()
        assert not muxed.counters.get("connection_crashed")
        assert not muxed.streams
        assert not muxed.stream_buffers

    trio.run(serve)


def _frame(kind: int, flags: int, stream: int, length: int, body: bytes = b"", version: int = 0) -> bytes:
    return struct.pack(YAMUX_HEADER_FORMAT, version, kind, flags, stream, length) + body


CORPORA: Final[dict[str, tuple[bytes, ...]]] = {
    "address": (
        f"/ip4/192.0.2.1/tcp/4070/p2p/{PEER}".encode(),
        f"/dns4/host.example/tcp/1/p2p/{PEER}\n/ip6/2001:db8::1/tcp/65535/p2p/{PEER}".encode(),
        f"/ip6/fe80::1%eth0/tcp/80/p2p/{PEER}".encode(),
        PEER.encode(),
    ),
    "negotiation": (
        b"\x13/multistream/1.0.0\n\x12/p2pwf/join/1.0.0\n",
        b"\x13/multistream/1.0.0\n\x03ls\n\x12/p2pwf/none/1.0.0\n\x03na\n",
        b"\x80\x08" + b"a" * 1023 + b"\n",
    ),
    "muxer": (
        _frame(1, 1, 1, 262_144) + _frame(0, 0, 1, 5, b"hello") + _frame(0, 4, 1, 0),
        _frame(0, 1, 3, 3, b"abc") + _frame(0, 8, 3, 0) + _frame(0, 0, 3, 2, b"xy"),
        _frame(2, 1, 0, 7) + _frame(2, 2, 0, 7) + _frame(1, 0, 9, 1 << 31) + _frame(3, 0, 0, 0),
        _frame(1, 1 | 4 | 8, 5, 1) + _frame(1, 1, 5, 1) + _frame(0, 1, 2, 1, b"z") + _frame(7, 0, 1, 1) + b"\0",
    ),
}
"""What the inputs of a target are made of."""

TRANSPORT_TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "address": address,
    "negotiation": negotiation,
    "muxer": muxer,
}
