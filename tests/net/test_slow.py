"""T24: who begins something and drips, or says nothing more, holds nothing for long; on each protocol that there is."""

from __future__ import annotations

import math

import pytest
import trio
from attrs import evolve
from libp2p.abc import INetStream

from p2pwf.net import PeerDown, blobs, ping
from p2pwf.net import stream as streams
from p2pwf.net.network import Network
from p2pwf.net.stream import WireStream
from tests.net.kit import QUICK, AsyncHosts, count, event, join, networks, peer, still_serves, until

SHORT = 0.3
"""Seconds that the tests give to each deadline."""
HALF = b"\x20half of it"
ATTACKER, NET, HONEST = sorted((1, 2, 3), key=peer)
"""Of two members the one with the smaller id opens the clock stream: the attacker's is the smallest."""
QUICK_DEADLINES = evolve(QUICK, request=SHORT, negotiate=SHORT)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FRAME_SECONDS", SHORT)
    monkeypatch.setattr(blobs, "SERVER_IDLE", SHORT)
    monkeypatch.setattr(ping, "IDLE", SHORT)


async def begin(attacker: Network, net: Network, protocol: str) -> WireStream:
    stream = await attacker.open_to(net.peer_id, protocol)
    await stream.write(HALF)
    return stream


def held(net: Network, protocol: str) -> int:
    return net._host.door._by_protocol[peer(ATTACKER), protocol]


STREAMS = (
    "/p2pwf/blob/1.0.0",
    "/p2pwf/logs/1.0.0",
    "/p2pwf/join/1.0.0",
    "/meshsub/1.1.0",
    "/p2pwf/clock/2.0.0",
    "/ipfs/ping/1.0.0",
)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("protocol", STREAMS)
async def test_t24_half_a_message_is_not_waited_for(protocol: str) -> None:
    async with AsyncHosts() as hosts:
        net = await hosts.open(NET, timing=QUICK_DEADLINES)
        attacker, honest = await hosts.open(ATTACKER), await hosts.open(HONEST)
        for each in (attacker, honest):
            await join(net, each)
        before = held(net, protocol)
        await begin(attacker, net, protocol)
        await until(lambda: held(net, protocol) == before + 1)
        await until(lambda: held(net, protocol) == before)
        assert net.standing(attacker.peer_id).offences == 0  # a lost connection looks the same
        await still_serves(net, honest)


@pytest.mark.usefixtures("short")
async def test_t24_half_a_frame_on_the_clock_stream_that_stands_ends_it() -> None:
    async with networks(NET, ATTACKER) as (net, attacker):
        await attacker._links._links[net.peer_id].outbox.put_wait(HALF)
        assert (await event(net, PeerDown)).peer == attacker.peer_id


async def test_t24_a_stream_that_does_not_say_what_it_wants_is_not_waited_for() -> None:
    async with AsyncHosts() as hosts:
        net = await hosts.open(NET, timing=QUICK_DEADLINES)
        attacker = await hosts.open(ATTACKER)
        await join(net, attacker)
        stream: INetStream = await attacker._connections.of(net.peer_id)[0].conn.new_stream()
        await stream.write(b"\x13/multi")
        await until(lambda: count(net, "negotiation_failed") == 1)


@pytest.mark.parametrize("protocol", STREAMS)
async def test_t24_without_the_deadlines_it_is_waited_for(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin, for as long as the deadlines above."""
    monkeypatch.setattr(streams, "FRAME_SECONDS", math.inf)
    monkeypatch.setattr(blobs, "SERVER_IDLE", math.inf)
    monkeypatch.setattr(ping, "IDLE", math.inf)
    async with AsyncHosts() as hosts:
        net = await hosts.open(NET, timing=evolve(QUICK, request=math.inf, negotiate=60.0))
        attacker = await hosts.open(ATTACKER)
        await join(net, attacker)
        before = held(net, protocol)
        await begin(attacker, net, protocol)
        await until(lambda: held(net, protocol) == before + 1)
        with trio.move_on_after(2 * SHORT):
            while held(net, protocol) == before + 1:
                await trio.sleep(SHORT / 10)
        assert held(net, protocol) == before + 1


@pytest.mark.usefixtures("short")
async def test_t24_a_blob_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """By who fetches: a source that sends a byte now and then keeps no job waiting for ever."""
    from p2pwf.core.ids import blob_cid
    from p2pwf.errors import TryAgain
    from p2pwf.net.requests import encode_message
    from tests.net.kit import MemoryBlobs

    monkeypatch.setattr(blobs, "BATCH_SECONDS", SHORT)

    async def drip(stream: WireStream) -> None:
        await stream.read_frame(1 << 16)
        await stream.write_frame(encode_message({"offset": 0, "size": 10**6, "status": "ok"}))
        while True:
            await stream.write(b"x")
            await trio.sleep(SHORT / 10)

    async with networks(1, 2) as (net, source):
        source._host.door.serve("/p2pwf/blob/1.0.0", drip)
        with pytest.raises(TryAgain, match="stopped sending"):
            await net.fetch_blob(blob_cid(b"x" * 10**6), [source.peer_id], MemoryBlobs())
