"""The faults of the library that one remote could end a host with, or fill it up with: each on real hosts.

A twin takes the guard away and shows the fault; where that kills the host, it does so in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from libp2p.pubsub import pubsub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import get_peer_and_seqno_msg_id
from libp2p.pubsub.rpc_queue import RpcQueue

from p2pwf.errors import InternalError, RemoteError, TryAgain
from p2pwf.net import Frame, Gossip, gossip, guards
from p2pwf.net.network import Network
from p2pwf.net.stream import WireStream
from tests.net.kit import count, event, join, network, networks, until

ROOT = Path(__file__).parents[2]
MESH = "/meshsub/1.1.0"
JUNK = b"\x0a" + b"\xff" * 10


def hostile(key: bytes) -> bytes:
    """A gossip frame whose message names an author that needs a key, and a key that is none."""
    message = rpc_pb2.Message(
        from_id=b"\x12\x20" + bytes(32), data=b"x", seqno=b"1", topicIDs=["test"], signature=b"s" * 64, key=key
    )
    return bytes(rpc_pb2.RPC(publish=[message]).SerializeToString())


async def still_serves(net: Network, other: Network) -> None:
    """A frame and a gossip message of an honest member still arrive."""
    assert await other.send_wait(net.peer_id, b"frame")
    assert (await event(net, Frame)).data == b"frame"
    await heard_by(net, other)
    await other.publish(b"gossip")
    assert await event(net, Gossip) == Gossip(other.peer_id, b"gossip")


@pytest.mark.parametrize(
    "frame",
    [
        JUNK,
        hostile(b"\x08\x01\x12\x02ab"),  # an Ed25519 key of two bytes
        hostile(b"junk"),
        hostile(b""),
        bytes(rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid="t")] * 6000).SerializeToString()),
        bytes(
            rpc_pb2.RPC(
                control=rpc_pb2.ControlMessage(
                    ihave=[rpc_pb2.ControlIHave(topicID="test", messageIDs=[b"\xff" * 7])],
                    graft=[rpc_pb2.ControlGraft(topicID="nowhere")],
                    prune=[rpc_pb2.ControlPrune(topicID="nowhere")],
                )
            ).SerializeToString()
        ),
    ],
    ids=["protobuf", "short key", "junk key", "no key", "subscriptions", "control"],
)
async def test_no_gossip_frame_ends_the_host(frame: bytes) -> None:
    async with networks(1, 2, 3) as (net, attacker, honest):
        stream = await attacker.open_to(net.peer_id, MESH)
        await stream.write_frame(frame)
        await stream.finish()
        await still_serves(net, honest)


def test_without_the_guards_each_of_these_ends_the_host() -> None:
    """The twins: the library's own handling of the same frames, handlers and validators, in another process."""
    done = subprocess.run(
        [sys.executable, "-c", TWINS], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["frame", "key", "handler", "validator"], done.stderr[-2000:]


TWINS = """
import trio
from libp2p.pubsub.pubsub import Pubsub
from p2pwf.errors import InternalError
from p2pwf.net.door import Door
from p2pwf.net.gossip import MemberPubsub
from tests.net.kit import QUICK, network, until
from tests.net.test_guards import JUNK, MESH, hostile

async def unguarded(self, stream):
    await self._negotiate_and_serve(stream, str(stream.muxed_conn.peer_id))

async def raising(*_):
    raise ZeroDivisionError

def refuse(*_):
    raise ZeroDivisionError

Door.handle = unguarded
MemberPubsub.continuously_read_stream = Pubsub.continuously_read_stream
MemberPubsub.push_msg = Pubsub.push_msg
MemberPubsub._is_acceptable = lambda self, forwarder, message: self._accept is None or self._accept(forwarder, message)

async def attack(name):
    async with network(1, accept=refuse if name == "validator" else None) as net, network(2) as attacker:
        await attacker.dial(net.addresses()[0])
        if name == "validator":
            await until(lambda: net._host.swarm.self_id in attacker._host.pubsub.peer_topics.get("test", ()))
            await attacker.publish(b"anything")
        elif name == "handler":
            net._host.door._for_members.add_handler("/test/1", raising)
            net._host.door._limits["/test/1"] = 1
            await attacker.open_to(net.peer_id, "/test/1")
        else:
            stream = await attacker.open_to(net.peer_id, MESH)
            await stream.write_frame(JUNK if name == "frame" else hostile(b"\\x08\\x01\\x12\\x02ab"))
        await trio.sleep(20)

for name in ("frame", "key", "handler", "validator"):
    try:
        trio.run(attack, name)
    except InternalError:
        print(name)
"""


async def test_a_frame_that_claims_to_be_huge_is_refused_before_it_is_read() -> None:
    """T26: on gossip, the clock stream, and the three request protocols."""
    async with networks(1, 2, 3) as (net, attacker, honest):
        for protocol in (MESH, "/p2pwf/blob/1.0.0", "/p2pwf/logs/1.0.0", "/p2pwf/join/1.0.0"):
            stream = await attacker.open_to(net.peer_id, protocol)
            await stream.write(b"\xff\xff\xff\xff\x7f")
            await ended(stream)
        await until(lambda: count(net, "strike_protocol") == 4)
        await still_serves(net, honest)


async def test_a_peer_that_breaks_the_protocol_again_and_again_is_banned_for_a_while() -> None:
    async with networks(1, 2, 3) as (net, attacker, honest):
        with trio.fail_after(20):
            while attacker.peer_id not in net.statistics()["banned"]:  # type: ignore[operator]
                try:
                    stream = await attacker.open_to(net.peer_id, "/p2pwf/blob/1.0.0")
                    await stream.write_frame(b"not a request")
                    await ended(stream)
                except (RemoteError, TryAgain):
                    await trio.lowlevel.checkpoint()  # thrown out while it was at it
        await until(lambda: net.peers() == [honest.peer_id])
        try:
            await attacker.dial(net.addresses()[0])
        except TryAgain:
            await trio.lowlevel.checkpoint()  # refused before or after the attacker's own side of the handshake
        await until(lambda: count(net, "connection_banned") == 1)
        await still_serves(net, honest)


async def test_a_handler_that_raises_ends_its_stream_only() -> None:
    """T27."""

    async def broken(stream: WireStream) -> None:
        await stream.read_frame(10)
        raise ZeroDivisionError

    async with networks(1, 2) as (net, other):
        net._host.door.serve("/test/1", broken)
        stream = await other.open_to(net.peer_id, "/test/1")
        await stream.write_frame(b"go")
        await ended(stream)
        await until(lambda: count(net, "handler_raised") == 1)
        await still_serves(net, other)


async def test_a_validator_that_raises_drops_the_message_only() -> None:
    def picky(_author: str, data: bytes) -> bool:
        if data == b"raise":
            raise ZeroDivisionError
        return data != b"refuse"

    async with network(1, accept=picky) as net, network(2) as other:
        await join(net, other)
        await heard_by(net, other)
        await other.publish(b"raise")
        await other.publish(b"refuse")
        await still_serves(net, other)
        assert count(net, "gossip_validator_raised") == count(net, "gossip_not_accepted") == 1


async def test_a_heartbeat_that_raises_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with networks(1, 2) as (net, other):
        mesh = net._host.pubsub.mesh
        raised = trio.Event()

        def fail() -> tuple[dict[object, object], dict[object, object]]:
            raised.set()
            monkeypatch.undo()
            raise ZeroDivisionError

        monkeypatch.setattr(mesh, "mesh_heartbeat", fail)
        with trio.fail_after(20):
            await raised.wait()
        await until(lambda: count(net, "gossip_heartbeat_failed") == 1)
        await still_serves(net, other)


async def test_a_host_that_dies_is_left_by_one_error() -> None:
    async def die() -> None:
        raise ZeroDivisionError("the host")

    with pytest.raises(InternalError, match="the host"):
        async with network(1) as net:
            net._host.swarm.manager.run_task(die)
            await trio.sleep_forever()


async def test_an_error_of_the_caller_leaves_the_block_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with network(1):
            raise KeyError("mine")


async def test_a_burst_of_a_thousand_messages_is_delivered_whole() -> None:
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        async with trio.open_nursery() as nursery:

            async def burst() -> None:
                for number in range(1000):
                    await other.publish(b"%d" % number)

            nursery.start_soon(burst)
            got = {(await event(net, Gossip)).data for _ in range(1000)}
        assert got == {b"%d" % number for number in range(1000)}


async def heard_by(net: Network, other: Network) -> None:
    """Wait until `other` knows that `net` listens to the topic."""
    await until(lambda: net._host.swarm.self_id in other._host.pubsub.peer_topics.get("test", ()))


async def test_a_restart_with_the_same_key_loses_no_message() -> None:
    async with network(1) as net:
        for start in range(2):
            async with network(2) as other:
                await join(net, other)
                await heard_by(net, other)
                for number in range(30):
                    await other.publish(b"%d of start %d" % (number, start))
                for _ in range(30):
                    assert b"of start %d" % start in (await event(net, Gossip)).data


async def test_a_sequence_number_used_twice_hides_nothing() -> None:
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        for data in (b"one half", b"other half"):
            other._host.pubsub.counter = 5
            await other.publish(data)
            assert (await event(net, Gossip)).data == data


async def test_with_the_usual_message_id_the_second_use_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of the two tests above."""
    monkeypatch.setattr(gossip, "message_id", get_peer_and_seqno_msg_id)
    async with network(1) as net:
        for data in (b"one half", b"other half"):
            async with network(2) as other:  # a restart, after which the numbers begin where they began before
                await join(net, other)
                await heard_by(net, other)
                other._host.pubsub.counter = 5
                await other.publish(data)
                await other.publish(b"after " + data)
                got = [(await event(net, Gossip)).data for _ in range(2 if data == b"one half" else 0)]
                assert got == ([data, b"after " + data] if got else [])
        async with network(3) as third:
            await join(net, third)
            await heard_by(net, third)
            await third.publish(b"last")
            assert (await event(net, Gossip)).data == b"last"


async def test_with_the_librarys_queues_a_burst_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of the burst of a thousand."""
    guards.install()
    monkeypatch.setattr(pubsub, "RpcQueue", RpcQueue)
    monkeypatch.setattr(guards, "PATCHES", ())
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        for number in range(200):
            await other.publish(b"%d" % number)
        await until(lambda: not any(len(queue) for queue in other._host.pubsub.peer_queues.values()))
        assert other.send(net.peer_id, b"afterwards")
        await event(net, Frame)
        assert count(net, "gossip_received") < 200


async def test_what_finds_no_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "QUEUE_BYTES", 5000)
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        await other.publish(bytes(6000))
        await until(lambda: count(other, "gossip_not_queued") == 1)


