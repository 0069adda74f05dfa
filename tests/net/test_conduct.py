"""Offences, allowances and bans: what floods is kept out for a while, what merely differs or is unlucky never is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from attrs import evolve

from p2pwf.core.dagcbor import encode
from p2pwf.core.ids import PeerId
from p2pwf.errors import RemoteError, TryAgain
from p2pwf.net import Frame, attend, conduct, links
from p2pwf.net.blobs import PROTOCOL as BLOB
from p2pwf.net.conduct import BAN_AT, FORGIVEN, OFFENDERS_KEPT, Allowance, Allowances, Conduct, InFlight
from p2pwf.net.counters import Counters
from p2pwf.net.framing import frame
from p2pwf.net.gossip import BURST
from p2pwf.net.network import Network
from tests.net.kit import QUICK, Members, connections, count, join, network, networks, peer, still_serves, until, up

BAN = 60.0


def judge(members: Callable[[PeerId], bool] = lambda _: True) -> tuple[Conduct, list[PeerId]]:
    made, out = Conduct(BAN, Counters(), members), list[PeerId]()
    made.throw_out = out.append
    return made, out


async def test_what_comes_at_once_bans_and_a_ban_ends(autojump_clock: object) -> None:
    made, out = judge()
    for _ in range(int(BAN_AT) - 1):
        made.strike(peer(1), "protocol")
    assert not out
    made.strike(peer(1), "protocol")
    assert out == [peer(1)] == made.banned()
    standing = made.standing(peer(1))
    assert (standing.offences, standing.banned_for) == (BAN_AT, BAN)
    await trio.sleep(BAN + 1)
    assert made.banned() == []
    assert made.standing(peer(1)).banned_for is None


async def test_what_comes_seldom_is_counted_and_never_bans(autojump_clock: object) -> None:
    made, out = judge()
    for _ in range(1000):
        made.strike(peer(1), "reported")
        await trio.sleep(1 / FORGIVEN)
    assert not out
    assert made.standing(peer(1)).offences == 1000


async def test_who_goes_on_after_a_ban_is_banned_again(autojump_clock: object) -> None:
    made, out = judge()
    for _ in range(3):
        for _ in range(int(BAN_AT)):
            made.strike(peer(1), "protocol")
        await trio.sleep(BAN + 1)
    assert out == [peer(1)] * 3


async def test_t05_ids_that_cost_nothing_fill_no_memory_and_forgive_no_member(autojump_clock: object) -> None:
    made, _ = judge(lambda who: who == peer(1))
    made.hosts_of = lambda who: [f"10.0.{len(who) % 256}.{hash(who) % 256}"]
    for _ in range(int(BAN_AT)):
        made.strike(peer(1), "protocol")
    for number in range(2 * OFFENDERS_KEPT):
        made.strike(PeerId(f"stranger {number}"), "protocol")
        made.strike_host(f"10.{number // 256}.{number % 256}.1", 1.0)
    assert made.is_banned(peer(1))
    assert len(made._hosts._scores) == OFFENDERS_KEPT
    assert len(made._members._scores) == 1
    allowances = Allowances(1.0, 1.0)
    for number in range(2 * OFFENDERS_KEPT):
        allowances.of(f"peer {number}")
    assert len(allowances._of) == OFFENDERS_KEPT


async def test_a_strangers_offences_are_its_addresses(autojump_clock: object) -> None:
    made, out = judge(lambda who: who == peer(1))
    made.hosts_of = lambda who: ["2001:db8::1"] if who == peer(2) else ["192.0.2.7"]
    made.strike(peer(2), "protocol")
    assert out == [peer(2)]
    for number in range(int(BAN_AT)):
        made.strike_host(f"2001:db8::{number:x}", 1.0)
    assert made.banned_hosts() == ["2001:db8::/64"]
    assert made.is_shut_out(peer(3), "2001:db8::ffff")
    assert not made.is_shut_out(peer(1), "2001:db8::ffff")
    assert not made.is_shut_out(peer(3), "2001:db8:0:1::1")
    for _ in range(int(BAN_AT)):
        made.strike_host("::ffff:192.0.2.7", 1.0)
        made.strike_host("", 1.0)
    assert made.is_host_banned("192.0.2.7")
    assert not made.is_host_banned("")


async def test_an_allowance_fills_up_again_and_who_wants_more_waits(autojump_clock: object) -> None:
    allowance = Allowance(10.0, 5.0)
    assert [allowance.spend() for _ in range(6)] == [True] * 5 + [False]
    began = trio.current_time()
    assert [await allowance.pace() for _ in range(20)] == [True] * 20
    assert trio.current_time() - began == pytest.approx(2.0, abs=0.1)
    await trio.sleep(100)
    assert not await allowance.pace(5.0)
    assert not allowance.spend(0.5)


UNREADABLE = frame(b"not a request")
ANOTHER_VERSIONS = frame(encode({"v": 2, "ask": "something new"}))


async def ask_for_blobs(attacker: Network, target: PeerId, request: bytes, most: int) -> int:
    """Send a request on streams of their own until there is no way on; how many were sent."""
    for sent in range(most):
        try:
            stream = await attacker.open_to(target, BLOB)
            await stream.write(request)
            while await stream.read_some():
                pass
        except RemoteError:
            continue
        except TryAgain:
            return sent
    return most


async def test_t26_few_frames_that_cannot_be_read_ban_and_many_that_may_be_another_versions_do_not() -> None:
    async with networks(1, 2, 3) as (net, newer, attacker):
        assert await ask_for_blobs(newer, net.peer_id, ANOTHER_VERSIONS, 10) == 10
        assert await ask_for_blobs(attacker, net.peer_id, UNREADABLE, 40) < 10
        await until(lambda: net.statistics()["banned"] == [attacker.peer_id])
        assert net.peers() == [newer.peer_id]


async def test_t26_without_their_weight_frames_that_cannot_be_read_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduct, "BROKEN_FRAME", conduct.OFFENCE)
    async with networks(1, 2) as (net, attacker):
        assert await ask_for_blobs(attacker, net.peer_id, UNREADABLE, 10) == 10
        assert net.statistics()["banned"] == []


async def junk(attacker: Network, target: PeerId, number: int) -> None:
    """So many clock frames, as fast as they go."""
    for _ in range(number):
        if not await attacker.send_wait(target, b"junk"):
            return


async def test_t23_a_member_that_floods_is_thrown_out_kept_out_and_let_in_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "FRAME_RATE", 200.0)
    monkeypatch.setattr(links, "FRAME_BURST", 100.0)
    async with network(1, timing=evolve(QUICK, ban=1.5)) as net, network(2) as attacker, network(3) as honest:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, net)
            await attacker.dial(net.addresses()[0])
            await up(attacker, net.peer_id)
            began = trio.current_time()
            nursery.start_soon(junk, attacker, net.peer_id, 100_000)
            await until(lambda: net.statistics()["banned"] == [attacker.peer_id] and connections(net) == 0)
            assert trio.current_time() - began < 5  # far more than 2 s: other tests run beside this one
            assert net.standing(attacker.peer_id).banned_for is not None
            with pytest.raises(TryAgain, match="kept out"):
                await net.dial(attacker.addresses()[0])
            try:
                await attacker.dial(net.addresses()[0])
            except TryAgain:
                await trio.lowlevel.checkpoint()  # refused before or after the attacker's own side of the handshake
            await until(lambda: count(net, "connection_banned") >= 1)
            nursery.cancel_scope.cancel()
        await join(net, honest)
        await until(lambda: net.statistics()["banned"] == [])
        await join(net, attacker)
        assert net.standing(attacker.peer_id).offences > 0


async def test_t23_without_the_allowance_the_flood_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: the same flood of well-formed frames, and nothing that counts it."""
    monkeypatch.setattr(links, "FRAME_RATE", 1e9)
    monkeypatch.setattr(links, "FRAME_BURST", 1e9)
    async with networks(1, 2) as (net, attacker), trio.open_nursery() as nursery:
        nursery.start_soon(_drain, net)
        await junk(attacker, net.peer_id, 3000)
        assert net.statistics()["banned"] == []
        assert net.peers() == [attacker.peer_id]
        nursery.cancel_scope.cancel()


