"""Values and seams of the network: what a node says to `p2pwf.net` and what it hears. Knows nothing of libp2p.

Importing this module is cheap; `p2pwf.net.network`, which makes the real thing, costs the import of libp2p (seconds).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable
from typing import Protocol, TypeAlias

from attrs import field, frozen

from p2pwf.core.ids import Cid, PeerId, RunId


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)


@frozen
class Timing:
    """Every duration of the network, in seconds; the defaults suit hosts on the open internet."""

    dial: float = 5.0
    """One dial, all addresses of a peer together: a SYN that nobody answers would hold it for minutes."""
    upgrade: float = 5.0
    """From an accepted socket to an authenticated, multiplexed connection."""
    negotiate: float = 5.0
    """Agreeing on the protocol of one stream."""
    request: float = 10.0
    """Reading one request or the head of one answer."""
    stall: float = 30.0
    """A body or a frame that makes no progress for that long is given up."""
    stranger_idle: float = 1.5
    """A connection of no member, without a join request under way, is closed after that long."""
    unlinked: float = 1.0
    """How long a member that is connected may take for its clock stream before it is asked whether it knows us: less
    than `stranger_idle`, after which a peer that does not know us closes the connection."""
    farewell: float = 2.0
    """How long a former member has to read why it is closed: what is on its way arrives in a round trip or two."""
    ping: float = 2.0
    """Between two pings of one connection."""
    silence: float = 6.0
    """A connection on which nothing at all arrived for that long is closed: three pings went unanswered."""
    probe: float = 2.0
    """How long the older of two connections of one peer id with two boot nonces has to prove that it lives."""
    retry_first: float = 0.2
    """First wait before dialling a lost peer again; it doubles."""
    retry_quick: float = 5.0
    """The longest wait while a peer is away for less than `retry_patience`: partitions of minutes heal at once."""
    retry_patience: float = 600.0
    retry_last: float = 30.0
    """The longest wait of all; dialling never ends."""
    ban: float = 60.0
    """How long a peer that broke the protocol too often stays out."""


@frozen
class NetConfig:
    """What a host is opened with.

    `listen` and `announce` are multiaddr texts (`/ip4/0.0.0.0/tcp/4070`); port 0 takes any free one. `psk` is the 32
    bytes of a private network, or None. `topic` names the gossip topic. `boot` are 16 random bytes of this process
    start: two live hosts with one key are told apart by them.
    """

    listen: tuple[str, ...] = field(converter=_texts)
    topic: str
    boot: bytes
    announce: tuple[str, ...] = field(default=(), converter=_texts)
    psk: bytes | None = None
    mdns: bool = False
    timing: Timing = Timing()


class Gate(Protocol):
    """Who is in: asked for every connection, stream and gossip message. Its answers may change at any time."""

    def is_member(self, peer: PeerId) -> bool:
        """Whether `peer` may use the protocols of members. Called often: a look-up, never I/O."""
        ...


@frozen
class PeerUp:
    """The clock stream with a member stands, in both directions. `inbound`: the peer dialled us."""

    peer: PeerId
    inbound: bool


@frozen
class PeerDown:
    """The clock stream with a member ended; frames that were still queued for it are gone."""

    peer: PeerId


def _nothing() -> None:
    """Nobody waits for it."""


@frozen
class Frame:
    """One frame from a member's clock stream.

    Whoever takes it calls `handled` once it is done with it: of one peer only so much is given out at a time, so that
    nobody else waits behind a flood.
    """

    peer: PeerId
    data: bytes
    handled: Callable[[], None] = field(default=_nothing, eq=False, repr=False)


@frozen
class Gossip:
    """One gossip message; `author` is the member that signed it, which need not be the one that passed it on.
    `handled` as of a frame; all gossip shares one allowance."""

    author: PeerId
    data: bytes
    handled: Callable[[], None] = field(default=_nothing, eq=False, repr=False)


@frozen
class DuplicateIdentity:
    """Two live processes use one key: the peer named is reached twice, with two boot nonces."""

    peer: PeerId


@frozen
class Unlinked:
    """A member is connected, but there is no clock stream: it may not know this node as a member (any more)."""

    peer: PeerId


NetEvent: TypeAlias = PeerUp | PeerDown | Frame | Gossip | DuplicateIdentity | Unlinked


MAX_NAME = 64
MAX_LABELS = 32
MAX_LABEL = 64
"""Of what a stranger may say of itself: characters of its name, labels, characters of each."""


@frozen
class JoinRequest:
    """What a peer that wants in says of itself. `secret` is a ticket's, or None to wait for an admin."""

    network: Cid | None
    secret: bytes | None
    name: str
    labels: tuple[str, ...] = field(converter=_texts)
    slots: int


@frozen
class JoinReply:
    """The answer to a join request: `status` is admitted, pending, refused or removed; `reason` is for people."""

    status: str
    network: Cid | None = None
    reason: str = ""


class PartialBlob(Protocol):
    """A download under way, kept across restarts: bytes up to `offset` are on disk."""

    offset: int

    def append(self, chunk: bytes) -> None:
        """Add the bytes at `offset`; raises StorageError when the disk or the quota has no room."""
        ...

    def finish(self) -> Cid:
        """Check the hash and keep the blob; keeps nothing and raises RemoteError if the bytes are not the CID's, or
        StorageError if a part of them came from the disk."""
        ...

    def close(self) -> None:
        """Stop here; what was received stays for another attempt. Harmless after `finish`."""
        ...


class BlobStore(Protocol):
    """What the blob protocol needs of `p2pwf.store`; every method may touch the disk and is called in a thread."""

    def size(self, cid: Cid) -> int | None:
        """Bytes of the blob, None if it is not held."""
        ...

    def read_range(self, cid: Cid, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; raises NotFound, or StorageError for a damaged blob."""
        ...

    def partial(self, cid: Cid) -> PartialBlob:
        """Start or go on with a download; raises TryAgain while another one of the same blob is open."""
        ...


JoinHandler: TypeAlias = Callable[[PeerId, JoinRequest], Awaitable[JoinReply]]
PastHandler: TypeAlias = Callable[[PeerId, bytes], AsyncGenerator[bytes, None]]
"""(a former member, the hello that says what it has) to the frames that bring it to the cut that ended it; raises
RemoteError for what is no hello."""
HoldHandler: TypeAlias = Callable[[PeerId, tuple[Cid, ...]], Awaitable[Collection[Cid]]]
LogHandler: TypeAlias = Callable[[RunId, str, int, int, int], Awaitable[AsyncIterator[bytes]]]
"""(run, job, leg, attempt, first line) to chunks of whole NDJSON lines; raises NotFound when there is no such log."""
