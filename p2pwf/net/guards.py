"""Every change made to libp2p from outside, each for a fault measured in 0.8.1; subclasses do the rest.

A change here replaces a module's name, because the library looks that name up where nothing can be passed in. All of
them are listed in PATCHES with their reason; `install` checks that each name is still there, so that another version
of libp2p gives one clear error instead of a host without its guards. Guards that are subclasses: `yamux`, `tcp`,
`swarm`, `gossip`; the gate for streams is `door`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version

from attrs import frozen
from libp2p.exceptions import ParseError
from libp2p.io.abc import Reader
from libp2p.io.exceptions import IncompleteReadError
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.rpc_queue import DefaultMaxMessageSize, RpcQueue
from libp2p.pubsub.validators import signature_validator
from libp2p.utils.varint import decode_uvarint

from p2pwf.errors import InternalError, RemoteError
from p2pwf.net.yamux import GuardedYamuxStream

WRITTEN_FOR = "0.8.1"
"""The libp2p whose behaviour was measured; pyproject.toml pins its series."""
QUEUE_SLOTS = 4096
"""Gossip messages waiting at one place; the library's 32 lose 97 % of a burst of 1,000."""
QUEUE_BYTES = 16 << 20
"""Bytes of gossip waiting for one peer: slots alone would let a peer that reads nothing hold 4 GiB."""
MAX_WINDOW = 4 << 20
"""Receive window of one stream at most: 40 MB/s at 100 ms; the library's 16 MiB times streams is a memory attack."""
LOGGERS = ("libp2p", "libp2p.network.auto_connector")
"""The second sets its own level."""
MAX_NEGOTIATION_LINE = 1024
"""Bytes of one line of protocol negotiation; the library reads as many as the length prefix claims."""


class BoundedRpcQueue(RpcQueue):
    """Gossip waiting for one peer, bounded in messages and in bytes."""

    def __init__(self, max_size: int = QUEUE_SLOTS, max_message_size: int = DefaultMaxMessageSize) -> None:
        super().__init__(max_size, max_message_size)
        self._bytes = 0
        self.refused: Callable[[], None] = _nobody_counts
        """Called for each message that found no room."""

    def push(self, rpc: rpc_pb2.RPC, priority: bool = False) -> bool:
        """Add `rpc` unless the queue is full; the library counts what is refused as dropped."""
        size = rpc.ByteSize()
        if self._bytes + size > QUEUE_BYTES or not super().push(rpc, priority):
            self.refused()
            return False
        self._bytes += size
        return True

    async def pop(self) -> rpc_pb2.RPC | None:
        """The next message, or None once the queue is closed."""
        rpc = await super().pop()
        # A message may have grown by piggybacked control since it was counted: an empty queue holds nothing.
        self._bytes = max(0, self._bytes - rpc.ByteSize()) if rpc is not None and len(self) else 0
        return rpc


def _nobody_counts() -> None:
    """Until the queue has an owner, which is at once."""


async def read_exactly(reader: Reader, n: int, retry_count: int = 0) -> bytes:  # noqa: ARG001 - the library's signature
    """Exactly `n` bytes; raises IncompleteReadError at the end. Waits as long as bytes keep coming."""
    data = await reader.read(n)
    if len(data) == n:
        return data
    buffer = bytearray(data)
    while data and len(buffer) < n:
        data = await reader.read(n - len(buffer))
        buffer += data
    if len(buffer) < n:
        raise IncompleteReadError("the connection ended", expected_bytes=n, received_bytes=len(buffer))
    return bytes(buffer)


async def read_delim(reader: Reader) -> bytes:
    """One line of protocol negotiation, of bounded length."""
    head = bytearray()
    while not head or head[-1] & 0x80:
        if len(head) >= 2:
            raise ParseError("a line of negotiation is too long")
        head += await read_exactly(reader, 1)
    length = decode_uvarint(bytes(head))
    if not 1 <= length <= MAX_NEGOTIATION_LINE:
        raise ParseError("a line of negotiation is empty or too long")
    line = await read_exactly(reader, length)
    if not line.endswith(b"\n"):
        raise ParseError("a line of negotiation has no end")
    return line[:-1]


def require_signature(message: rpc_pb2.Message) -> bool:
    """True for a message that its author signed; raises RemoteError for any other: who passes it on has not looked."""
    if not signature_validator(message):
        raise RemoteError("a gossip message that its author did not sign")
    return True


@frozen
class Patch:
    """One name of one module of libp2p, what takes its place, and why."""

    module: str
    name: str
    replacement: object
    reason: str


PATCHES = (
    Patch(
        "libp2p.pubsub.pubsub",
        "RpcQueue",
        BoundedRpcQueue,
        "32 slots towards a peer lose bursts, and no bound on bytes loses memory",
    ),
    Patch(
        "libp2p.pubsub.pubsub",
        "signature_validator",
        require_signature,
        "drops forged messages without a word, each for the price of a check, and nobody to blame",
    ),
    Patch(
        "libp2p.stream_muxer.yamux.yamux",
        "YamuxStream",
        GuardedYamuxStream,
        "window updates for every read, 5 s write stall, no limit on what a peer sends past its window",
    ),
    Patch(
        "libp2p.stream_muxer.yamux.yamux",
        "MAX_WINDOW_SIZE",
        MAX_WINDOW,
        "16 MiB a stream, and as much again for one data frame",
    ),
    Patch(
        "libp2p.stream_muxer.yamux.yamux",
        "read_exactly",
        read_exactly,
        "gives up after 100 partial reads, so a slow honest link breaks; goes on after the end",
    ),
    Patch("libp2p.io.msgio", "read_exactly", read_exactly, "as above, under Noise"),
    Patch(
        "libp2p.protocol_muxer.multiselect_communicator",
        "read_delim",
        read_delim,
        "reads and keeps as many bytes as a stranger announces, before any authentication",
    ),
    Patch(
        "libp2p.network.connection.swarm_connection",
        "logging",
        logging.getLogger("libp2p.network.connection"),
        "logs on the root logger, which installs a handler on stderr for the whole process",
    ),
)


def install() -> None:
    """Apply every patch; harmless when done before. Raises InternalError if libp2p is not the one they are for."""
    for patch in PATCHES:
        module = import_module(patch.module)
        if not hasattr(module, patch.name):
            raise InternalError(
                f"libp2p {version('libp2p')} has no {patch.module}.{patch.name}: its guards are for {WRITTEN_FOR}",
                f"install libp2p=={WRITTEN_FOR}",
            )
        setattr(module, patch.name, patch.replacement)
    # What a remote does is no diagnosis of ours: it is counted instead, and would fill the log at the remote's will.
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def check_methods(base: type, overridden: type, names: tuple[str, ...]) -> None:
    """Raise InternalError unless `overridden` replaces methods that `base` really has and calls."""
    missing = [name for name in names if not hasattr(base, name) or name not in vars(overridden)]
    if missing:
        raise InternalError(
            f"libp2p {version('libp2p')} has no {base.__name__}.{missing[0]}: its guards are for {WRITTEN_FOR}",
            f"install libp2p=={WRITTEN_FOR}",
        )
