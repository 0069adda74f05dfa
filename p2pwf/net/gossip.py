"""Gossip: GossipSub on one topic, with the guards that libp2p 0.8.1's lacks. Knows nothing of what a message says.

Gossip is a hint: a message may be lost, repeated or late, and nobody may act on one that is not checked elsewhere.
What differs from the library: a malformed frame or key ends its stream, not the host; a frame is read in one piece and
handled in order, so that a flooding peer waits for itself; the author has to be a member; a message's id is a hash of
author, content and sequence number, so that a number used twice hides nothing, also after a restart with the same key.
Sources: libp2p pubsub and gossipsub v1.1 specifications.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from hashlib import sha256

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub

from p2pwf.core.ids import PeerId
from p2pwf.net.conduct import FLOODED, Allowances, Conduct, points_of
from p2pwf.net.counters import Counters
from p2pwf.net.framing import BrokenFrame
from p2pwf.net.guards import BoundedRpcQueue, check_methods
from p2pwf.net.stream import StreamBroken, WireStream
from p2pwf.net.swarm import peer_text
from p2pwf.net.types import Gate

PROTOCOLS = ("/meshsub/1.2.0", "/meshsub/1.1.0", "/meshsub/1.0.0")
MAX_MESSAGE = 1_000_000
"""Bytes of one message: the library silently drops an RPC of 1 MiB, and an RPC is the message and its envelope."""
MAX_RPC = 1 << 20
DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 12
HEARTBEAT = 1
"""Seconds between repairs of the mesh; the library's default is two minutes."""
RATE = 1000.0
"""Messages a second from one peer in the long run: three times what one core carries."""
BURST = 5000.0
"""Messages from one peer at once: a batch of submissions after a partition."""
BYTE_RATE, BYTE_BURST = 4e6, 32e6
"""The same in bytes: the router keeps what it passed on for five seconds."""
FRAME_RATE, FRAME_BURST = 3000.0, 10_000.0
"""Frames from one peer, whatever is in them: a relay sends one for each message, and some control. Beyond, it waits."""
CONTROL_RATE, CONTROL_BURST = 50.0, 500.0
"""Frames that subscribe or tend the mesh: one a second is the rule, and each may ask for much. Beyond, only messages in
them are taken."""
GOSSIP_QUEUE = 4096
GOSSIP_QUEUE_BYTES = 16 << 20
"""Gossip waiting for the node, in messages and bytes; what comes beyond is dropped."""
RETRY_FIRST, RETRY_LAST = 0.1, 5.0
"""Seconds between attempts to open the gossip stream to a member that is connected but did not take it yet."""


class MeshRouter(GossipSub):
    """The mesh of one topic. Settings that the library gets wrong for this use are fixed here."""

    def __init__(self, counters: Counters) -> None:
        super().__init__(
            protocols=[TProtocol(name) for name in PROTOCOLS],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_initial_delay=0.1,
            heartbeat_interval=HEARTBEAT,
            adaptive_gossip_enabled=False,  # it makes heartbeats slower, a minute apart, when things go badly
            spam_protection_enabled=False,  # it drops above 10 messages a second and peer, our own too
            eclipse_protection_enabled=False,  # it wants peers of three networks, and members are admitted here
        )
        self._counters = counters
        check_methods(GossipSub, MeshRouter, ("heartbeat", "_check_equivocation"))

    def _check_equivocation(self, msg: rpc_pb2.Message) -> bool:
        """Pass on both of two messages with one sequence number: they are evidence, and the clock judges them."""
        return True

    async def heartbeat(self) -> None:
        """Repair the mesh every second for ever: an error, which a peer's control message may provoke, is counted."""
        while True:
            try:
                await super().heartbeat()
            except Exception:  # noqa: BLE001 - counted
                self._counters.count("gossip_heartbeat_failed")
                await trio.sleep(HEARTBEAT)


