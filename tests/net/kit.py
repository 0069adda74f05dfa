"""Hosts for the tests of the network: real ones, on loopback, on ports that the system chooses."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import trio
from attrs import evolve

from p2pwf.core.ids import Cid, PeerId, peer_id_of
from p2pwf.net import Frame, Gate, Gossip, NetConfig, NetEvent, PeerUp, Timing
from p2pwf.net.network import Network
from p2pwf.net.opened import open_network

LIMIT = 30.0
"""Seconds after which a test that waits for an event has failed; no correct run comes near."""
QUICK = Timing(
    dial=5.0,
    stranger_idle=0.3,
    probe=10.0,
    silence=20.0,
    retry_first=0.05,
    retry_quick=0.4,
)

E = TypeVar("E")


class Members(Gate):
    """A gate that tests open and close."""

    def __init__(self, members: Iterable[PeerId] = (), *, everyone: bool = False) -> None:
        self.members = set(members)
        self.everyone = everyone

    def is_member(self, peer: PeerId) -> bool:
        return self.everyone or peer in self.members


def seed(number: int) -> bytes:
    """The key of host `number`."""
    return bytes([number]) * 32


def config(**changes: Any) -> NetConfig:
    base = NetConfig(listen=["/ip4/127.0.0.1/tcp/0"], topic="test", boot=os.urandom(16), timing=QUICK)
    return evolve(base, **changes)


@asynccontextmanager
async def network(
    number: int,
    gate: Gate | None = None,
    *,
    accept: Callable[[PeerId, bytes], bool] | None = None,
    **changes: Any,
) -> AsyncIterator[Network]:
    """The network of host `number`, for members of everyone unless a gate says otherwise."""
    gate = gate or Members(everyone=True)
    async with open_network(config(**changes), seed(number), gate, accept_gossip=accept) as net:
        yield net


@asynccontextmanager
async def networks(*numbers: int) -> AsyncIterator[list[Network]]:
    """Several hosts, each connected to the first; every link stands and its events are taken."""
    async with AsyncHosts() as hosts:
        opened = [await hosts.open(number) for number in numbers]
        for other in opened[1:]:
            await join(opened[0], other)
        yield opened


class AsyncHosts:
    """Hosts opened one by one and closed together."""

    def __init__(self) -> None:
        self._contexts: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def open(self, number: int, gate: Gate | None = None, **changes: Any) -> Network:
        context = network(number, gate, **changes)
        net = await context.__aenter__()
        self._contexts.append(context)
        return net

    async def __aexit__(self, *error: object) -> None:
        for context in reversed(self._contexts):
            await context.__aexit__(None, None, None)


async def join(first: Network, second: Network) -> None:
    """Connect two hosts and take both PeerUp events."""
    await second.dial(first.addresses()[0])
    await up(first, second.peer_id)
    await up(second, first.peer_id)


async def up(net: Network, peer: PeerId) -> None:
    while (await event(net, PeerUp)).peer != peer:
        pass


async def event(net: Network, kind: type[E]) -> E:
    """The next event of a kind; others are passed over."""
    with trio.fail_after(LIMIT):
        while True:
            got: NetEvent = await net.events.receive()
            if isinstance(got, Frame | Gossip):
                got.handled()
            if isinstance(got, kind):
                return got


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells of, such as a count."""
    with trio.fail_after(LIMIT):
        while not condition():
            await trio.sleep(0.01)


async def heard_by(net: Network, other: Network) -> None:
    """Wait until `other` knows that `net` listens to the topic."""
    await until(lambda: net._host.swarm.self_id in other._host.pubsub.peer_topics.get("test", ()))


async def still_serves(net: Network, other: Network) -> None:
    """A frame and a gossip message of an honest member still arrive."""
    assert await other.send_wait(net.peer_id, b"frame")
    assert (await event(net, Frame)).data == b"frame"
    await heard_by(net, other)
    await other.publish(b"gossip")
    assert await event(net, Gossip) == Gossip(other.peer_id, b"gossip")


def count(net: Network, name: str) -> int:
    counts = net.statistics()["counts"]
    assert isinstance(counts, dict)
    return int(counts.get(name, 0))


def connections(net: Network) -> int:
    number = net.statistics()["connections"]
    assert isinstance(number, int)
    return number


def peer(number: int) -> PeerId:
    from nacl.signing import SigningKey

    return peer_id_of(bytes(SigningKey(seed(number)).verify_key))


class MemoryBlobs:
    """Blobs in memory, for tests of the network alone."""

    def __init__(self, *contents: bytes) -> None:
        from p2pwf.core.ids import blob_cid

        self.blobs = {blob_cid(content): content for content in contents}
        self.partials: dict[Cid, bytearray] = {}

    def size(self, cid: Cid) -> int | None:
        return len(self.blobs[cid]) if cid in self.blobs else None

    def read_range(self, cid: Cid, offset: int, length: int) -> bytes:
        return self.blobs[cid][offset : offset + length]

    def partial(self, cid: Cid) -> MemoryPartial:
        return MemoryPartial(self, cid)


class MemoryPartial:
    def __init__(self, store: MemoryBlobs, cid: Cid) -> None:
        self._store = store
        self._cid = cid
        self._bytes = store.partials.setdefault(cid, bytearray())
        self.offset = len(self._bytes)

    def append(self, chunk: bytes) -> None:
        self._bytes += chunk
        self.offset = len(self._bytes)

    def finish(self) -> Cid:
        from p2pwf.core.ids import blob_cid
        from p2pwf.errors import RemoteError

        content = bytes(self._store.partials.pop(self._cid))
        if blob_cid(content) != self._cid:
            raise RemoteError("not the blob")
        self._store.blobs[self._cid] = content
        return self._cid

    def close(self) -> None:
        pass
