"""Who may do what: strangers reach the join protocol and nothing else, for as long as they use it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
from attrs import evolve

from p2pwf.core.ids import block_cid
from p2pwf.errors import RemoteError
from p2pwf.net import Frame, JoinReply, JoinRequest, NetEvent, PeerDown, Timing, Unlinked
from p2pwf.net.joins import MAX_PAST
from p2pwf.net.network import Network
from p2pwf.net.stream import WireStream
from tests.net.kit import LIMIT, QUICK, Members, connections, count, event, join, network, peer, until, up

MEMBERS_ONLY = (
    "/p2pwf/clock/2.0.0",
    "/p2pwf/blob/1.0.0",
    "/p2pwf/logs/1.0.0",
    "/meshsub/1.2.0",
    "/meshsub/1.1.0",
    "/meshsub/1.0.0",
    "/ipfs/id/1.0.0",
    "/ipfs/ping/1.0.0",
)
NETWORK = block_cid(b"a genesis event")
ASK = JoinRequest(NETWORK, b"s" * 16, "laptop", ["linux", "gpu"], 4)


@pytest.mark.parametrize("protocol", MEMBERS_ONLY)
async def test_t02_a_stranger_is_offered_no_protocol_of_members(protocol: str) -> None:
    async with network(1, Members()) as net, network(2) as stranger:
        await stranger.dial(net.addresses()[0])
        with pytest.raises(RemoteError, match="did not take"):
            await stranger.open_to(net.peer_id, protocol)


async def test_t02_without_the_gate_the_stranger_reaches_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of the test above."""
    gate = Members()
    async with network(1, gate) as net, network(2) as stranger:
        door = net._host.door
        monkeypatch.setattr(door, "_for_strangers", door._for_members)
        await stranger.dial(net.addresses()[0])
        await (await stranger.open_to(net.peer_id, "/p2pwf/blob/1.0.0")).close()


async def test_t02_a_stranger_is_gone_within_two_seconds() -> None:
    async with network(1, Members(), timing=Timing()) as net, network(2) as stranger:
        began = trio.current_time()
        await stranger.dial(net.addresses()[0])
        await stranger._connections.wait_lost(net.peer_id)
        assert Timing().stranger_idle <= trio.current_time() - began < 5  # a busy machine may be late
        assert Timing().stranger_idle < 2


async def test_t02_without_its_two_seconds_a_stranger_stays() -> None:
    async with network(1, Members(), timing=evolve(QUICK, stranger_idle=1e9)) as net, network(2) as stranger:
        await stranger.dial(net.addresses()[0])
        with trio.move_on_after(3 * QUICK.stranger_idle):
            await stranger._connections.wait_lost(net.peer_id)
        assert connections(net) == 1


async def test_a_stranger_is_given_no_stream_and_closed_when_idle() -> None:
    async with network(1, Members()) as net, network(2) as stranger:
        await stranger.dial(net.addresses()[0])
        await until(lambda: connections(net) == 0 and connections(stranger) == 0)
        assert count(net, "stranger_closed") == 1
        assert list(net._host.pubsub.peers) == []
        assert net.peers() == stranger.peers() == []


async def test_a_stranger_that_asks_to_join_is_heard_and_kept_while_it_asks() -> None:
    asked = trio.Event()
    decide = trio.Event()

    async def decide_late(who: str, request: JoinRequest) -> JoinReply:
        assert (who, request) == (peer(2), ASK)
        asked.set()
        await decide.wait()
        return JoinReply("pending", NETWORK, "an admin has to admit you")

    async with network(1, Members()) as net, network(2, Members()) as stranger, trio.open_nursery() as nursery:
        net.serve_join(decide_late)
        replies: list[JoinReply] = []

        async def ask() -> None:
            replies.append(await stranger.ask_join(net.addresses()[0], ASK))

        nursery.start_soon(ask)
        await asked.wait()
        with trio.move_on_after(3 * 0.3):  # three times what an idle stranger is given
            await until(lambda: connections(net) == 0)
        assert connections(net) == 1
        decide.set()
        await until(lambda: replies == [JoinReply("pending", NETWORK, "an admin has to admit you")])
        await until(lambda: connections(net) == 0)


async def test_a_stranger_becomes_a_member_on_the_connection_that_it_asked_on() -> None:
    host_gate, guest_gate = Members(), Members()

    async def admit(who: str, _request: JoinRequest) -> JoinReply:
        host_gate.members.add(peer(2))
        net.members_changed()
        return JoinReply("admitted", NETWORK)

    async with network(1, host_gate) as net, network(2, guest_gate) as guest:
        net.serve_join(admit)
        assert (await guest.ask_join(net.addresses()[0], ASK)).status == "admitted"
        guest_gate.members.add(net.peer_id)
        guest.members_changed()
        await up(net, guest.peer_id)
        await up(guest, net.peer_id)


async def test_t06_a_former_member_is_closed_at_once() -> None:
    gate = Members([peer(2)])
    async with network(1, gate) as net, network(2) as other:
        await join(net, other)
        gate.members.clear()
        net.members_changed()
        assert (await event(net, PeerDown)).peer == other.peer_id
        assert (await event(other, PeerDown)).peer == net.peer_id
        assert count(net, "member_closed") == 1


