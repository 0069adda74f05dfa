"""The connections of a host: who may connect, how many, and how a dial is made. Subclass of libp2p 0.8.1's Swarm.

What differs: a slot for inbound connections is free again when its connection ends (there, never: after 300 lifetime
connections every further one is refused); half-open connections are bounded per remote address; connections are
bounded per peer and in all; nothing dials by itself; no failed dial blocks a peer for a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import trio
from libp2p.abc import IMuxedConn, INetConn
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from p2pwf.core.ids import PeerId, public_key_of
from p2pwf.errors import UsageError
from p2pwf.net.conduct import NO_HANDSHAKE, OFFENCE, Allowance, Conduct
from p2pwf.net.counters import Counters
from p2pwf.net.guards import check_methods
from p2pwf.net.tcp import Tcp
from p2pwf.net.types import Timing
from p2pwf.net.yamux import GuardedMuxers, GuardedYamux

MAX_CONNECTIONS = 1024
"""In all: each costs about 9 KiB and a descriptor, and the usual limit of descriptors is 1,024 or far above."""
MAX_CONNECTIONS_PER_PEER = 4
"""One is the rule; two peers that dial each other at once have two, and a lost one may linger until it is noticed."""
MAX_HANDSHAKES = 128
"""Connections that have not authenticated yet: each is given `Timing.upgrade` seconds."""
MAX_HANDSHAKES_PER_HOST = 48
"""The same from one address, so that one host cannot take every place."""
HANDSHAKES_OF_BANNED = 10.0
"""A second, from all banned addresses together: members may be among them, and a handshake costs milliseconds."""
IDS_KEPT = 4096
"""Texts of peer ids: making one costs as much as a signature check is worth, and gossip needs it for every message."""
NEVER = 10.0**9
"""Seconds between runs of the library's own dialling, which must not happen."""


class _NoAutoConnector(AutoConnector):
    """The library dials every address that it ever heard of, up to half of the limit; here only the dialler dials."""

    async def maybe_connect(self) -> None:
        """Connect to nobody."""


class ConnectionRefusedHere(SwarmException):
    """An authenticated peer may not have this connection."""


