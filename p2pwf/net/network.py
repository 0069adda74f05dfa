"""The network of one node: watch its events, send, publish, fetch. The public face of this package, with `opened`.

Theory of operation. Every connection has one task that attends it from handshake to end: a member gets the clock
stream and the gossip stream, a stranger gets the join protocol and two idle seconds. Membership is asked of the gate
each time, and asked again for every connection on `members_changed`. What arrives goes to `events`, whose consumer
sets the pace: clock frames wait for it, gossip is dropped when it falls behind, and counted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager

import trio
from libp2p.network.connection.swarm_connection import SwarmConn

from p2pwf.clock.messages import PROTOCOL as CLOCK
from p2pwf.core.ids import Cid, PeerId, RunId
from p2pwf.errors import TryAgain, UsageError
from p2pwf.net.addresses import split_peer
from p2pwf.net.attend import Attendants
from p2pwf.net.blobs import PROTOCOL as BLOB
from p2pwf.net.blobs import Blobs
from p2pwf.net.conduct import Conduct, InFlight, Standing
from p2pwf.net.connections import Connections
from p2pwf.net.counters import Counters
from p2pwf.net.dialler import Dialler
from p2pwf.net.gossip import GossipQueue
from p2pwf.net.host import Host, open_stream
from p2pwf.net.joins import PROTOCOL as JOIN
from p2pwf.net.joins import STREAMS_PER_PEER as JOIN_STREAMS
from p2pwf.net.joins import Joins, Take, busy_connection
from p2pwf.net.links import Links
from p2pwf.net.logs import PROTOCOL as LOGS
from p2pwf.net.logs import LogRequest, Logs, next_chunk
from p2pwf.net.mdns import announced_and_watched
from p2pwf.net.ping import PROTOCOL as PING
from p2pwf.net.ping import round_trip
from p2pwf.net.stream import WireStream
from p2pwf.net.swarm import libp2p_id
from p2pwf.net.types import (
    BlobStore,
    Gate,
    Gossip,
    HoldHandler,
    JoinHandler,
    JoinReply,
    JoinRequest,
    LogHandler,
    NetConfig,
    NetEvent,
    PastHandler,
    PeerUp,
)

EVENTS = 64
"""Events waiting for the node: each frame may have 1 MiB, and the network waits well."""
GOSSIP_IN_FLIGHT, GOSSIP_IN_FLIGHT_BYTES = 64, 128 << 10
"""Gossip that waits for the node: as of one peer's frames, which must not wait behind a flood of it."""
MAX_CLOCK_STREAMS = 4
"""Of one peer: the one that stands, one that takes its place, and those of lost connections."""


