"""Connections: how many, from whom, for how long, over what."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from attrs import evolve
from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.swarm import Swarm
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.peer.peerstore import PeerStoreError
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.stream_muxer.yamux.yamux import TYPE_DATA, YAMUX_HEADER_FORMAT, Yamux
from multiaddr import Multiaddr

from p2pwf.errors import TryAgain
from p2pwf.net import Frame, PeerDown, attend
from p2pwf.net.network import Network
from p2pwf.net.swarm import MAX_CONNECTIONS_PER_PEER, GuardedSwarm, libp2p_id
from p2pwf.net.yamux import GuardedYamux
from tests.net.kit import (
    QUICK,
    AsyncHosts,
    Members,
    connections,
    count,
    event,
    join,
    network,
    networks,
    peer,
    seed,
    until,
    up,
)


def port_of(net: Network) -> int:
    return int(net.addresses()[0].split("/")[4])


async def connect_and_leave(net: Network, times: int, at_once: int = 10) -> None:
    """So many inbound connections, each ended before the last ones begin."""

    async def some(number: int) -> None:
        async with network(number, Members(), listen=[]) as guest:
            for _ in range(times // at_once):
                await guest.dial(net.addresses()[0])
                await guest.drop(net.peer_id)
                await guest._connections.wait_lost(net.peer_id)

    async with trio.open_nursery() as nursery:
        for number in range(at_once):
            nursery.start_soon(some, 100 + number)


async def test_more_connections_in_a_lifetime_than_the_library_has_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attend, "CAME_FOR_NOTHING", 0.0)  # their address would be banned
    async with network(1, Members([peer(2)])) as net:
        await connect_and_leave(net, 320, at_once=16)
        async with network(2) as other:
            await join(net, other)
        await until(lambda: connections(net) == 0)
        assert not net._host.swarm._handshakes


async def test_without_the_guard_the_slots_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin, with twenty slots instead of three hundred."""
    monkeypatch.setattr(GuardedSwarm, "_handle_inbound_connection", Swarm._handle_inbound_connection)
    async with network(1, Members([peer(2)]), timing=evolve(QUICK, dial=1.0)) as net:
        net._host.swarm._inbound_limiter = trio.CapacityLimiter(20)
        await connect_and_leave(net, 20, at_once=5)
        async with network(2, timing=evolve(QUICK, dial=1.0)) as other:
            with pytest.raises(TryAgain):
                await other.dial(net.addresses()[0])


async def test_t24_half_open_connections_hold_no_place_for_long_and_leave_room() -> None:
    timing = evolve(QUICK, upgrade=0.5)
    async with network(1, timing=timing) as net:
        sockets = [socket.create_connection(("127.0.0.1", port_of(net))) for _ in range(200)]
        try:
            await until(lambda: count(net, "handshake_refused") > 0)
            await until(lambda: count(net, "handshake_refused") + count(net, "handshake_failed") == len(sockets))
            async with network(2) as other:
                await join(net, other)
        finally:
            for each in sockets:
                each.close()


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\xff" * 5000, b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 4000],
    ids=["http", "zeros", "ones", "length"],
)
async def test_junk_on_the_port_is_closed(junk: bytes) -> None:
    async with network(1, timing=evolve(QUICK, upgrade=1.0)) as net, network(2) as other:
        with trio.fail_after(20):
            stream = await trio.open_tcp_stream("127.0.0.1", port_of(net))
            async with stream:
                await stream.send_all(junk)
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
        await until(lambda: count(net, "handshake_failed") == 1)
        await join(net, other)


async def test_a_peer_without_encryption_is_refused() -> None:
    key = create_new_key_pair(seed(9))
    plain = new_host(
        key_pair=key, sec_opt={TProtocol(PLAINTEXT_PROTOCOL_ID): InsecureTransport(key)}, negotiate_timeout=2
    )
    async with network(1) as net, plain.run(listen_addrs=[]):
        with pytest.raises(Exception, match="unable to connect"):
            await plain.connect(info_from_p2p_addr(Multiaddr(net.addresses()[0])))
        assert connections(net) == 0
        await plain.close()


async def test_a_member_of_the_plain_library_is_served_with_encryption() -> None:
    """The twin: the same host with its default security reaches us, so the refusal above is about plaintext."""
    plain = new_host(key_pair=create_new_key_pair(seed(9)))
    got = trio.Event()

    async def answer(stream: INetStream) -> None:
        got.set()
        await stream.close()

    async with network(1) as net, plain.run(listen_addrs=[]):
        plain.set_stream_handler(TProtocol("/test/1"), answer)
        await plain.connect(info_from_p2p_addr(Multiaddr(net.addresses()[0])))
        await until(lambda: connections(net) == 1)
        await until(lambda: "/p2pwf/blob/1.0.0" in known_protocols(plain, net))
        assert {"/meshsub/1.1.0", "/p2pwf/join/1.0.0"} <= known_protocols(plain, net)
        await net.open_to(peer(9), "/test/1")
        with trio.fail_after(10):
            await got.wait()
        await plain.close()