async def test_a_former_member_hears_why_before_it_is_closed_and_is_heard_no_more() -> None:
    gate = Members([peer(2)])
    async with network(1, gate) as net, network(2) as other:
        await join(net, other)
        gate.members.clear()
        net.members_changed({other.peer_id: [b"you were", b"removed"]})
        other.send(net.peer_id, b"too late")
        assert [(await event(other, Frame)).data for _ in range(2)] == [b"you were", b"removed"]
        assert (await event(other, PeerDown)).peer == net.peer_id
        heard = await next_of(net)
        assert heard == PeerDown(other.peer_id)
        await until(lambda: connections(net) == 0 or net.peers() == [])
        assert count(net, "member_closed") == 1
        assert count(net, "farewell_not_heard") == 0


async def test_t06_a_former_member_that_does_not_listen_is_closed_all_the_same() -> None:
    gate = Members([peer(2)])
    async with network(1, gate, timing=evolve(QUICK, farewell=0.2)) as net, network(2) as other:
        await join(net, other)
        frames = [bytes(900_000) for _ in range(100)]  # more than its queues take, and nobody takes its events
        gate.members.clear()
        net.members_changed({other.peer_id: frames})
        assert (await event(net, PeerDown)).peer == other.peer_id
        assert count(net, "farewell_not_heard") == 1


async def test_a_member_that_keeps_no_clock_stream_is_told_of_and_says_that_it_removed_us() -> None:
    """The one that was removed is 1, of the smaller id or not: both sides notice."""

    async def removed(_who: str, request: JoinRequest) -> JoinReply:
        return JoinReply("removed", NETWORK, "an admin did")

    async def past(who: str, hello: bytes) -> AsyncGenerator[bytes, None]:
        assert (who, hello) == (peer(former), b"what it has")
        for number in range(3):
            yield b"%d" % number

    timing = evolve(QUICK, unlinked=0.05)
    for former, member in ((1, 2), (2, 1)):
        async with network(member, Members()) as net, network(former, timing=timing) as away:
            net.serve_join(removed, past)
            away.want_peers({net.peer_id: net.addresses()})
            assert (await event(away, Unlinked)).peer == net.peer_id
            got: list[bytes] = []

            async def take(data: bytes, got: list[bytes] = got) -> None:
                got.append(data)

            reply = await away.ask_standing(net.peer_id, ASK, b"what it has", take)
            assert (reply.status, got) == ("removed", [b"0", b"1", b"2"])
            assert (await away.ask_join(net.addresses()[0], ASK)).status == "removed"  # it need not want the rest


async def test_what_a_former_member_is_told_has_a_bound() -> None:
    async def removed(_who: str, request: JoinRequest) -> JoinReply:
        return JoinReply("removed", NETWORK)

    async def endless(_who: str, _hello: bytes) -> AsyncGenerator[bytes, None]:
        while True:
            yield b"more"

    async with network(1, Members()) as net, network(2) as away:
        net.serve_join(removed, endless)
        await away.dial(net.addresses()[0])
        got: list[bytes] = []

        async def take(data: bytes) -> None:
            got.append(data)

        await away.ask_standing(net.peer_id, ASK, b"", take)
        assert len(got) == MAX_PAST
        await until(lambda: count(net, "past_not_told") == 1)


async def test_t06_gossip_of_a_former_member_is_not_taken_from_others() -> None:
    gate = Members([peer(1), peer(2), peer(3)])
    async with network(1, gate) as net, network(2) as hub, network(3) as former:
        await join(hub, net)
        await join(hub, former)
        gate.members.discard(former.peer_id)
        await until(lambda: len(hub._host.pubsub.peer_topics.get("test", ())) == 2)
        await former.publish(b"from no member")
        await until(lambda: count(net, "gossip_from_no_member") == 1)
        assert count(net, "gossip_received") == 0


async def test_a_refusal_and_no_handler_are_answers_too() -> None:
    async with network(1, Members()) as net, network(2) as stranger:
        assert (await stranger.ask_join(net.addresses()[0], ASK)).status == "refused"

        async def refuse(_who: str, _request: JoinRequest) -> JoinReply:
            return JoinReply("refused", None, "the ticket expired")

        net.serve_join(refuse)
        assert await stranger.ask_join(net.addresses()[0], ASK) == JoinReply("refused", None, "the ticket expired")


async def test_a_malformed_join_request_is_not_answered() -> None:
    async def never(_who: str, _request: JoinRequest) -> JoinReply:
        raise AssertionError("a malformed request was decided on")

    async with network(1, Members()) as net, network(2) as stranger:
        net.serve_join(never)
        await stranger.dial(net.addresses()[0])
        stream = await stranger.open_to(net.peer_id, "/p2pwf/join/1.0.0")
        await stream.write_frame(b"\xa1\x61a\x01")
        assert await answer(stream) is None
        assert count(net, "strike_protocol") == 1


async def test_t24_a_stranger_that_sends_its_request_too_slowly_is_dropped() -> None:
    timing = evolve(QUICK, request=0.3, stranger_idle=0.2)
    async with network(1, Members(), timing=timing) as net, network(2) as stranger:
        await stranger.dial(net.addresses()[0])
        stream = await stranger.open_to(net.peer_id, "/p2pwf/join/1.0.0")
        await stream.write(b"\x20half of it")
        await until(lambda: connections(net) == 0)
        assert count(net, "stream_broken") == 1


async def next_of(net: Network) -> NetEvent:
    """The next event of a link, whatever it is."""
    with trio.fail_after(LIMIT):
        got: NetEvent = await net.events.receive()
        return got


async def answer(stream: WireStream) -> bytes | None:
    try:
        return await stream.read_frame(4096)
    except RemoteError:
        return None