class Network:
    """What `open_network` gives. Methods may be called from any task; peers are named by the text of their ids."""

    def __init__(
        self,
        config: NetConfig,
        *,
        gate: Gate,
        counters: Counters,
        conduct: Conduct,
        gossip: GossipQueue,
        host: Host,
        nursery: trio.Nursery,
    ) -> None:
        self._config = config
        self._timing = config.timing
        self._counters = counters
        self._conduct = conduct
        self._gossip = gossip
        self._host = host
        self._nursery = nursery
        self._connections = Connections()
        self._send_event, self.events = trio.open_memory_channel[NetEvent](EVENTS)
        self._links = Links(
            host.peer,
            config.boot,
            gate=gate,
            timing=config.timing,
            counters=counters,
            conduct=conduct,
            emit=self._emit,
            open_stream=self._open_stream,
            find=self._connections.find,
        )
        self._attendants = Attendants(
            self._connections,
            gate=gate,
            timing=config.timing,
            counters=counters,
            conduct=conduct,
            nursery=nursery,
            links=self._links,
            open_gossip=lambda peer: host.pubsub.admit(libp2p_id(peer)),
            emit=self._emit,
        )
        self._dialler = Dialler(
            host.peer,
            timing=config.timing,
            counters=counters,
            dial=self._dial,
            is_connected=lambda peer: bool(self._connections.of(peer)),
            wait_lost=self._connections.wait_lost,
        )
        self._blobs = Blobs(
            timing=config.timing,
            counters=counters,
            conduct=conduct,
            open_stream=self.open_to,
            connect=self._connect,
            linked=self._links.peers,
        )
        self._logs = Logs(
            timing=config.timing,
            counters=counters,
            open_stream=self.open_to,
            connect=self._connect,
            linked=self._links.peers,
        )
        self._joins = Joins(timing=config.timing, counters=counters, open_stream=self.open_to, busy=self._joining)
        conduct.throw_out = self._drop_soon
        conduct.hosts_of = lambda peer: {one.host for one in self._connections.of(peer) if one.host}
        host.door.serve(CLOCK, self._links.handle_inbound, limit=MAX_CLOCK_STREAMS)
        host.door.serve(BLOB, self._blobs.serve)
        host.door.serve(LOGS, self._logs.serve)
        host.door.serve_strangers(JOIN, self._joins.serve, limit=JOIN_STREAMS)
        host.swarm.on_connection = self._attendants.on_connection

    # What is asked of the network as a whole

    @property
    def peer_id(self) -> PeerId:
        """The peer id of this host."""
        return self._host.peer

    def addresses(self) -> list[str]:
        """The addresses to tell others, each ending in `/p2p/<peer id>`, best first."""
        return self._host.addresses()

    def peers(self) -> list[PeerId]:
        """The members whose clock stream stands."""
        return self._links.peers()

    def statistics(self) -> dict[str, object]:
        """Counts of everything dropped, refused and banned since the start, and what there is now."""
        return {
            "addresses": self.addresses(),
            "banned": self._conduct.banned(),
            "banned_addresses": self._conduct.banned_hosts(),
            "connections": len(self._connections),
            "counts": self._counters.as_dict(),
            "events_waiting": self.events.statistics().current_buffer_used,
            "frames_waiting": self._links.queued(),
            "gossip_waiting": len(self._gossip),
            "links": len(self._links.peers()),
            "streams_served": self._host.door.open_streams(),
        }

    # Connections

    def want_peers(self, addresses: Mapping[PeerId, Sequence[str]]) -> None:
        """Keep these peers connected, dialling for ever; addresses with or without `/p2p/…`, in order of preference."""
        self._dialler.want(addresses)

    async def dial(self, address: str) -> PeerId:
        """Connect to the peer that a multiaddr names; raises TryAgain if it does not answer in time.

        Raises UsageError if it names no peer, or this host.
        """
        bare, peer = split_peer(address)
        if peer == self.peer_id:
            raise UsageError(f"this node's own address: {address}", "give the address of another peer")
        if not self._connections.of(peer):
            await self._dialler.connect(peer, [bare])
        return peer

    def members_changed(self, farewells: Mapping[PeerId, Sequence[bytes]] | None = None) -> None:
        """Ask the gate about every connection again: let new members in, close those of former ones.

        `farewells`: of former members, the last clock frames that they are given `farewell` seconds to read.
        """
        self._attendants.members_changed(farewells or {})

    async def drop(self, peer: PeerId) -> None:
        """Close every connection with `peer`."""
        for connection in self._connections.of(peer):
            await connection.muxed.abort()

    def strike(self, peer: PeerId) -> Standing:
        """Note that `peer` sent what no correct peer sends; many of these in a short time ban it for a while."""
        self._conduct.strike(peer, "reported")
        return self._conduct.standing(peer)

    def standing(self, peer: PeerId) -> Standing:
        """The offences of a member, and whether it is banned."""
        return self._conduct.standing(peer)

    def latency(self, peer: PeerId) -> float | None:
        """Seconds of a round trip to a connected member, averaged over the last few; None before the first."""
        connection = self._links.connection(peer)
        return (connection.muxed.rtt() or None) if connection else None

    async def ping(self, peer: PeerId) -> float:
        """Seconds of one round trip to a peer. Raises TryAgain if it cannot be reached, RemoteError if it is silent."""
        await self._connect(peer)
        return await round_trip(await self.open_to(peer, PING), self._timing.silence)

    # Clock streams and gossip

    def send(self, peer: PeerId, frame: bytes) -> bool:
        """Queue a frame (≤ 1 MiB) for a member; False, and counted, if no stream stands or its queue is full."""
        return self._links.send(peer, frame)

    async def send_wait(self, peer: PeerId, frame: bytes) -> bool:
        """Queue a frame for a member once there is room; False if its stream does not stand, or ends meanwhile."""
        return await self._links.send_wait(peer, frame)

    async def publish(self, data: bytes) -> None:
        """Gossip `data` (≤ 1,000,000 bytes) to the members; a hint that may be lost."""
        await self._host.pubsub.announce(data)

    # Blobs, logs, joining

    def serve_blobs(self, store: BlobStore) -> None:
        """Serve the blobs of `store` to members."""
        self._blobs.serve_from(store)

    async def fetch_blob(self, cid: Cid, peers: Sequence[PeerId], into: BlobStore) -> None:
        """Get a blob from the first of `peers` that gives it, resuming what is on disk; returns once it is held.

        A peer that is not connected is dialled if its address is known, and else asked through connected members. Two
        calls for one blob share the work. Raises NotFound if every peer asked says that it has none, TryAgain if
        none could be reached or finished, StorageError if our disk refused.
        """
        await self._blobs.fetch(cid, peers, into)

    def serve_hold(self, handler: HoldHandler) -> None:
        """Let `handler(peer, cids)` fetch and pin what a member wants held here; it returns the CIDs that are held."""
        self._blobs.serve_hold(handler)

    async def ask_to_hold(self, peer: PeerId, cids: Sequence[Cid]) -> set[Cid]:
        """Ask a connected member to fetch blobs from us and keep them; the CIDs that it then holds.

        Waits for as long as that takes. Raises TryAgain if it is not connected, RemoteError if the stream breaks.
        """
        return await self._blobs.ask_to_hold(peer, cids)

    def serve_logs(self, handler: LogHandler) -> None:
        """Serve logs: `handler(run, job, leg, attempt, first line)` gives an iterator of chunks of whole lines."""
        self._logs.serve_with(handler)

    async def follow_log(
        self, peer: PeerId, run: RunId, job: str, leg: int, attempt: int, *, first_line: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """Chunks of whole lines of a log that `peer` has, from a line on, until the log is complete.

        Close the iterator (`aclosing`) to stop following. A peer that is not connected is asked through connected
        members. Raises NotFound if it has no such log, TryAgain if it cannot be reached, RemoteError if the stream
        breaks: then ask again from the line after the last one received.
        """
        async with self._logs.follow(peer, LogRequest(run, job, leg, attempt, first_line)) as log:
            while chunk := await next_chunk(log):
                yield chunk

    def serve_join(self, handler: JoinHandler, past: PastHandler | None = None) -> None:
        """Let `handler(peer, request)` answer the join requests of strangers.

        To whom it answers `removed`, `past(peer, hello)` gives the clock frames that show why, if the peer wants them.
        """
        self._joins.serve_with(handler, past)

    async def ask_join(self, target: str, request: JoinRequest) -> JoinReply:
        """Ask to be let in, of a connected peer's id or of the peer that a multiaddr names.

        Raises TryAgain if it cannot be reached, RemoteError if it breaks the protocol or off."""
        peer = await self.dial(target) if target.startswith("/") else PeerId(target)
        return await self._joins.ask(peer, request)

    async def ask_standing(self, peer: PeerId, request: JoinRequest, hello: bytes, take: Take) -> JoinReply:
        """Ask a connected peer as what it knows us: admitted, pending, refused or removed.

        If removed, it is sent `hello`, which says what we have, and `take` gets the clock frames that it answers. Their
        number and size are bounded; what they say is to be checked like anything that a peer sends. Raises TryAgain
        if it is not connected, RemoteError if it breaks the protocol or off.
        """
        return await self._joins.ask(peer, request, hello, take)

    # Inside

    async def _connect(self, peer: PeerId) -> bool:
        """Whether there is, or now is, a connection to a peer."""
        addresses = self._dialler.addresses(peer)
        if not self._connections.of(peer) and addresses:
            try:
                await self._dialler.connect(peer, addresses)
            except TryAgain:
                return False
        return bool(self._connections.of(peer))

    async def _dial(self, peer: PeerId, address: str) -> None:
        if self._conduct.is_banned(peer):
            raise TryAgain(f"{peer} is kept out for a while: it broke the protocol too often")
        await self._host.swarm.dial(peer, address)

    def _drop_soon(self, peer: PeerId) -> None:
        self._nursery.start_soon(self.drop, peer)

    def _discovered(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        """Connect to a peer that was found on the local network, unless it is known."""
        self._counters.count("mdns_found")
        if peer != self.peer_id:
            self._dialler.found(peer, addresses)
            self._nursery.start_soon(self._connect, peer)

    def _joining(self, stream: WireStream) -> AbstractContextManager[None]:
        return busy_connection(self._connections.find(stream.conn) if stream.conn is not None else None)

    async def open_to(self, peer: PeerId, protocol: str) -> WireStream:
        """A stream to a connected peer; raises TryAgain if it is not connected, StreamBroken if it does not take it."""
        connection = self._links.connection(peer)
        candidates = [connection] if connection else self._connections.of(peer)[-1:]
        if not candidates:
            raise TryAgain(f"{peer} is not connected")
        return await self._open_stream(candidates[0].conn, peer, protocol)

    async def _open_stream(self, conn: SwarmConn, peer: PeerId, protocol: str) -> WireStream:
        return await open_stream(conn, peer, protocol, self._timing.negotiate)

    async def _emit(self, event: NetEvent) -> None:
        if isinstance(event, PeerUp):
            self._dialler.came_up(event.peer)
        try:
            await self._send_event.send(event)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self._counters.count("event_after_close")

    async def _pump_gossip(self) -> None:
        in_flight = InFlight(GOSSIP_IN_FLIGHT, GOSSIP_IN_FLIGHT_BYTES)
        while True:
            author, data = await self._gossip.take()
            await self._emit(Gossip(author, data, await in_flight.add(len(data))))

    async def run(self) -> None:
        """The work of the network besides its connections, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._dialler.run)
            nursery.start_soon(self._pump_gossip)
            if self._config.mdns:
                nursery.start_soon(self._discover)

    async def _discover(self) -> None:
        try:
            async with announced_and_watched(self._config.topic, self.addresses(), self._discovered):
                await trio.sleep_forever()
        except OSError:
            self._counters.count("mdns_failed")  # no multicast here: everything else works without

    def close(self) -> None:
        """Take no further events: whoever waits for room in the queue goes on."""
        self._send_event.close()
