"""The clock streams: one long-lived stream of frames with each connected member. Knows nothing of what frames say.

Theory of operation. Of two members, the one whose peer id text is smaller opens `/p2pwf/clock/2.0.0` on a connection
that stands. Both send an opening frame {boot, link, v}: `boot` are 16 random bytes of the process start, `link` counts
the streams that the opener made. When both openings were read, the link stands: PeerUp. Then frames, until the stream
ends: PeerDown. There is one link with a peer at a time:

  same boot, higher link number   the opener made a new one, the old is retired (it may be dead without our knowing)
  another boot, old one silent    the peer's process was restarted: the old link is retired
  another boot, old one answers   two live processes have one key: the newcomer is refused, DuplicateIdentity

The opener opens on every connection that it has no link for and on every one that the peer dialled, since a peer dials
when it thinks that it has none, and since a second process with the peer's key can be met in no other way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio
from attrs import define, field
from libp2p.network.connection.swarm_connection import SwarmConn

from p2pwf.clock.messages import PROTOCOL
from p2pwf.core.dagcbor import DagCborError, decode, encode
from p2pwf.core.ids import PeerId
from p2pwf.errors import RemoteError
from p2pwf.net.conduct import Allowances, Conduct, InFlight, points_of
from p2pwf.net.counters import Counters
from p2pwf.net.framing import BrokenFrame, frame
from p2pwf.net.outbox import Outbox
from p2pwf.net.stream import StreamBroken, WireStream
from p2pwf.net.types import DuplicateIdentity, Frame, Gate, NetEvent, PeerDown, PeerUp, Timing
from p2pwf.net.yamux import GuardedYamux

MAX_FRAME = 1_000_000
"""Bytes of one frame, as of a gossip message, so that whatever is said fits either way."""
MAX_OPENING = 256
"""Bytes of the opening frame: 16 of boot, a number, a version."""
FRAME_RATE, FRAME_BURST = 1000.0, 2048.0
"""Frames from one peer: far more than beats, receipts and chunks of events come to. A peer that sends more waits."""
IN_FLIGHT, IN_FLIGHT_BYTES = 64, 128 << 10
"""Frames of one peer that wait for the node: some hundred events, a tenth of a second of its time, and two batches of
its commits. So the frames of others are handled soon, however much one peer sends."""
BOOT_BYTES = 16
VERSION = 1
RETRY_FIRST, RETRY_LAST = 0.1, 5.0
"""Seconds between attempts to open the stream to a member that is connected but did not admit us yet."""

Emit = Callable[[NetEvent], Awaitable[None]]
OpenStream = Callable[[SwarmConn, PeerId, str], Awaitable[WireStream]]


@define(eq=False)
class Connection:
    """One connection to a peer, as this package knows it."""

    peer: PeerId
    conn: SwarmConn
    muxed: GuardedYamux
    inbound: bool
    admission: trio.Event = field(factory=trio.Event)
    """Set once the gate knows its peer as a member."""
    host: str = ""
    """The address that it came in from; "" if we dialled it, or it is not known."""
    asked: bool = False
    """Whether there was a join request on it."""
    joins: int = 0
    """Join requests under way on it, in either direction."""
    last_join: float = field(factory=trio.current_time)
    parting: bool = False
    """Its peer was a member, and is being told that it is none any more."""

    @property
    def admitted(self) -> bool:
        """Whether its peer was let in."""
        return self.admission.is_set()

    @property
    def closed(self) -> bool:
        """Whether it ended."""
        return self.muxed.is_closed


@define(eq=False)
class _Link:
    connection: Connection
    stream: WireStream
    boot: bytes
    number: int
    outbox: Outbox = field(factory=Outbox)
    in_flight: InFlight = field(factory=lambda: InFlight(IN_FLIGHT, IN_FLIGHT_BYTES))
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    down: trio.Event = field(factory=trio.Event)

    @property
    def peer(self) -> PeerId:
        return self.connection.peer


class Links:
    """All links of this host."""

    def __init__(
        self,
        own: PeerId,
        boot: bytes,
        *,
        gate: Gate,
        timing: Timing,
        counters: Counters,
        conduct: Conduct,
        emit: Emit,
        open_stream: OpenStream,
        find: Callable[[SwarmConn], Connection | None],
    ) -> None:
        self._own = own
        self._boot = boot
        self._gate = gate
        self._timing = timing
        self._counters = counters
        self._conduct = conduct
        self._emit = emit
        self._open_stream = open_stream
        self._find = find
        self._links: dict[PeerId, _Link] = {}
        self._turns: dict[PeerId, trio.Lock] = {}
        self._opened = 0
        self._frames = Allowances(FRAME_RATE, FRAME_BURST)
        self._changed = trio.Event()

    def peers(self) -> list[PeerId]:
        """The members with which a link stands."""
        return list(self._links)

    def connection(self, peer: PeerId) -> Connection | None:
        """The connection that the link with `peer` is on, if one stands."""
        link = self._links.get(peer)
        return link.connection if link else None

    def queued(self) -> int:
        """Frames waiting in all queues."""
        return sum(len(link.outbox) for link in self._links.values())

    async def wait_changed(self) -> None:
        """Wait until a link comes up or goes down."""
        await self._changed.wait()

    def send(self, peer: PeerId, data: bytes) -> bool:
        """Queue a frame for `peer`; False, and counted, if there is no link or no room."""
        _check_size(data)
        link = self._links.get(peer)
        if link is None or not link.outbox.put(frame(data)):
            self._counters.count("frame_not_queued")
            return False
        return True

    async def send_wait(self, peer: PeerId, data: bytes) -> bool:
        """Queue a frame for `peer` once there is room; False, and counted, if there is no link, or it ends."""
        _check_size(data)
        link = self._links.get(peer)
        if link is None or not await link.outbox.put_wait(frame(data)):
            self._counters.count("frame_not_queued")
            return False
        return True

    async def part(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """Send last frames to a peer that is no member any more, and wait until it has read them and ended the stream.

        To be called under a deadline: the peer may never do so. What it sends meanwhile is dropped.
        """
        link = self._links.get(peer)
        if link is None:
            return
        for data in frames:
            _check_size(data)
            await link.outbox.put_wait(frame(data))
        link.outbox.end()
        await link.down.wait()

    async def run_outbound(self, connection: Connection) -> None:
        """Keep a link with the peer of `connection`, if opening it is our part; to be cancelled when that ends."""
        peer = connection.peer
        delay = RETRY_FIRST
        asked = connection.inbound
        while self._own < peer and self._gate.is_member(peer):
            if peer in self._links and not asked:
                await self._changed.wait()
                continue
            asked = False
            if not await self._open_and_serve(connection):
                await trio.sleep(delay)  # the peer may learn only later that we are a member
                delay = min(2 * delay, RETRY_LAST)

    async def _open_and_serve(self, connection: Connection) -> bool:
        self._opened += 1
        number = self._opened
        try:
            stream = await self._open_stream(connection.conn, connection.peer, PROTOCOL)
        except RemoteError:
            self._counters.count("link_refused")
            return False
        try:
            await stream.write_frame(encode_opening(self._boot, number))
            boot, _ = decode_opening(await stream.expect_frame(MAX_OPENING, self._timing.request))
            return await self._serve(_Link(connection, stream, boot, number))
        except StreamBroken:
            self._counters.count("link_broken")
        except RemoteError as error:
            self._conduct.strike(connection.peer, "clock", points_of(error))
            await connection.muxed.abort()
        finally:
            await stream.reset()
        return False

    async def handle_inbound(self, stream: WireStream) -> None:
        """Serve a clock stream that the peer opened; closes the connection of a broken protocol, raises RemoteError."""
        connection = self._find(stream.conn) if stream.conn is not None else None
        if connection is None:
            return  # it ended meanwhile
        try:
            if self._own < stream.peer:
                raise RemoteError("a clock stream opened by the side that has to wait")  # noqa: TRY301
            boot, number = decode_opening(await stream.expect_frame(MAX_OPENING, self._timing.request))
            await stream.write_frame(encode_opening(self._boot, number))
            await self._serve(_Link(connection, stream, boot, number))
        except StreamBroken:
            raise
        except RemoteError:
            await connection.muxed.abort()
            raise

    async def _serve(self, link: _Link) -> bool:
        """Serve a link to its end; False if another one stays in its place. Raises what its stream raised."""
        peer = link.peer
        async with self._turns.setdefault(peer, trio.Lock()):
            if not await self._takes_over(link):
                await link.stream.reset()
                return False
            self._links[peer] = link
            self._note_change()
        try:
            await self._emit(PeerUp(peer, link.connection.inbound))
            await self._pump(link)
        finally:
            if self._links.get(peer) is link:
                del self._links[peer]
            self._counters.count("frame_dropped_with_link", link.outbox.close())
            with trio.CancelScope(shield=True):
                await self._emit(PeerDown(peer))
            link.down.set()
            self._note_change()
        return True

    async def _pump(self, link: _Link) -> None:
        """Move frames both ways until the stream ends, breaks (which is raised) or the link is retired."""
        failures: list[RemoteError] = []

        async def until_failure(work: Callable[[_Link], Awaitable[None]]) -> None:
            try:
                await work(link)
            except RemoteError as error:
                failures.append(error)
            link.scope.cancel()

        with link.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(until_failure, self._write)
                nursery.start_soon(until_failure, self._read)
        if failures:
            raise failures[0]

    async def _takes_over(self, link: _Link) -> bool:
        old = self._links.get(link.peer)
        if old is None:
            return True
        if old.boot == link.boot:
            if link.number <= old.number:
                return False
        elif await old.connection.muxed.probe(self._timing.probe):
            self._counters.count("duplicate_identity")
            await self._emit(DuplicateIdentity(link.peer))
            await link.connection.muxed.abort()
            return False
        old.scope.cancel()
        await old.down.wait()
        return True

    async def _read(self, link: _Link) -> None:
        while True:
            data = await link.stream.read_frame(MAX_FRAME)
            if data is None:
                return
            await self._conduct.pace(link.peer, self._frames)
            if self._conduct.is_banned(link.peer):
                return
            if self._gate.is_member(link.peer):
                if link.in_flight.is_full(len(data)):
                    self._counters.count("frame_let_wait")
                await self._emit(Frame(link.peer, data, await link.in_flight.add(len(data))))
            else:
                self._counters.count("frame_of_no_member")  # it is being told, and closed

    async def _write(self, link: _Link) -> None:
        while batch := await link.outbox.next_batch():
            await link.stream.write(b"".join(batch))
        await link.stream.finish()
        await trio.sleep_forever()  # the reader sees the peer's end

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _check_size(data: bytes) -> None:
    if len(data) > MAX_FRAME:
        raise ValueError(f"a frame of {len(data)} bytes, the limit is {MAX_FRAME}")


def encode_opening(boot: bytes, number: int) -> bytes:
    """The opening frame of a clock stream."""
    return encode({"boot": boot, "link": number, "v": VERSION})


def decode_opening(data: bytes) -> tuple[bytes, int]:
    """(boot, link) of an opening frame received; raises RemoteError for anything malformed."""
    try:
        value = decode(data, MAX_OPENING)
    except DagCborError as error:
        raise BrokenFrame("a malformed opening of the clock stream") from error
    match value:
        case {"boot": bytes(boot), "link": int(number), "v": int(), **rest} if (
            not rest and type(boot) is bytes and len(boot) == BOOT_BYTES and type(number) is int and number >= 0
        ):
            return boot, number
    raise RemoteError("a malformed opening of the clock stream")
