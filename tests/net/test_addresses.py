from __future__ import annotations

import pytest

from p2pwf.errors import UsageError
from p2pwf.net.addresses import announced, listen_pair, local_interfaces, split_peer
from tests.net.kit import network, peer

ANY4, ANY6 = "/ip4/0.0.0.0/tcp/4070", "/ip6/::/tcp/4070"


def told(interfaces: list[tuple[str, str]], *listening: str, announce: tuple[str, ...] = ()) -> list[str]:
    suffix = f"/p2p/{peer(1)}"
    got = announced(listening, announce, peer(1), lambda: interfaces)
    assert all(address.endswith(suffix) for address in got)
    return [address.removesuffix(suffix) for address in got]


def test_every_interface_is_told_but_loopback_and_bridges() -> None:
    interfaces = [("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), ("eth0", "10.0.0.5"), ("wan", "8.8.8.8")]
    assert told(interfaces, ANY4) == ["/ip4/8.8.8.8/tcp/4070", "/ip4/10.0.0.5/tcp/4070"]


def test_a_bridge_is_told_if_there_is_nothing_else_and_loopback_after_that() -> None:
    assert told([("lo", "127.0.0.1"), ("br-12", "172.18.0.1")], ANY4) == ["/ip4/172.18.0.1/tcp/4070"]
    assert told([("lo", "127.0.0.1")], ANY4) == ["/ip4/127.0.0.1/tcp/4070"]


def test_each_family_has_its_own_addresses() -> None:
    interfaces = [("eth0", "10.0.0.5"), ("eth0", "2a00::5"), ("lo", "::1")]
    assert told(interfaces, ANY4, ANY6) == ["/ip6/2a00::5/tcp/4070", "/ip4/10.0.0.5/tcp/4070"]


def test_what_the_user_announces_replaces_everything() -> None:
    chosen = ("/dns4/node.example/tcp/4070", f"/ip4/203.0.113.1/tcp/1/p2p/{peer(2)}")
    assert told([("eth0", "10.0.0.5")], ANY4, announce=chosen) == [
        "/dns4/node.example/tcp/4070",
        "/ip4/203.0.113.1/tcp/1",
    ]


def test_this_machine_has_addresses() -> None:
    assert ("127.0.0.1") in {address for _, address in local_interfaces()}


async def test_a_host_tells_the_port_that_it_got() -> None:
    async with network(1) as net:
        address, who = split_peer(net.addresses()[0])
        assert who == net.peer_id == peer(1)
        assert listen_pair(address)[1] > 0


@pytest.mark.parametrize(
    "text", ["", "/p2p/x/y", "ip4/1.2.3.4/tcp/1/p2p/x", "/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/tcp/1/p2p/"]
)
def test_an_address_without_a_peer_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError):
        split_peer(text)


@pytest.mark.parametrize("text", ["", "/ip4/0.0.0.0", "/ip4/0.0.0.0/udp/1", "/dns4/x/tcp/1", "/ip4/0.0.0.0/tcp/x"])
async def test_only_tcp_addresses_are_listened_on(text: str) -> None:
    with pytest.raises(UsageError):
        async with network(1, listen=[text]):
            pass
