"""Gossip on real hosts: what is delivered, what is dropped, and that neither ends a host."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256

import pytest
import trio
from libp2p.pubsub import pubsub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import get_peer_and_seqno_msg_id
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.pubsub.validators import signature_validator

from p2pwf.errors import RemoteError
from p2pwf.net import Frame, Gossip, gossip, guards
from tests.net.kit import LIMIT, count, event, heard_by, join, network, networks, still_serves, until

MESH = "/meshsub/1.1.0"


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


async def test_t14_a_sequence_number_used_twice_hides_nothing() -> None:
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        for data in (b"one half", b"other half"):
            other._host.pubsub.counter = 5
            await other.publish(data)
            assert (await event(net, Gossip)).data == data


async def test_what_is_said_again_is_heard_again() -> None:
    """A presence that has not changed is how a member that is not connected stays alive for the others."""
    async with networks(1, 2) as (net, other):
        await other.publish(b"the same")  # perhaps before anybody listened
        await heard_by(net, other)
        for _ in range(3):
            await other.publish(b"the same")
            while (await event(net, Gossip)).data != b"the same":
                pass


async def test_with_an_id_of_author_and_content_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of the one above."""
    monkeypatch.setattr(gossip, "message_id", lambda message: sha256(message.from_id + message.data).digest())
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        for data in (b"the same", b"the same", b"the same", b"another"):
            await other.publish(data)
        assert [(await event(net, Gossip)).data for _ in range(2)] == [b"the same", b"another"]


async def test_t14_with_the_usual_message_id_the_second_use_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
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
        with trio.fail_after(LIMIT):
            while not count(net, "gossip_dropped"):
                await other.publish(os.urandom(90))
                await trio.sleep(0.01)
        assert len((await event(net, Gossip)).data) == 90


async def test_t23_a_flood_of_forged_messages_does_not_starve_the_others() -> None:
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
                    with suppress(RemoteError):  # it is thrown out while it goes on
                        await stream.write_frame(rpc_pb2.RPC(publish=[forged]).SerializeToString())

            nursery.start_soon(flood)
            for number in range(5):
                await honest.publish(b"honest %d" % number)
                assert await event(net, Gossip) == Gossip(honest.peer_id, b"honest %d" % number)
        assert count(net, "gossip_received") == 5
        assert net.statistics()["banned"] == [attacker.peer_id]


async def test_t23_without_the_allowance_everything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "BURST", 1e9)
    async with networks(1, 2) as (net, other):
        await heard_by(net, other)
        for number in range(20):
            await other.publish(b"%d" % number)
        await until(lambda: count(net, "gossip_received") == 20)
        assert count(net, "gossip_over_rate") == 0


async def test_t23_without_the_check_that_blames_a_forger_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    guards.install()
    monkeypatch.setattr(pubsub, "signature_validator", signature_validator)
    monkeypatch.setattr(guards, "PATCHES", ())
    async with networks(1, 2) as (net, attacker):
        stream = await attacker.open_to(net.peer_id, MESH)
        sender = attacker._host.swarm.self_id.to_bytes()
        forged = [
            rpc_pb2.Message(from_id=sender, data=b"%d" % n, seqno=b"1", topicIDs=["test"], signature=bytes(64))
            for n in range(100)
        ]
        await stream.write_frame(rpc_pb2.RPC(publish=forged).SerializeToString())
        assert attacker.send(net.peer_id, b"still here")
        assert (await event(net, Frame)).data == b"still here"
        assert net.statistics()["banned"] == []


async def test_t23_more_messages_than_one_peer_may_send_are_dropped_unread(monkeypatch: pytest.MonkeyPatch) -> None:
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


def tending(number: int) -> bytes:
    ids = [rpc_pb2.ControlIHave(topicID="test", messageIDs=[b"%d" % number])]
    return bytes(rpc_pb2.RPC(control=rpc_pb2.ControlMessage(ihave=ids)).SerializeToString())


async def test_t23_a_peer_tends_the_mesh_only_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "CONTROL_BURST", 20.0)
    async with networks(1, 2, 3) as (net, attacker, honest):
        stream = await attacker.open_to(net.peer_id, MESH)
        with suppress(RemoteError):
            for number in range(2000):
                await stream.write_frame(tending(number))
        await until(lambda: net.statistics()["banned"] == [attacker.peer_id])
        assert count(net, "gossip_control_over_rate") > 100
        await still_serves(net, honest)


async def test_t23_without_that_bound_it_does_so_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "CONTROL_BURST", 1e9)
    async with networks(1, 2) as (net, attacker):
        stream = await attacker.open_to(net.peer_id, MESH)
        for number in range(1000):
            await stream.write_frame(tending(number))
        await stream.finish()
        assert net.peers() == [attacker.peer_id]
        assert count(net, "gossip_control_over_rate") == 0
