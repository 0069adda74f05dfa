"""The faults of the library that one remote could end a host with, or fill it up with: each on real hosts.

A twin takes the guard away and shows the fault; where that kills the host, it does so in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio
from libp2p.pubsub.pb import rpc_pb2

from p2pwf.errors import InternalError, RemoteError, TryAgain
from p2pwf.net import Frame, Gossip
from p2pwf.net.network import Network
from p2pwf.net.stream import WireStream
from tests.net.kit import count, event, join, network, networks, until

ROOT = Path(__file__).parents[2]
MESH = "/meshsub/1.1.0"
JUNK = b"\x0a" + b"\xff" * 10


def hostile(key: bytes, *, author: int = 2) -> bytes:
    """A gossip frame whose message names an author that needs a key, and a key that is none."""
    message = rpc_pb2.Message(
        from_id=b"\x12\x20" + bytes(32), data=b"x", seqno=b"1", topicIDs=["test"], signature=b"s" * 64, key=key
    )
    return bytes(rpc_pb2.RPC(publish=[message]).SerializeToString())


async def still_serves(net: Network, other: Network) -> None:
    """A frame and a gossip message of an honest member still arrive."""
    assert await other.send_wait(net.peer_id, b"frame")
    assert (await event(net, Frame)).data == b"frame"
    await until(lambda: net._host.swarm.self_id in other._host.pubsub.peer_topics.get("test", ()))
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


@pytest.mark.parametrize("part", ["door", "gossip"])
def test_without_the_guard_one_frame_ends_the_host(part: str) -> None:
    """The twin: the library's own handling of the same frame, in another process."""
    done = subprocess.run(
        [sys.executable, "-c", TWIN, part], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["died"], done.stderr[-2000:]


TWIN = """
import sys, trio
from libp2p.pubsub.pubsub import Pubsub
from p2pwf.errors import P2pwfError
from p2pwf.net.door import Door
from p2pwf.net.gossip import MemberPubsub
from tests.net.kit import network, join
from tests.net.test_guards import JUNK, MESH

async def unguarded(self, stream):
    await self._negotiate_and_serve(stream, "")

async def main():
    Door.handle = unguarded
    async with network(1) as net, network(2) as attacker:
        await attacker.dial(net.addresses()[0])
        stream = await attacker.open_to(net.peer_id, MESH)
        await stream.write_frame(JUNK)
        await trio.sleep(20)

if sys.argv[1] == "gossip":
    MemberPubsub.continuously_read_stream = Pubsub.continuously_read_stream
try:
    trio.run(main)
except BaseException as error:
    print("died")
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
        await until(lambda: net._host.swarm.self_id in other._host.pubsub.peer_topics.get("test", ()))
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
        await until(lambda: net._host.swarm.self_id in other._host.pubsub.peer_topics.get("test", ()))
        async with trio.open_nursery() as nursery:

            async def burst() -> None:
                for number in range(1000):
                    await other.publish(b"%d" % number)

            nursery.start_soon(burst)
            got = {(await event(net, Gossip)).data for _ in range(1000)}
        assert got == {b"%d" % number for number in range(1000)}


async def test_a_restart_with_the_same_key_loses_no_message() -> None:
    async with network(1) as net:
        for start in range(2):
            async with network(2) as other:
                await join(net, other)
                await until(lambda: net._host.swarm.self_id in other._host.pubsub.peer_topics.get("test", ()))
                for number in range(30):
                    await other.publish(b"%d of start %d" % (number, start))
                for _ in range(30):
                    assert b"of start %d" % start in (await event(net, Gossip)).data


async def test_a_sequence_number_used_twice_hides_nothing() -> None:
    async with networks(1, 2) as (net, other):
        await until(lambda: net._host.swarm.self_id in other._host.pubsub.peer_topics.get("test", ()))
        for data in (b"one half", b"other half"):
            other._host.pubsub.counter = 5
            await other.publish(data)
            assert (await event(net, Gossip)).data == data


async def test_a_message_too_large_for_gossip_is_refused_at_its_publisher() -> None:
    async with networks(1, 2) as (net, other):
        await until(lambda: net._host.swarm.self_id in other._host.pubsub.peer_topics.get("test", ()))
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
    from libp2p.pubsub import pubsub

    from p2pwf.net import guards
    from p2pwf.net.swarm import GuardedSwarm

    monkeypatch.delattr(pubsub, "RpcQueue")
    with pytest.raises(InternalError, match=r"libp2p .* has no libp2p.pubsub.pubsub.RpcQueue"):
        guards.install()
    with pytest.raises(InternalError, match=r"has no Swarm.gone"):
        guards.check_methods(Swarm, GuardedSwarm, ("gone",))
