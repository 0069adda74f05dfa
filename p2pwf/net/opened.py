"""The network of one node for the time of a block: its host, its network on it, and how both end.

async with open_network(config, seed, gate) as net:
    net.want_peers({peer: [address, …]})
    async for event in net.events: …
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from p2pwf.core.ids import PeerId
from p2pwf.errors import InternalError
from p2pwf.net.conduct import Conduct
from p2pwf.net.counters import Counters
from p2pwf.net.gossip import GossipQueue
from p2pwf.net.host import run_host
from p2pwf.net.network import Network
from p2pwf.net.types import Gate, NetConfig


@asynccontextmanager
async def open_network(
    config: NetConfig,
    seed: bytes,
    gate: Gate,
    *,
    accept_gossip: Callable[[PeerId, bytes], bool] | None = None,
) -> AsyncIterator[Network]:
    """The network of one node, with the Ed25519 key of `seed` (32 bytes), for the time of the block.

    `accept_gossip(author, data)` may refuse a gossip message before it is passed on to others. The block is left by
    InternalError if the host dies, so that the node can open another. Raises TryAgain if an address to listen on is
    taken, UsageError if one is none.
    """
    counters = Counters()
    conduct = Conduct(config.timing.ban, counters, gate.is_member)
    gossip = GossipQueue(counters)
    failure: Exception | None = None
    try:
        async with (
            run_host(
                config,
                seed,
                gate=gate,
                counters=counters,
                conduct=conduct,
                deliver=gossip.put,
                accept=accept_gossip,
            ) as host,
            trio.open_nursery() as nursery,
        ):
            net = Network(
                config, gate=gate, counters=counters, conduct=conduct, gossip=gossip, host=host, nursery=nursery
            )
            nursery.start_soon(net.run)
            try:
                yield net
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the nurseries that would wrap it
                failure = error
            finally:
                net.close()
                nursery.cancel_scope.cancel()
    except ExceptionGroup as errors:
        raise InternalError(f"the network host ended: {_first_of(errors)!r}", "the node opens another one") from errors
    if failure is not None:
        raise failure


def _first_of(errors: ExceptionGroup[Exception]) -> Exception:
    first = errors.exceptions[0]
    return _first_of(first) if isinstance(first, ExceptionGroup) else first