class GuardedSwarm(Swarm):
    """All connections of this host. `on_connection` is called for each new one, once it stands."""

    def __init__(self, key: KeyPair, psk: bytes | None, timing: Timing, counters: Counters, conduct: Conduct) -> None:
        check_methods(Swarm, GuardedSwarm, ("_handle_inbound_connection", "dial_peer", "add_conn"))
        check_methods(AutoConnector, _NoAutoConnector, ("maybe_connect",))
        self_id = ID.from_pubkey(key.public_key)
        peerstore = PeerStore()
        peerstore.add_key_pair(self_id, key)
        noise = Noise(key, noise_privkey=create_new_key_pair().private_key)
        # Noise alone: a default host also takes plaintext and SECIO. Yamux alone: Mplex hangs.
        upgrader = TransportUpgrader({NOISE_ID: noise}, {}, negotiate_timeout=max(1, int(timing.negotiate)))
        upgrader.muxer_multistream = GuardedMuxers(self._make_muxer, YAMUX_ID, timing.negotiate)
        super().__init__(
            self_id,
            peerstore,
            upgrader,
            transports=[Tcp()],
            retry_config=RetryConfig(max_retries=0),
            connection_config=ConnectionConfig(
                max_connections=MAX_CONNECTIONS,
                high_watermark=MAX_CONNECTIONS,
                min_connections=0,
                low_watermark=0,
                max_connections_per_peer=MAX_CONNECTIONS,  # bounded here, where ended ones are not counted
                auto_connect_interval=NEVER,
                inbound_upgrade_timeout=timing.upgrade,
                outbound_upgrade_timeout=timing.upgrade,
                inbound_stream_protocol_negotiation_timeout=timing.negotiate,
                outbound_stream_protocol_negotiation_timeout=timing.negotiate,
            ),
            psk=psk.hex() if psk is not None else None,
        )
        self.auto_connector = _NoAutoConnector(self, NEVER)
        self.on_connection: Callable[[SwarmConn, GuardedYamux, PeerId], None] | None = None
        self._timing = timing
        self._counters = counters
        self._conduct = conduct
        self._handshakes: Counter[str] = Counter()
        self._of_banned = Allowance(HANDSHAKES_OF_BANNED, HANDSHAKES_OF_BANNED)

    def _make_muxer(self, conn: object, peer: ID) -> GuardedYamux:
        muxed = GuardedYamux(conn, peer, self._timing, self._counters)  # type: ignore[arg-type]
        muxed.on_window_exceeded = lambda: self._conduct.strike(peer_text(peer), "window", OFFENCE)
        return muxed

    async def serve_inbound(self, stream: ReadWriteCloser) -> None:
        """Take one accepted socket through the handshake and hold it until its connection ends."""
        await self._handle_inbound_connection(stream, Multiaddr("/ip4/0.0.0.0/tcp/0"))

    async def _handle_inbound_connection(self, read_write_closer: ReadWriteCloser, maddr: Multiaddr) -> None:
        remote = read_write_closer.get_remote_address()
        host = remote[0] if remote else ""
        if not self._may_shake_hands(host):
            self._counters.count("handshake_refused")
            await read_write_closer.close()
            return
        self._handshakes[host] += 1
        try:
            muxed = await self.upgrade_inbound_raw_conn(RawConnection(read_write_closer, False), maddr)
        except ConnectionRefusedHere:
            await read_write_closer.close()  # counted where it was refused
            return
        except Exception:  # noqa: BLE001 - counted; junk on the port raises whatever the junk provokes
            self._counters.count("handshake_failed")
            self._conduct.strike_host(host, NO_HANDSHAKE)
            await read_write_closer.close()
            return
        finally:
            self._handshakes[host] -= 1
            if not self._handshakes[host]:
                del self._handshakes[host]
        if isinstance(muxed, GuardedYamux):
            await muxed.event_closed.wait()

    def _may_shake_hands(self, host: str) -> bool:
        if self._handshakes[host] >= MAX_HANDSHAKES_PER_HOST or self._handshakes.total() >= MAX_HANDSHAKES:
            return False
        return not self._conduct.is_host_banned(host) or self._of_banned.spend()

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> SwarmConn:
        """Register an authenticated connection, or close it and raise SwarmException if its peer may not have it."""
        refusal = self._refusal(muxed_conn.peer_id, host_of(muxed_conn))
        if refusal is not None:
            self._counters.count(f"connection_{refusal}")
            await muxed_conn.close()
            raise ConnectionRefusedHere(f"connection refused: {refusal}")
        conn = await super().add_conn(muxed_conn, direction)
        if self.on_connection is not None and isinstance(muxed_conn, GuardedYamux):
            self.on_connection(conn, muxed_conn, peer_text(muxed_conn.peer_id))
        return conn

    def _refusal(self, peer: ID, host: str) -> str | None:
        if peer == self.self_id:
            return "to_self"
        text = peer_text(peer)
        try:
            public_key_of(text)
        except UsageError:
            return "key_type"
        if self._conduct.is_banned(text):
            return "banned"
        if self._conduct.is_shut_out(text, host):
            return "banned_address"
        # The library keeps an ended connection in its table for a while.
        if sum(not conn.muxed_conn.is_closed for conn in self.get_connections(peer)) >= MAX_CONNECTIONS_PER_PEER:
            return "one_too_many"
        return None

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """The connections there are: opening a stream never dials, which only the dialler does."""
        connections = [conn for conn in self.get_connections(peer_id) if not conn.is_closed]
        if not connections:
            raise SwarmException("not connected")
        return connections

    async def dial(self, peer: PeerId, address: str) -> None:
        """One attempt to connect to `peer` at one address; raises SwarmException. The caller gives the deadline."""
        await self.dial_addr(Multiaddr(address), libp2p_id(peer))

    async def abort_all(self) -> None:
        """Close every socket at once, whatever its streams are doing."""
        async with trio.open_nursery() as nursery:
            for conn in self.get_connections():
                if isinstance(conn.muxed_conn, GuardedYamux):
                    nursery.start_soon(conn.muxed_conn.abort)


def host_of(muxed: IMuxedConn) -> str:
    """The address that a connection came in from, "" for one that we dialled or whose address is not known."""
    if not isinstance(muxed, GuardedYamux) or muxed.is_initiator:
        return ""
    try:
        remote = muxed.secured_conn.get_remote_address()
    except (AttributeError, OSError):
        return ""  # the library's wrappers each reach for the socket in a way of their own
    return remote[0] if remote else ""


def peer_text(peer: ID) -> PeerId:
    """The text of a libp2p peer id."""
    return _text_of(peer.to_bytes())


def libp2p_id(peer: PeerId) -> ID:
    """The libp2p form of a peer id."""
    return ID.from_base58(peer)


@lru_cache(IDS_KEPT)
def _text_of(peer: bytes) -> PeerId:
    return PeerId(ID(peer).to_base58())
