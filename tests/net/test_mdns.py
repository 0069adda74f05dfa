"""Finding each other on the local network: real multicast, in one process."""

from __future__ import annotations

import threading

import pytest
from zeroconf import ServiceBrowser

from p2pwf.net.mdns import parse_record, service_type
from tests.net.kit import count, network, peer, up

ADDRESS = f"/ip4/192.0.2.1/tcp/4070/p2p/{peer(1)}".encode()


async def test_two_hosts_that_may_find_each_other_connect() -> None:
    async with network(1, mdns=True) as first, network(2, mdns=True) as second:
        await up(first, second.peer_id)
        await up(second, first.peer_id)
        assert count(first, "mdns_failed") == count(second, "mdns_failed") == 0


async def test_a_host_that_stops_ends_what_it_started() -> None:
    async with network(1, mdns=True) as first, network(2, mdns=True) as second:
        await up(first, second.peer_id)
        assert any(isinstance(thread, ServiceBrowser) for thread in threading.enumerate())
    assert not any(isinstance(thread, ServiceBrowser) for thread in threading.enumerate())


def test_networks_do_not_meet() -> None:
    assert service_type("one") != service_type("two")
    assert len(service_type("one").split(".")[0]) <= 16


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {b"dnsaddr": None},
        {b"dnsaddr": b"\xff"},
        {b"dnsaddr": b"/ip4/192.0.2.1/tcp/4070"},
        {b"dnsaddr": b"/ip4/192.0.2.1/tcp/4070/p2p/nobody"},
        {b"dnsaddr": b"/ip4/192.0.2.1/udp/4070/quic-v1/p2p/" + peer(1).encode()},
        {b"dnsaddr": ADDRESS, b"dnsaddr1": ADDRESS.replace(peer(1).encode(), peer(2).encode())},
    ],
)
def test_a_record_that_names_no_one_peer_is_ignored(properties: dict[bytes, bytes | None]) -> None:
    assert parse_record(properties) is None


def test_a_record_gives_the_peer_and_its_usable_addresses() -> None:
    record = {b"dnsaddr": ADDRESS, b"dnsaddr1": b"junk", b"other": b"x"}
    assert parse_record(record) == (peer(1), ("/ip4/192.0.2.1/tcp/4070",))