async def test_a_node_that_does_not_listen_loses_gossip_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "GOSSIP_QUEUE_BYTES", 100)
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        while not count(net, "gossip_dropped"):
            await other.publish(os.urandom(90))
            await trio.sleep(0.01)
        assert len((await event(net, Gossip)).data) == 90


async def test_a_flood_of_forged_messages_does_not_starve_the_others() -> None:
    """T23."""
    async with networks(1, 2, 3) as (net, attacker, honest):
        stream = await attacker.open_to(net.peer_id, MESH)
        forged = rpc_pb2.Message(
            from_id=honest._host.swarm.self_id.to_bytes(), seqno=b"1", topicIDs=["test"], signature=bytes(64)
        )
        await heard_by(net, honest)
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                for number in range(2000):
                    forged.data = b"forged %d" % number
                    await stream.write_frame(rpc_pb2.RPC(publish=[forged]).SerializeToString())

            nursery.start_soon(flood)
            for number in range(5):
                await honest.publish(b"honest %d" % number)
                assert await event(net, Gossip) == Gossip(honest.peer_id, b"honest %d" % number)
        assert count(net, "gossip_received") == 5


async def test_more_messages_than_one_peer_may_send_are_dropped_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "BURST", 10.0)
    monkeypatch.setattr(gossip, "RATE", 0.001)
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        for number in range(20):
            await other.publish(b"%d" % number)
        await until(lambda: count(net, "gossip_over_rate") == 10)
        assert count(net, "gossip_received") == 10


