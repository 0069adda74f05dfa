"""One libp2p host with every guard on, as a context: opened, supervised, and closed with all its sockets.

If a service of libp2p ends in an error, the context is left by that error: whoever opened the host restarts it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from attrs import define
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost, _IdentifyNotifee
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import identify_handler_for
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from p2pwf.core.ids import PeerId
from p2pwf.net.addresses import announced, listen_pair
from p2pwf.net.conduct import Conduct
from p2pwf.net.counters import Counters
from p2pwf.net.door import Door
from p2pwf.net.gossip import PROTOCOLS as GOSSIP_PROTOCOLS
from p2pwf.net.gossip import MemberPubsub
from p2pwf.net.guards import install
from p2pwf.net.ping import PROTOCOL as PING
from p2pwf.net.ping import Pings
from p2pwf.net.stream import StreamBroken, WireStream, end_stream
from p2pwf.net.swarm import GuardedSwarm, peer_text
from p2pwf.net.tcp import TcpListener
from p2pwf.net.types import Gate, NetConfig

ADDRESSES_FRESH = 30.0
"""Seconds for which the addresses of this machine are believed to stay."""
MAX_GOSSIP_STREAMS = 3
"""Inbound per version and peer: one is the rule, and one or two of lost connections may linger."""


class QuietHost(BasicHost):
    """The library's host, which parses its addresses anew for every gossip message, with its addresses remembered."""

    def __init__(self, swarm: GuardedSwarm, addresses: Callable[[], list[str]]) -> None:
        self._addresses = addresses
        self._known: list[Multiaddr] = []
        self._known_at = -math.inf
        super().__init__(swarm, disable_identify_address_discovery=True)
        # It also asks every peer who it is, strangers too, in tasks that nobody owns; here nothing needs the answers.
        for notifee in [each for each in swarm.notifees if isinstance(each, _IdentifyNotifee)]:
            swarm.remove_notifee(notifee)

    def get_addrs(self) -> list[Multiaddr]:
        """The addresses that identify and gossip tell others."""
        now = trio.current_time()
        if now - self._known_at > ADDRESSES_FRESH or not self._known:
            self._known = [Multiaddr(text) for text in self._addresses()]
            self._known_at = now
        return self._known


@define(eq=False)
class Host:
    """A host that runs: its parts, for `network` to build on."""

    peer: PeerId
    swarm: GuardedSwarm
    pubsub: MemberPubsub
    door: Door
    addresses: Callable[[], list[str]]


@asynccontextmanager
async def run_host(
    config: NetConfig,
    seed: bytes,
    *,
    gate: Gate,
    counters: Counters,
    conduct: Conduct,
    deliver: Callable[[PeerId, bytes], None],
    accept: Callable[[PeerId, bytes], bool] | None,
) -> AsyncIterator[Host]:
    """A host with the Ed25519 key of `seed` (32 bytes), gossiping on the topic, listening once the context is entered.

    Raises TryAgain if it cannot listen, UsageError for an address that is none, and inside of the context whatever
    ended the host.
    """
    for text in config.listen:
        listen_pair(text)
    install()
    key = create_new_key_pair(seed)
    swarm = GuardedSwarm(key, config.psk, config.timing, counters, conduct)
    peer = peer_text(swarm.self_id)
    listeners = [TcpListener(swarm.serve_inbound) for _ in config.listen]

    def addresses() -> list[str]:
        bound = [str(address) for listener in listeners for address in listener.get_addrs()]
        return announced(bound, config.announce, peer)

    host = QuietHost(swarm, addresses)
    pubsub = MemberPubsub(
        host, config.topic, gate=gate, counters=counters, conduct=conduct, deliver=deliver, accept=accept
    )
    door = Door(gate, config.timing, counters, conduct)
    host.multiselect = door.offered_to_members
    door.serve_raw(str(IDENTIFY), identify_handler_for(host, use_varint_format=True), limit=2)
    door.serve(PING, Pings(conduct).serve, limit=2)
    for protocol in GOSSIP_PROTOCOLS:
        door.serve_raw(protocol, pubsub.continuously_read_stream, limit=MAX_GOSSIP_STREAMS)
    swarm.set_stream_handler(door.handle)
    try:
        for listener, text in zip(listeners, config.listen, strict=True):
            await listener.listen(Multiaddr(text))
            swarm.listeners[text] = listener
        async with (
            background_trio_service(swarm),
            background_trio_service(pubsub),
            background_trio_service(pubsub.mesh),
            trio.open_nursery() as nursery,
        ):
            await pubsub.wait_until_ready()
            await pubsub.subscribe(config.topic)
            for listener in listeners:
                nursery.start_soon(listener.serve)
            try:
                yield Host(peer, swarm, pubsub, door, addresses)
            finally:
                with trio.CancelScope(shield=True):
                    await swarm.abort_all()
                nursery.cancel_scope.cancel()
    finally:
        pubsub.seen_messages.stop()
        with trio.CancelScope(shield=True):
            for listener in listeners:
                await listener.close()


async def open_stream(conn: SwarmConn, peer: PeerId, protocol: str, deadline: float) -> WireStream:
    """Open a stream of `protocol` on one connection; raises StreamBroken if the peer does not take it in time."""
    stream = None
    try:
        with trio.fail_after(deadline):
            stream = await conn.new_stream()
            await MultiselectClient().select_one_of(
                [TProtocol(protocol)], MultiselectCommunicator(stream), max(1, int(deadline))
            )
    except (MultiselectClientError, BaseLibp2pError, trio.TooSlowError, OSError) as error:
        if stream is not None:
            await end_stream(stream, abruptly=True)
        raise StreamBroken(f"{peer} did not take a stream of {protocol}") from error
    except BaseException:
        if stream is not None:
            await end_stream(stream, abruptly=True)
        raise
    stream.set_protocol(TProtocol(protocol))
    return WireStream(stream, peer)
