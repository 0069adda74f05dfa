"""Dialling: the peers that are wanted are dialled again for ever, with backoff. Knows addresses and time, no protocol.

A lost peer is dialled after `retry_first` seconds, the wait doubling up to `retry_quick` while the peer is away for
minutes and to `retry_last` after that, each drawn between half and the whole of it. When any wanted peer comes back,
the waits of all others end: what brings one back, the end of a partition or of a sleep, usually brings back the rest.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from p2pwf.core.ids import PeerId
from p2pwf.errors import TryAgain
from p2pwf.net.counters import Counters
from p2pwf.net.types import Timing

MAX_ADDRESSES = 16
"""Addresses tried of one peer; more than a machine has, and they come from peers."""
MAX_FOUND = 256
"""Peers discovered; what is heard on a network is anybody's word, so the oldest make room."""
MAX_DIALS = 32
"""Dials at one time."""
STAGGER = 0.15
"""Seconds of a head start that each address has over the next (the idea of RFC 8305)."""

Dial = Callable[[PeerId, str], Awaitable[None]]


class Dialler:
    """Dials on request, and keeps the wanted peers connected. `dial` makes one attempt at one address or raises."""

    def __init__(
        self,
        own: PeerId,
        *,
        timing: Timing,
        counters: Counters,
        dial: Dial,
        is_connected: Callable[[PeerId], bool],
        wait_lost: Callable[[PeerId], Awaitable[None]],
    ) -> None:
        self._own = own
        self._timing = timing
        self._counters = counters
        self._dial = dial
        self._is_connected = is_connected
        self._wait_lost = wait_lost
        self._came_up: set[PeerId] = set()
        self._wanted: dict[PeerId, tuple[str, ...]] = {}
        self._found: OrderedDict[PeerId, tuple[str, ...]] = OrderedDict()
        self._scopes: dict[PeerId, trio.CancelScope] = {}
        self._limit = trio.CapacityLimiter(MAX_DIALS)
        self._wake = trio.Event()
        self._news = trio.Event()

    def want(self, addresses: Mapping[PeerId, Sequence[str]]) -> None:
        """The peers to keep connected, with the addresses to try in this order; replaces what was wanted before."""
        self._wanted = {
            peer: tuple(dict.fromkeys(known))[:MAX_ADDRESSES] for peer, known in addresses.items() if peer != self._own
        }
        self._news.set()

    def found(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Remember addresses at which a peer was discovered; they are tried after those it is wanted with."""
        self._found[peer] = tuple(addresses)
        self._found.move_to_end(peer)
        if len(self._found) > MAX_FOUND:
            self._found.popitem(last=False)

    def addresses(self, peer: PeerId) -> tuple[str, ...]:
        """The addresses known of a peer, in the order to try them."""
        known = (*self._wanted.get(peer, ()), *self._found.get(peer, ()))
        return tuple(dict.fromkeys(known))[:MAX_ADDRESSES]

    def came_up(self, peer: PeerId) -> None:
        """Note that a link with `peer` stands: what was wrong with it is over, and maybe with others too."""
        if peer in self._wanted:
            self._came_up.add(peer)
        self._wake.set()
        self._wake = trio.Event()

    async def run(self) -> None:
        """Keep the wanted peers connected, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                for peer in [peer for peer in self._scopes if peer not in self._wanted]:
                    self._scopes.pop(peer).cancel()
                for peer in self._wanted:
                    if peer not in self._scopes:
                        self._scopes[peer] = trio.CancelScope()
                        nursery.start_soon(self._keep, peer, self._scopes[peer])
                await self._news.wait()

    async def connect(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Connect to `peer` by the first address that answers; raises TryAgain when none does in time."""
        if not addresses:
            raise TryAgain(f"no address of {peer} is known")
        failures: list[str] = []
        with trio.move_on_after(self._timing.dial):
            async with self._limit:
                if await self._race(peer, addresses[:MAX_ADDRESSES], failures):
                    return
        self._counters.count("dial_failed")
        why = failures[0] if failures else f"no answer within {self._timing.dial:g} s"
        raise TryAgain(f"cannot connect to {peer}: {why}")

    async def _race(self, peer: PeerId, addresses: Sequence[str], failures: list[str]) -> bool:
        connected = False
        async with trio.open_nursery() as nursery:

            async def attempt(address: str, failed: trio.Event) -> None:
                nonlocal connected
                try:
                    await self._dial(peer, address)
                except Exception as error:  # noqa: BLE001 - kept for the message; each layer below raises its own kinds
                    failures.append(f"{address}: {error}")
                    failed.set()
                else:
                    connected = True
                    nursery.cancel_scope.cancel()

            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(STAGGER):
                    await failed.wait()
        return connected

    async def _keep(self, peer: PeerId, scope: trio.CancelScope) -> None:
        with scope:
            lost_at = trio.current_time()
            delay = 0.0
            while True:
                await self._wait_lost(peer)  # returns at once if there is no connection
                if peer in self._came_up:
                    self._came_up.discard(peer)
                    lost_at, delay = trio.current_time(), self._timing.retry_first
                jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing
                with trio.move_on_after(delay * jitter) as waited:
                    await self._wake.wait()
                if self._is_connected(peer):
                    continue
                try:
                    await self.connect(peer, self.addresses(peer))
                except TryAgain:
                    self._counters.count("redial_failed")
                away = trio.current_time() - lost_at
                longest = self._timing.retry_quick if away < self._timing.retry_patience else self._timing.retry_last
                woken = not waited.cancelled_caught
                delay = self._timing.retry_first if woken or not delay else min(2 * delay, longest)
