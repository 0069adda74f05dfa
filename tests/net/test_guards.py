"""The faults of the library that one remote could end a host with, or fill it up with: each on real hosts.

A twin takes the guard away and shows the fault; where that kills the host, it does so in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from libp2p.pubsub import pubsub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.exceptions import MuxedStreamError

from p2pwf.errors import InternalError, RemoteError, TryAgain
from p2pwf.net import Frame, conduct, guards
from p2pwf.net.conduct import BAN_AT, STREAM_REFUSED
from p2pwf.net.network import Network
from p2pwf.net.stream import WireStream
from tests.net.kit import count, event, network, networks, still_serves, until

ROOT = Path(__file__).parents[2]
MESH = "/meshsub/1.1.0"
JUNK = b"\x0a" + b"\xff" * 10


def hostile(key: bytes) -> bytes:
    """A gossip frame whose message names an author that needs a key, and a key that is none."""
    message = rpc_pb2.Message(
        from_id=b"\x12\x20" + bytes(32), data=b"x", seqno=b"1", topicIDs=["test"], signature=b"s" * 64, key=key
    )
    return bytes(rpc_pb2.RPC(publish=[message]).SerializeToString())


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
async def test_t27_no_gossip_frame_ends_the_host(frame: bytes) -> None:
    async with networks(1, 2, 3) as (net, attacker, honest):
        stream = await attacker.open_to(net.peer_id, MESH)
        await stream.write_frame(frame)
        await stream.finish()
        await still_serves(net, honest)


def test_t27_without_the_guards_each_of_these_ends_the_host() -> None:
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


async def test_t26_a_frame_that_claims_to_be_huge_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """On gossip, the clock stream, and the three request protocols."""
    monkeypatch.setattr(conduct, "BROKEN_FRAME", 1.0)  # else the third one bans
    async with networks(1, 2, 3) as (net, attacker, honest):
        for protocol in ("/p2pwf/blob/1.0.0", "/p2pwf/logs/1.0.0", "/p2pwf/join/1.0.0", MESH):
            stream = await attacker.open_to(net.peer_id, protocol)
            await stream.write(b"\xff\xff\xff\xff\x7f")
            await ended(stream)
        await until(lambda: (count(net, "strike_protocol"), count(net, "strike_gossip_frame")) == (3, 1))
        await still_serves(net, honest)


async def test_t26_without_the_limit_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read_frame = WireStream.read_frame

    async def unlimited(self: WireStream, limit: int) -> bytes | None:
        return await read_frame(self, 1 << 40)

    monkeypatch.setattr(WireStream, "read_frame", unlimited)
    async with networks(1, 2) as (net, attacker):
        stream = await attacker.open_to(net.peer_id, LOGS)
        await stream.write(b"\xff\xff\xff\xff\x7f" + bytes(300_000))
        assert attacker.send(net.peer_id, b"later")
        assert (await event(net, Frame)).data == b"later"
        assert count(net, "strike_protocol") == 0
        assert net._host.door._by_protocol[attacker.peer_id, LOGS] == 1
        await stream.reset()


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


async def test_t27_a_handler_that_raises_ends_its_stream_only() -> None:

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


LOGS = "/p2pwf/logs/1.0.0"


async def streams_held(attacker: Network, net: Network, number: int) -> int:
    """How many of so many streams, on which nothing is asked, are held open for the asker."""
    for _ in range(number):
        with suppress(RemoteError, TryAgain):
            await attacker.open_to(net.peer_id, LOGS)
    door = net._host.door
    await until(lambda: door._by_protocol[attacker.peer_id, LOGS] + count(net, "stream_refused") == number)
    return door._by_protocol[attacker.peer_id, LOGS]


async def test_t25_streams_of_one_peer_are_bounded() -> None:
    async with networks(1, 2, 3) as (net, attacker, honest):
        assert await streams_held(attacker, net, 20) == 16
        await still_serves(net, honest)


async def test_t25_without_the_bound_all_are_held() -> None:
    """The twin."""
    async with networks(1, 2) as (net, attacker):
        net._host.door._limits[LOGS] = 100
        assert await streams_held(attacker, net, 20) == 20


async def test_t25_streams_that_never_say_what_they_want_are_bounded_too() -> None:
    async with networks(1, 2, 3) as (net, attacker, honest):
        with suppress(MuxedStreamError):  # it is thrown out while it goes on
            for _ in range(200):
                await attacker._connections.of(net.peer_id)[0].conn.new_stream()
        await until(lambda: count(net, "strike_too_many_streams") >= BAN_AT / STREAM_REFUSED)
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