def known_protocols(host: IHost, net: Network) -> set[str]:
    """What a host of the plain library learnt of another by identify."""
    try:
        return set(host.get_peerstore().get_protocols(libp2p_id(net.peer_id)))
    except PeerStoreError:
        return set()


async def test_t25_connections_of_one_peer_are_bounded() -> None:
    async with network(1) as net, network(2) as other:
        await join(net, other)
        for _ in range(2 * MAX_CONNECTIONS_PER_PEER):
            try:
                with trio.fail_after(5):
                    await other._host.swarm.dial(net.peer_id, net.addresses()[0])
            except Exception:  # noqa: BLE001, S110 - refused in one of several ways
                pass
        await until(lambda: connections(net) <= MAX_CONNECTIONS_PER_PEER)
        assert count(net, "connection_one_too_many") >= 1
        assert other.send(net.peer_id, b"still")
        assert (await event(net, Frame)).data == b"still"


async def test_t25_without_the_bound_a_peer_has_as_many_connections_as_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2pwf.net.swarm.MAX_CONNECTIONS_PER_PEER", 100)
    async with network(1) as net, network(2) as other:
        await join(net, other)
        for _ in range(2 * MAX_CONNECTIONS_PER_PEER):
            await other._host.swarm.dial(net.peer_id, net.addresses()[0])
        await until(lambda: connections(net) > MAX_CONNECTIONS_PER_PEER)


ALERT = evolve(QUICK, ping=0.1, silence=1.0)


@asynccontextmanager
async def cable(target: int) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """A TCP relay to a port, and how to cut it without either side being told."""
    cut = trio.Event()

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            async for data in source:
                if cut.is_set():
                    await trio.sleep_forever()
                await sink.send_all(data)
            await sink.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def serve(near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", target)
        async with far, trio.open_nursery() as nursery:
            nursery.start_soon(pump, near, far)
            nursery.start_soon(pump, far, near)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1], cut.set
        nursery.cancel_scope.cancel()


async def test_a_peer_that_falls_silent_is_dropped_and_one_that_is_busy_is_not() -> None:
    async with (
        network(1, timing=ALERT) as net,
        network(2) as silent,
        network(3) as honest,
        cable(port_of(net)) as (port, cut),
    ):
        await honest.dial(net.addresses()[0])
        await up(net, honest.peer_id)
        await silent.dial(f"/ip4/127.0.0.1/tcp/{port}/p2p/{net.peer_id}")
        await up(net, silent.peer_id)
        cut()
        assert (await event(net, PeerDown)).peer == silent.peer_id
        assert count(net, "silent_peer_dropped") == 1
        assert net.peers() == [honest.peer_id]


async def test_a_silent_peer_is_dropped_also_while_much_is_queued_for_it() -> None:
    """A writer blocked in the socket must not keep the connection from being closed."""
    async with network(1, timing=ALERT) as net, network(2) as silent, cable(port_of(net)) as (port, cut):
        await silent.dial(f"/ip4/127.0.0.1/tcp/{port}/p2p/{net.peer_id}")
        await up(net, silent.peer_id)
        cut()
        while net.send(silent.peer_id, bytes(1_000_000)):
            await trio.lowlevel.checkpoint()
        assert (await event(net, PeerDown)).peer == silent.peer_id


async def test_without_the_pings_the_silent_peer_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: the library's own ping ignores that no answer comes."""
    monkeypatch.setattr(GuardedYamux, "_measure_rtt_loop", Yamux._measure_rtt_loop)
    async with network(1, timing=ALERT) as net, network(2) as silent, cable(port_of(net)) as (port, cut):
        await silent.dial(f"/ip4/127.0.0.1/tcp/{port}/p2p/{net.peer_id}")
        await up(net, silent.peer_id)
        cut()
        with trio.move_on_after(2 * ALERT.silence):
            await event(net, PeerDown)
        assert net.peers() == [silent.peer_id]


async def test_a_peer_that_sends_past_its_window_is_dropped() -> None:
    async with networks(1, 2, 3) as (net, attacker, honest):
        stream = await attacker.open_to(net.peer_id, "/ipfs/ping/1.0.0")
        assert stream.conn is not None
        muxed = stream.conn.muxed_conn
        assert isinstance(muxed, GuardedYamux)
        stream_id: int = stream._stream.muxed_stream.stream_id  # type: ignore[attr-defined]
        frame = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, stream_id, 60_000) + bytes(60_000)
        with trio.move_on_after(20):
            while not muxed.is_closed:
                try:
                    await muxed._write_frame(frame)
                except Exception:  # noqa: BLE001 - closed under it
                    break
        await until(lambda: count(net, "window_exceeded") >= 1)
        await until(lambda: net.peers() == [honest.peer_id])


async def test_a_port_that_is_taken_is_named() -> None:
    async with network(1) as net:
        with pytest.raises(TryAgain, match="in use"):
            async with network(2, listen=[f"/ip4/127.0.0.1/tcp/{port_of(net)}"]):
                pass