async def test_t23_a_relay_is_not_to_blame_for_what_others_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of gossip is throttled wherever it comes from, and counts against its author alone."""
    monkeypatch.setattr("p2pwf.net.gossip.BURST", 20.0)
    monkeypatch.setattr("p2pwf.net.gossip.RATE", 0.001)
    monkeypatch.setattr(conduct, "FLOODED", 1.0)
    assert BURST > 20
    async with network(1) as net, network(2) as relay, network(3) as author:
        relay._host.pubsub._messages = Allowances(1e6, 1e6)
        await join(net, relay)
        await join(relay, author)
        await until(lambda: len(relay._host.pubsub.peer_topics.get("test", ())) == 2)
        for number in range(100):
            await author.publish(b"%d" % number)
        await until(lambda: count(net, "gossip_over_rate") >= 60)
        assert count(net, "strike_flood") == 0
        assert net.standing(relay.peer_id).offences == 0


async def test_a_stranger_that_breaks_the_protocol_is_gone_at_once_and_its_address_in_the_end() -> None:
    gate = Members([peer(2)])
    async with network(1, gate, timing=evolve(QUICK, ban=1.0)) as net, network(2) as member, network(9) as outsider:

        async def offend(stranger: Network) -> None:
            try:
                await stranger.dial(net.addresses()[0])
                stream = await stranger.open_to(net.peer_id, "/p2pwf/join/1.0.0")
                await stream.write_frame(b"no request")
                await stranger._connections.wait_lost(net.peer_id)
            except (RemoteError, TryAgain):
                await stranger.drop(net.peer_id)

        while not net.statistics()["banned_addresses"]:
            await offend(outsider)
        assert net.statistics()["banned_addresses"] == ["127.0.0.1"]
        await offend(outsider)
        await until(lambda: count(net, "connection_banned_address") >= 1)
        await join(net, member)  # of the same address
        await still_serves(net, member)
        await until(lambda: net.statistics()["banned_addresses"] == [])


async def test_strangers_of_one_address_do_not_take_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attend, "MAX_STRANGERS_PER_HOST", 1)
    patient = evolve(QUICK, stranger_idle=5.0)
    async with network(1, Members(), timing=patient) as net, network(2) as one, network(3) as two:
        await one.dial(net.addresses()[0])
        await two.dial(net.addresses()[0])
        await until(lambda: count(net, "stranger_refused") == 1)


async def taken_of_a_flood(frames: int) -> int:
    """Of so many frames of one peer, how many the node is given before it has handled any."""
    async with networks(1, 2) as (net, attacker):
        got = 0
        for _ in range(frames):
            assert await attacker.send_wait(net.peer_id, bytes(1000))
        with trio.move_on_after(0.5):
            async for event in net.events:
                got += isinstance(event, Frame)
        return got


async def test_t28_one_peer_has_only_so_much_before_the_node() -> None:
    assert await taken_of_a_flood(300) == links.IN_FLIGHT


async def test_t28_without_that_bound_all_of_it_is_before_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: what others send waits behind all that a flood has put there."""
    monkeypatch.setattr(links, "IN_FLIGHT", 10**6)
    monkeypatch.setattr(links, "IN_FLIGHT_BYTES", 10**9)
    assert await taken_of_a_flood(300) == 300


async def test_what_is_handled_makes_room(autojump_clock: object) -> None:
    in_flight = InFlight(2, 1000)
    first = await in_flight.add(5000)  # one piece of any size
    with trio.move_on_after(1) as waited:
        await in_flight.add(1)
    assert waited.cancelled_caught
    first()
    second = await in_flight.add(500)
    await in_flight.add(500)
    with trio.move_on_after(1) as waited:
        await in_flight.add(0)
    assert waited.cancelled_caught
    second()
    await in_flight.add(400)


async def _drain(net: Network) -> None:
    async for event in net.events:
        if isinstance(event, Frame):
            event.handled()
