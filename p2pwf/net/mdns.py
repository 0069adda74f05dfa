"""Finding members on the local network, by multicast DNS. Knows addresses; who is a member is not its question.

A host announces the addresses that it listens on under a service name made from its gossip topic, so that networks do
not meet, and dials what it finds. Whatever is heard is a stranger's word: it is parsed with care, bounded, and a peer
found is authenticated by the dial like any other.
Source: the libp2p mDNS discovery specification, in the form for private networks.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256

import trio
from zeroconf import Error as ZeroconfError
from zeroconf import ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from p2pwf.core.ids import PeerId, public_key_of
from p2pwf.errors import P2pwfError
from p2pwf.net.addresses import listen_pair, local_interfaces, split_peer

PORT = 4070
"""Named in the SRV record, which the specification tells readers to ignore: the addresses are in the TXT record."""
MAX_ADDRESSES = 16
LOOKUP_MS = 3000
"""How long to wait for the TXT record of a service that was heard of."""

Found = Callable[[PeerId, tuple[str, ...]], None]


def service_type(topic: str) -> str:
    """The DNS-SD type of a network: a fingerprint of its topic keeps networks apart."""
    return f"_p2p-{sha256(topic.encode()).hexdigest()[:8]}._udp.local."


def parse_record(properties: Mapping[bytes, bytes | None]) -> tuple[PeerId, tuple[str, ...]] | None:
    """The peer and its addresses (without `/p2p/…`) that a TXT record names; None unless all name one peer."""
    peers: set[PeerId] = set()
    addresses: list[str] = []
    for key, value in properties.items():
        if key.startswith(b"dnsaddr") and value is not None and len(addresses) < MAX_ADDRESSES:
            try:
                address, peer = split_peer(value.decode())
                listen_pair(address)
                public_key_of(peer)
            except (P2pwfError, UnicodeDecodeError):
                continue
            peers.add(peer)
            addresses.append(address)
    return (peers.pop(), tuple(addresses)) if len(peers) == 1 else None


@asynccontextmanager
async def announced_and_watched(topic: str, addresses: list[str], found: Found) -> AsyncIterator[None]:
    """Announce `addresses` (each with `/p2p/…`), and call `found` in the trio thread for each peer heard of."""
    token = trio.lowlevel.current_trio_token()
    kind = service_type(topic)
    name = f"{secrets.token_hex(16)}.{kind}"

    def report(properties: Mapping[bytes, bytes | None]) -> None:
        record = parse_record(properties)
        if record is not None:
            token.run_sync_soon(found, *record)

    service, browser = await trio.to_thread.run_sync(partial(_start, kind, name, addresses, report))
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_stop, service, browser)


class _Watcher(ServiceListener):
    """Called by zeroconf in a thread of its own."""

    def __init__(self, own: str, report: Callable[[Mapping[bytes, bytes | None]], None]) -> None:
        self._own = own
        self._report = report

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """A service was heard of."""
        if name == self._own:
            return
        try:
            info = zc.get_service_info(type_, name, timeout=LOOKUP_MS)
        except (ZeroconfError, OSError):  # a name that is none; a machine too busy to answer in time
            return
        if info is not None:
            self._report(info.properties)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """A service changed what it says."""
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """A service said goodbye, or somebody said it in its name: its connection will tell."""


def _start(
    kind: str, name: str, addresses: list[str], report: Callable[[Mapping[bytes, bytes | None]], None]
) -> tuple[Zeroconf, ServiceBrowser]:
    zeroconf = Zeroconf()
    try:
        properties = {f"dnsaddr{number or ''}": text for number, text in enumerate(addresses[:MAX_ADDRESSES])}
        host = f"{name.partition('.')[0]}.local."
        ips = [socket.inet_aton(address) for _, address in local_interfaces() if ":" not in address]
        zeroconf.register_service(ServiceInfo(kind, name, PORT, properties=properties, server=host, addresses=ips))
        return zeroconf, ServiceBrowser(zeroconf, kind, _Watcher(name, report))
    except BaseException:
        zeroconf.close()
        raise


def _stop(zeroconf: Zeroconf, browser: ServiceBrowser) -> None:
    """End the browser first: its thread may be in a lookup, which wants the other's loop."""
    browser.cancel()
    zeroconf.close()