async def test_every_socket_is_closed_at_the_end() -> None:
    async with network(1) as net:
        port = port_of(net)
        async with network(2) as other:
            await join(net, other)
    with pytest.raises(OSError, match=r"."):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    with socket.socket() as again:  # nothing lingers on the port but what the kernel keeps of ended connections
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert again.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_t01_a_private_network_takes_only_those_with_its_key() -> None:
    key = bytes(range(32))
    async with network(1, psk=key) as net:
        async with network(2, psk=key) as friend:
            await join(net, friend)
        for wrong in (None, bytes(32)):
            async with network(3, psk=wrong, timing=evolve(QUICK, dial=1.0)) as stranger:
                with pytest.raises(TryAgain):
                    await stranger.dial(net.addresses()[0])
        assert net.peers() == []


async def test_t01_without_the_key_a_stranger_gets_as_far_as_a_connection() -> None:
    """The twin: what stops it is the key."""
    async with network(1, Members(), psk=None) as net, network(3) as stranger:
        await stranger.dial(net.addresses()[0])
        await until(lambda: connections(net) == 1)


async def test_a_cancelled_writer_leaves_the_connection_whole() -> None:
    async with networks(1, 2) as (net, other):
        for _ in range(50):
            stream = await other.open_to(net.peer_id, "/p2pwf/blob/1.0.0")
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.write, bytes(300_000))
                    await trio.lowlevel.checkpoint()
                    scope.cancel()
            await stream.reset()
        assert other.send(net.peer_id, b"whole")
        assert (await event(net, Frame)).data == b"whole"


async def test_frames_of_one_byte_at_a_time_make_a_connection_too() -> None:
    """A slow honest link: the library gives up after a hundred partial reads."""
    from p2pwf.net.tcp import TcpStream

    read = TcpStream.read

    async def dribble(self: TcpStream, n: int | None = None) -> bytes:
        return await read(self, min(n or 1, 7))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TcpStream, "read", dribble)
        async with network(1) as net, network(2) as other:
            await join(net, other)
            assert other.send(net.peer_id, bytes(5000))
            assert (await event(net, Frame)).data == bytes(5000)


async def test_without_the_guard_the_slow_link_breaks() -> None:
    """The twin."""
    from libp2p.io import msgio, utils

    from p2pwf.net.tcp import TcpStream

    read = TcpStream.read

    async def dribble(self: TcpStream, n: int | None = None) -> bytes:
        return await read(self, min(n or 1, 7))

    async with network(1) as net, network(2) as other:
        await join(net, other)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TcpStream, "read", dribble)
            patch.setattr(msgio, "read_exactly", utils.read_exactly)
            assert other.send(net.peer_id, bytes(5000))
            assert (await event(net, PeerDown)).peer == other.peer_id


async def test_a_dial_that_nobody_answers_ends_at_its_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with network(1, timing=evolve(QUICK, dial=0.3)) as net:
            with pytest.raises(TryAgain, match="no answer"):
                await net.dial(f"/ip4/127.0.0.1/tcp/{mute.getsockname()[1]}/p2p/{peer(2)}")


async def test_a_name_is_dialled_like_an_address() -> None:
    async with network(1) as net, network(2) as other:
        await other.dial(f"/dns4/localhost/tcp/{port_of(net)}/p2p/{net.peer_id}")
        await up(net, other.peer_id)


async def test_the_first_address_that_answers_is_taken() -> None:
    async with network(1) as net, network(2) as other:
        dead = ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", "/dns4/nowhere.invalid/tcp/3"]
        other.want_peers({net.peer_id: [*dead, net.addresses()[0]]})
        await up(net, other.peer_id)


async def test_ipv6_is_listened_on_and_dialled() -> None:
    try:
        async with network(1, listen=["/ip6/::1/tcp/0"]) as net, network(2) as other:
            assert net.addresses()[0].startswith("/ip6/::1/tcp/")
            await join(net, other)
    except TryAgain:
        pytest.skip("this machine has no IPv6")


async def test_strangers_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attend, "MAX_STRANGERS", 2)
    async with network(1, Members(), timing=evolve(QUICK, stranger_idle=5.0)) as net, AsyncHosts() as hosts:
        for number in range(2, 5):
            stranger = await hosts.open(number)
            await stranger.dial(net.addresses()[0])
        await until(lambda: count(net, "stranger_refused") == 1 and connections(net) == 2)


async def test_a_peer_that_is_wanted_no_more_is_dialled_no_more() -> None:
    async with network(1) as net:
        net.want_peers({peer(2): ["/ip4/127.0.0.1/tcp/1"]})
        await until(lambda: count(net, "redial_failed") >= 2)
        net.want_peers({})
        await until(lambda: not net._dialler._scopes)


def test_peer_ids_convert_both_ways() -> None:
    assert libp2p_id(peer(1)).to_base58() == peer(1)