async def test_a_message_too_large_for_gossip_is_refused_at_its_publisher() -> None:
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        await other.publish(bytes(1_000_000))
        assert len((await event(net, Gossip)).data) == 1_000_000
        with pytest.raises(ValueError, match="limit"):
            await other.publish(bytes(1_000_001))


async def test_streams_of_one_peer_are_bounded() -> None:
    """T25."""
    async with networks(1, 2, 3) as (net, attacker, honest):
        refused = 0
        kept = []
        for _ in range(7):
            try:
                stream = await attacker.open_to(net.peer_id, "/ipfs/ping/1.0.0")
                await stream.write(bytes(32))
                answer = await stream.read_some()
            except RemoteError:
                answer = b""
            if answer:
                kept.append(stream)
            else:
                refused += 1
        assert (len(kept), refused) == (2, 5)
        await still_serves(net, honest)


async def ended(stream: WireStream) -> None:
    """Wait until the peer ends a stream, one way or the other."""
    with trio.fail_after(20):
        try:
            while await stream.read_some():
                pass
        except RemoteError:
            pass
        await stream.reset()


def test_another_libp2p_is_refused_with_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from libp2p.network.swarm import Swarm

    from p2pwf.net.swarm import GuardedSwarm

    monkeypatch.delattr(pubsub, "RpcQueue")
    with pytest.raises(InternalError, match=r"libp2p .* has no libp2p.pubsub.pubsub.RpcQueue"):
        guards.install()
    with pytest.raises(InternalError, match=r"has no Swarm.gone"):
        guards.check_methods(Swarm, GuardedSwarm, ("gone",))
