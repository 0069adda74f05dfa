from __future__ import annotations

import pytest
import trio

from p2pwf.errors import TryAgain, UsageError
from p2pwf.net import DuplicateIdentity, Frame, PeerDown, PeerUp
from p2pwf.net.yamux import GuardedYamux
from tests.net.kit import AsyncHosts, Members, count, event, join, network, networks, peer, until, up


async def test_two_members_that_connect_have_a_clock_stream_both_ways() -> None:
    async with networks(1, 2) as (first, second):
        assert first.peers() == [second.peer_id]
        assert first.send(second.peer_id, b"to the second")
        assert second.send(first.peer_id, b"to the first")
        assert (await event(second, Frame)).data == b"to the second"
        assert await event(first, Frame) == Frame(second.peer_id, b"to the first")


async def test_frames_arrive_whole_and_in_order_whatever_their_size() -> None:
    sizes = [0, 1, 127, 128, 65_507, 65_508, 1 << 18, 1_000_000] + [3] * 500
    async with networks(1, 2) as (first, second), trio.open_nursery() as nursery:

        async def send() -> None:
            for number, size in enumerate(sizes):
                assert await first.send_wait(second.peer_id, bytes([number % 251]) * size)

        nursery.start_soon(send)
        for number, size in enumerate(sizes):
            assert (await event(second, Frame)).data == bytes([number % 251]) * size


async def test_a_frame_over_the_limit_is_the_callers_mistake() -> None:
    async with networks(1, 2) as (first, second):
        with pytest.raises(ValueError, match="limit"):
            first.send(second.peer_id, bytes(1_000_001))


async def test_nothing_is_queued_for_a_peer_without_a_stream() -> None:
    async with network(1) as net:
        assert not net.send(peer(2), b"lost")
        assert not await net.send_wait(peer(2), b"lost")
        assert count(net, "frame_not_queued") == 2


async def test_a_full_queue_says_so_and_a_patient_sender_waits_for_room() -> None:
    async with networks(1, 2) as (first, second):
        sent = 0
        while first.send(second.peer_id, bytes(1 << 19)):  # nobody takes the second's events meanwhile
            sent += 1
        assert count(first, "frame_not_queued") == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.send_wait, second.peer_id, b"the last")
            for _ in range(sent):
                assert len((await event(second, Frame)).data) == 1 << 19
            assert (await event(second, Frame)).data == b"the last"


async def test_the_other_side_learns_of_the_end() -> None:
    async with network(1) as first:
        async with network(2) as second:
            await join(first, second)
        assert (await event(first, PeerDown)).peer == peer(2)
        await until(lambda: first.peers() == [])


async def test_two_that_dial_each_other_at_once_end_with_one_stream() -> None:
    async with network(1) as first, network(2) as second:
        first.want_peers({second.peer_id: second.addresses()})
        second.want_peers({first.peer_id: first.addresses()})
        await up(first, second.peer_id)
        await up(second, first.peer_id)
        for number in range(20):
            await until(lambda: first.peers() == [second.peer_id] and second.peers() == [first.peer_id])
            assert await first.send_wait(second.peer_id, bytes([number]))


async def test_a_lost_peer_is_dialled_again_until_it_is_back() -> None:
    async with network(1) as first:
        async with network(2) as second:
            listen = second.addresses()[0].partition("/p2p/")[0]
            first.want_peers({second.peer_id: [listen]})
            await up(first, second.peer_id)
        assert (await event(first, PeerDown)).peer == peer(2)
        await until(lambda: count(first, "redial_failed") >= 3)
        async with network(2, listen=[listen]) as second:
            await up(first, second.peer_id)


async def test_frames_pass_again_after_a_restart_with_the_same_key() -> None:
    async with network(1) as hub:
        for round_ in range(3):
            async with network(2) as other:
                await join(hub, other)
                assert other.send(hub.peer_id, b"round %d" % round_)
                assert (await event(hub, Frame)).data == b"round %d" % round_
            assert (await event(hub, PeerDown)).peer == peer(2)
        assert count(hub, "duplicate_identity") == 0


async def test_connections_that_ended_just_now_do_not_count_against_a_peer() -> None:
    async with networks(1, 2) as (net, other):
        for _ in range(12):
            await other.drop(net.peer_id)
            for side in (net, other):
                await event(side, PeerDown)
            await join(net, other)
        assert count(net, "connection_one_too_many") == 0


@pytest.mark.parametrize(("hub", "twin"), [(1, 2), (2, 1)])
async def test_t50_two_processes_with_one_key_are_noticed_where_both_connect(hub: int, twin: int) -> None:
    """Whichever side of the two opens the clock stream."""
    async with AsyncHosts() as hosts:
        net = await hosts.open(hub)
        genuine = await hosts.open(twin)
        await join(net, genuine)
        copy = await hosts.open(twin)
        await copy.dial(net.addresses()[0])
        assert await event(net, DuplicateIdentity) == DuplicateIdentity(peer(twin))
        assert count(net, "duplicate_identity") == 1
        assert genuine.send(net.peer_id, b"still here")
        assert (await event(net, Frame)).data == b"still here"
        assert copy.peers() == []


async def test_t50_without_the_probe_the_copy_takes_the_place_of_the_genuine_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(_self: GuardedYamux, _seconds: float) -> bool:
        return False

    monkeypatch.setattr(GuardedYamux, "probe", silent)
    async with AsyncHosts() as hosts:
        net, genuine = await hosts.open(1), await hosts.open(2)
        await join(net, genuine)
        copy = await hosts.open(2)
        await copy.dial(net.addresses()[0])
        await up(net, copy.peer_id)
        assert count(net, "duplicate_identity") == 0


async def test_a_host_does_not_dial_its_own_key() -> None:
    async with network(1) as net:
        with pytest.raises(UsageError, match="own address"):
            await net.dial(net.addresses()[0])


async def test_a_newcomer_is_let_in_while_it_is_connected() -> None:
    gate = Members()
    async with network(1, gate) as first, network(2) as second:
        await second.dial(first.addresses()[0])
        gate.members.add(second.peer_id)
        first.members_changed()
        await up(first, second.peer_id)
        assert (await event(second, PeerUp)).peer == first.peer_id


async def test_dialling_nobody_fails_with_a_reason() -> None:
    async with network(1) as net:
        with pytest.raises(TryAgain, match="cannot connect"):
            await net.dial(f"/ip4/127.0.0.1/tcp/1/p2p/{peer(9)}")
        with pytest.raises(UsageError, match="not an address of a peer"):
            await net.dial("/ip4/127.0.0.1/tcp/1")


async def test_an_answer_with_another_key_is_refused() -> None:
    async with network(1) as first, network(2) as second:
        address = first.addresses()[0].partition("/p2p/")[0]
        with pytest.raises(TryAgain, match="cannot connect"):
            await second.dial(f"{address}/p2p/{peer(3)}")
        assert second.statistics()["connections"] == 0


async def test_a_round_trip_to_a_member_is_measured() -> None:
    async with networks(1, 2) as (first, second):
        assert 0 < await first.ping(second.peer_id) < 10
        await until(lambda: first.latency(second.peer_id) is not None and second.latency(first.peer_id) is not None)
        for _ in range(5):  # each on a stream of its own, which the other lets go
            await second.ping(first.peer_id)
        stranger = peer(3)
        assert first.latency(stranger) is None
        with pytest.raises(TryAgain, match="not connected"):
            await first.ping(stranger)
