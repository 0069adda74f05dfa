"""The addresses that a host tells others. Knows interfaces and multiaddr texts, nothing of libp2p.

What listens on every interface is told with each interface's address. Loopback and the bridges of container engines
are told only if there is nothing else: to another machine they are itself. `--announce` replaces all of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import ifaddr

from p2pwf.core.ids import PeerId
from p2pwf.errors import UsageError

BRIDGES = (
    "docker",
    "br-",
    "veth",
    "virbr",
    "cni",
    "podman",
    "lxc",
    "lxd",
    "flannel",
    "cali",
    "vmnet",
    "vboxnet",
    "kube",
)
"""How the interfaces of container engines and virtual machines are called."""
MAX_ANNOUNCED = 16
MAX_NAME = 253
"""Characters of a DNS name (RFC 1035)."""

Interfaces = Callable[[], Sequence[tuple[str, str]]]


def local_interfaces() -> list[tuple[str, str]]:
    """(name, address) of every address of this machine but link-local ones, which say nothing without a scope."""
    found: list[tuple[str, str]] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = str(ip.ip) if ip.is_IPv4 else str(ip.ip[0])
            if not ipaddress.ip_address(text).is_link_local:
                found.append((adapter.name, text))
    return found


def announced(
    listening: Iterable[str], announce: Sequence[str], peer: PeerId, interfaces: Interfaces = local_interfaces
) -> list[str]:
    """The addresses of `peer`, each ending in `/p2p/<peer>`, best first.

    `listening` are the bound addresses as multiaddr texts, `announce` those of the user, which replace them.
    """
    bare = [_bare(text) for text in announce] if announce else _reachable(listening, interfaces)
    return [f"{address}/p2p/{peer}" for address in dict.fromkeys(bare)][:MAX_ANNOUNCED]


def split_peer(text: str) -> tuple[str, PeerId]:
    """A multiaddr text with a peer id as (address, peer id); raises UsageError if it names no peer."""
    address, found, peer = text.partition("/p2p/")
    if not found or not address.startswith("/") or "/" in peer or not peer:
        raise UsageError(
            f"not an address of a peer: {text[:120]!r}", "it looks like /ip4/192.0.2.1/tcp/4070/p2p/12D3KooW…"
        )
    return address, PeerId(peer)


def listen_pair(text: str) -> tuple[str, int]:
    """(address, port) of `/ip4/A/tcp/P` or `/ip6/A/tcp/P`; raises UsageError for other multiaddrs."""
    parts = text.split("/")
    if len(parts) == 5 and not parts[0] and parts[3] == "tcp" and parts[4].isdecimal() and int(parts[4]) < 1 << 16:
        with suppress(ValueError):
            if f"ip{ipaddress.ip_address(parts[2]).version}" == parts[1]:
                return parts[2], int(parts[4])
    raise UsageError(f"not an address for TCP: {text[:80]!r}", "it looks like /ip4/0.0.0.0/tcp/4070")


def dial_pair(text: str) -> tuple[str, int]:
    """(address or name, port) of an address to dial: as `listen_pair`, or `/dns/N/tcp/P`, `/dns4/…`, `/dns6/…`."""
    parts = text.split("/")
    if len(parts) == 5 and parts[1] in {"dns", "dns4", "dns6"} and 0 < len(parts[2]) <= MAX_NAME:
        _, port = listen_pair("/".join(("", "ip4", "0.0.0.0", *parts[3:])))  # noqa: S104 - only to check the rest
        return parts[2], port
    return listen_pair(text)


def _bare(text: str) -> str:
    return text.partition("/p2p/")[0].rstrip("/")


def _reachable(listening: Iterable[str], interfaces: Interfaces) -> list[str]:
    ranked: list[tuple[int, str]] = []
    for text in listening:
        _, family, host, *rest = text.split("/")
        if not ipaddress.ip_address(host).is_unspecified:
            ranked.append((_rank("", host), text))
            continue
        version = 6 if family == "ip6" else 4
        for name, address in interfaces():
            if ipaddress.ip_address(address).version == version:
                ranked.append((_rank(name, address), "/".join(("", family, address, *rest))))
    best = min((rank for rank, _ in ranked), default=0)
    useful = [pair for pair in ranked if pair[0] <= max(best, LAST_USEFUL)]
    return [text for _, text in sorted(useful, key=lambda pair: pair[0])]


LAST_USEFUL = 1


def _rank(name: str, address: str) -> int:
    """0 public, 1 private, 2 a container bridge, 3 loopback."""
    ip = ipaddress.ip_address(address)
    if ip.is_loopback:
        return 3
    if name.startswith(BRIDGES):
        return 2
    return 0 if ip.is_global else 1
