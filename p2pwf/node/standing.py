"""Whether this node is a member still: how former members are told, and how this node learns that it is one.

Nothing is believed because a peer says so. Who was removed is given the events up to the cut, all of which it may have
as a member of then, and they have to pass the clock like any others; the roster that follows decides. So a peer that
lies can talk nobody out of a network. See protocols/join.md.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Final

import structlog
import trio

from p2pwf.clock.messages import Events, Hello, MessageError, decode_message, encode_message
from p2pwf.clock.sync import frontier, lacking
from p2pwf.core.events import SignedBlock
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine import Engine
from p2pwf.engine.desk import chunks
from p2pwf.engine.inputs import Frame
from p2pwf.errors import P2pwfError, Refused, RemoteError
from p2pwf.net.joins import PENDING
from p2pwf.net.network import Network
from p2pwf.net.types import JoinRequest
from p2pwf.node.loop import EngineLoop
from p2pwf.store.events import EventStore

ASK_EVERY: Final = 5.0
"""Seconds between two questions to one peer, and between two answers to one former member: each walks the clock."""
READ: Final = 256
"""Events read from the store at a time."""

log = structlog.get_logger()


def is_removed(engine: Engine) -> bool:
    """Whether this node was a member and is none any more."""
    return was_member(engine) and not engine.desk.roster.holds(engine.desk.me, None)


def was_member(engine: Engine) -> bool:
    """Whether this node is a member by what it knows, or ever was one: its roster is what it goes by then."""
    desk = engine.desk
    return desk.roster.holds(desk.me, None) or bool(desk.roster.cuts.get(desk.me))


def removal(engine: Engine) -> Refused:
    """What a removed node answers whoever wants it to act."""
    me = engine.desk.me
    return Refused(
        "this node was removed from its network",
        f"what it has can be read; an admin lets it in again with `p2pwf peer add {me}`",
    )


def require_member(engine: Engine) -> None:
    """Raise Refused if this node was removed, or may not write."""
    if is_removed(engine):
        raise removal(engine)
    if engine.desk.frozen is not None:
        raise Refused(engine.desk.frozen, "see `p2pwf status`")


def cuts_of(engine: Engine, peer: PeerId) -> tuple[Cid, ...]:
    """The cuts of a peer that took effect, oldest first."""
    cuts = engine.desk.roster.cuts.get(peer, ())
    return tuple(event.cid for event in sorted((cut.event for cut in cuts), key=lambda event: event.order))


def told(engine: Engine, peer: PeerId, hello: Hello) -> list[Cid]:
    """What a former member lacks of its cuts and all that is below them, in topological order."""
    dag = engine.desk.clock.dag
    pasts = [dag.past(cid) for cid in cuts_of(engine, peer)]
    return [node.cid for node in lacking(dag, hello.frontier, lambda node: any(node in past for past in pasts))]


class Standing:
    """One node's questions and answers about membership. `request_for` makes the question to a peer."""

    def __init__(
        self,
        engine: Engine,
        loop: EngineLoop,
        store: EventStore,
        *,
        nursery: trio.Nursery,
        request_for: Callable[[PeerId], JoinRequest],
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._store = store
        self._nursery = nursery
        self._request_for = request_for
        self._asked: dict[PeerId, float] = {}
        self._answered: dict[PeerId, float] = {}
        self._told = False

    # -- asking -------------------------------------------------------------------------------------------------

    def unlinked(self, net: Network, peer: PeerId) -> None:
        """A member that is connected keeps no clock stream with this node: ask it why, now and then."""
        if _due(self._asked, peer):
            self._nursery.start_soon(self._ask, net, peer)

    async def _ask(self, net: Network, peer: PeerId) -> None:
        desk = self._engine.desk
        dag = desk.clock.dag
        hello = Hello(desk.network, desk.config.boot, dag.digest(), frontier(dag), False, desk.config.version)

        async def take(frame: bytes) -> None:
            await self._loop.put(Frame(peer, frame))

        try:
            reply = await net.ask_standing(peer, self._request_for(peer), encode_message(hello), take)
        except P2pwfError as error:
            log.debug("not told where this node stands", peer=peer, error=error.message)
            return
        if reply.status == PENDING and not self._told:  # a node that was restored as a new peer
            self._told = True
            log.info("waiting to be admitted", hint=f"ask an admin to run `p2pwf peer add {desk.me}`")
        log.debug("where this node stands", peer=peer, status=reply.status, reason=reply.reason)

    # -- answering ----------------------------------------------------------------------------------------------

    async def past(self, peer: PeerId, data: bytes) -> AsyncGenerator[bytes, None]:
        """Clock frames that bring a former member up to the cuts that ended its membership."""
        try:
            hello = decode_message(data)
        except MessageError as error:
            raise RemoteError(f"not a hello: {error}") from error
        if not isinstance(hello, Hello) or hello.network != self._engine.desk.network:
            raise RemoteError("not a hello of this network")
        if not cuts_of(self._engine, peer) or not _due(self._answered, peer):
            return
        async for frame in self.frames(told(self._engine, peer, hello)):
            yield frame

    async def frames(self, cids: list[Cid]) -> AsyncGenerator[bytes, None]:
        """Stored events as clock frames, in this order."""
        for start in range(0, len(cids), READ):
            found = await trio.to_thread.run_sync(self._store.get, cids[start : start + READ])
            whole = [event for event in found if event is not None and not event.pruned]
            blocks = [SignedBlock(event.block, event.signature) for event in whole]
            for chunk in chunks(blocks):
                yield encode_message(Events(chunk))

    async def farewell(self, peer: PeerId) -> list[bytes]:
        """The clock frames that tell a connected peer of its cuts; it has nearly all that is below them."""
        return [frame async for frame in self.frames(list(cuts_of(self._engine, peer)))]


def _due(last: dict[PeerId, float], peer: PeerId) -> bool:
    """Whether ASK_EVERY seconds have passed since something was last done for a peer; then it is done now."""
    now = trio.current_time()
    for old in [each for each, when in last.items() if now - when >= ASK_EVERY]:
        del last[old]
    if peer in last:
        return False
    last[peer] = now
    return True