class MemberPubsub(Pubsub):
    """Gossip among members, on one topic. `deliver` takes (author, data) of each new message; it must not block."""

    def __init__(
        self,
        host: IHost,
        topic: str,
        *,
        gate: Gate,
        counters: Counters,
        conduct: Conduct,
        deliver: Callable[[PeerId, bytes], None],
        accept: Callable[[PeerId, bytes], bool] | None,
    ) -> None:
        check_methods(
            Pubsub,
            MemberPubsub,
            ("continuously_read_stream", "push_msg", "notify_subscriptions", "_handle_new_peer_with_retry"),
        )
        self.mesh = MeshRouter(counters)
        super().__init__(
            host,
            self.mesh,
            strict_signing=True,
            msg_id_constructor=message_id,
            max_inbound_rpc_size=MAX_RPC,
            allowed_topics={topic},
        )
        self.counter = time.time_ns()  # seconds, as the library has it, repeat ids after a restart
        self.topic = topic
        self._gate = gate
        self._counters = counters
        self._conduct = conduct
        self._deliver = deliver
        self._accept = accept
        self._opening: set[ID] = set()
        self._inbound: Counter[ID] = Counter()
        self._messages = Allowances(RATE, BURST)
        self._bytes = Allowances(BYTE_RATE, BYTE_BURST)
        self._frames = Allowances(FRAME_RATE, FRAME_BURST)
        self._control = Allowances(CONTROL_RATE, CONTROL_BURST)
        self.set_topic_validator(topic, self._is_acceptable, is_async_validator=False)

    def admit(self, peer: ID) -> None:
        """Open the gossip stream to a peer that became a member while it was connected."""
        if self.manager.is_running:
            self.manager.run_task(self._handle_new_peer_with_retry, peer)

    async def announce(self, data: bytes) -> None:
        """Publish `data` on the topic; raises ValueError over MAX_MESSAGE, where the library would drop it silently."""
        if len(data) > MAX_MESSAGE:
            raise ValueError(f"a gossip message of {len(data)} bytes, the limit is {MAX_MESSAGE}")
        await self.publish(self.topic, data)

    async def continuously_read_stream(self, stream: INetStream) -> None:
        """Read one peer's gossip until its stream ends or breaks the protocol."""
        peer = stream.muxed_conn.peer_id
        wire = WireStream(stream, peer_text(peer))
        self._inbound[peer] += 1
        try:
            while self.manager.is_running:
                frame = await wire.read_frame(self.max_inbound_rpc_size)
                if frame is None:
                    return
                await self._conduct.pace(wire.peer, self._frames)
                rpc = rpc_pb2.RPC()
                try:
                    rpc.ParseFromString(frame)
                except DecodeError as error:
                    raise BrokenFrame("a malformed gossip frame") from error
                await self._take(peer, rpc)
        except StreamBroken:
            raise
        except BrokenFrame as error:
            self._conduct.strike(wire.peer, "gossip_frame", points_of(error))
        finally:
            self._inbound[peer] -= 1
            if not self._inbound[peer]:  # a newer stream of the same peer may carry its subscriptions already
                del self._inbound[peer]
                self._handle_dead_peer(peer)

    async def _take(self, peer: ID, rpc: rpc_pb2.RPC) -> None:
        text = peer_text(peer)
        for message in rpc.publish:
            if not self._is_subscribed_to_msg(message):
                self._counters.count("gossip_other_topic")
            elif not (self._messages.of(text).spend() and self._bytes.of(text).spend(len(message.data))):
                self._counters.count("gossip_over_rate")
                if message.from_id == peer.to_bytes():  # a relay is not to blame for what others write
                    self._conduct.strike(text, "flood", FLOODED)
            else:
                await self.push_msg(peer, message)
        if _asks_much(rpc) and not self._control.of(text).spend():
            self._counters.count("gossip_control_over_rate")
            self._conduct.strike(text, "flood", FLOODED)
            return
        if len(rpc.subscriptions) > self.max_subscriptions_per_rpc:
            raise BrokenFrame("too many subscriptions in one gossip frame")
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            try:
                await self.router.handle_rpc(rpc, peer)
            except Exception as error:
                raise BrokenFrame("a malformed gossip control message") from error

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Check one message, hand it on, pass it on. Never raises for what a message holds."""
        author = PeerId("")
        if msg_forwarder != self.my_id:
            author = peer_text(ID(msg.from_id)) if len(msg.from_id) <= 64 else author
            if not self._gate.is_member(author):
                self._counters.count("gossip_from_no_member")
                return
            if self._conduct.is_banned(author):
                self._counters.count("gossip_of_banned")
                return
        try:
            await super().push_msg(msg_forwarder, msg)
        except Exception:  # noqa: BLE001 - counted; a forged message raises ours, a junk key whatever its parser does
            self._counters.count("gossip_malformed_message")
            self._conduct.strike(peer_text(msg_forwarder), "gossip_message")

    def notify_subscriptions(self, publish_message: rpc_pb2.Message) -> None:
        """Deliver a message that passed every check, unless it is our own."""
        author = ID(publish_message.from_id)
        if author != self.my_id:
            self._counters.count("gossip_received")
            self._deliver(peer_text(author), publish_message.data)

    def _is_acceptable(self, _forwarder: ID, message: rpc_pb2.Message) -> bool:
        if self._accept is None:
            return True
        try:
            accepted = self._accept(peer_text(ID(message.from_id)), message.data)
        except Exception:  # noqa: BLE001 - counted; the library lets a validator that raises end the host
            self._counters.count("gossip_validator_raised")
            return False
        if not accepted:
            self._counters.count("gossip_not_accepted")
        return accepted

    def _handle_dead_peer(self, peer_id: ID) -> None:
        try:
            super()._handle_dead_peer(peer_id)
        except Exception:  # noqa: BLE001 - counted; a peer that leaves must not end gossip
            self._counters.count("gossip_removal_failed")

    async def _handle_new_peer_with_retry(self, peer_id: ID, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the library's
        if peer_id in self._opening:
            return
        self._opening.add(peer_id)
        delay = RETRY_FIRST
        try:
            while (
                peer_id not in self.peers
                and self._gate.is_member(peer_text(peer_id))
                and self._peer_is_connected(peer_id)
            ):
                try:
                    await self._handle_new_peer(peer_id)
                    self._count_refusals(peer_id)
                except Exception:  # noqa: BLE001 - counted; the peer may not have admitted us yet
                    self._counters.count("gossip_stream_refused")
                if peer_id not in self.peers:
                    await trio.sleep(delay)
                    delay = min(2 * delay, RETRY_LAST)
        finally:
            self._opening.discard(peer_id)

    def _count_refusals(self, peer: ID) -> None:
        queue = self.peer_queues.get(peer)
        if isinstance(queue, BoundedRpcQueue):
            queue.refused = partial(self._counters.count, "gossip_not_queued")


def _asks_much(rpc: rpc_pb2.RPC) -> bool:
    """Whether a frame changes or asks something; that a message is not wanted may be said as often as one comes."""
    control = rpc.control
    return bool(rpc.subscriptions or control.ihave or control.iwant or control.graft or control.prune)


def message_id(message: rpc_pb2.Message) -> bytes:
    """SHA-256 over the author's peer id, the SHA-256 of the content, and the sequence number. The author is in it so
    that nobody can suppress a message by publishing the same bytes first; the content, so that using a number twice
    hides nothing; the number, so that what an author says again, such as an unchanged presence, is heard again."""
    return sha256(message.from_id + sha256(message.data).digest() + message.seqno).digest()


class GossipQueue:
    """Gossip between libp2p, which must not wait, and the node: bounded in messages and bytes, newest dropped."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._send, self._receive = trio.open_memory_channel[tuple[PeerId, bytes]](GOSSIP_QUEUE)
        self._bytes = 0

    def __len__(self) -> int:
        return self._receive.statistics().current_buffer_used

    def put(self, author: PeerId, data: bytes) -> None:
        """Queue a message, or drop and count it."""
        if len(self) >= GOSSIP_QUEUE or self._bytes + len(data) > GOSSIP_QUEUE_BYTES:
            self._counters.count("gossip_dropped")
            return
        self._send.send_nowait((author, data))
        self._bytes += len(data)

    async def take(self) -> tuple[PeerId, bytes]:
        """Wait for the next message."""
        author, data = await self._receive.receive()
        self._bytes -= len(data)
        return author, data
