"""Bases of checkpoints on this node: made of its store, held as blobs, got from peers. Decides nothing.

What a base is and what follows from one is the engine's; this gives it the events, in a thread, and keeps the bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
import trio

from p2pwf.core.events import EventError, SignedBlock
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.base import history, lamport_at, make_base, open_base, read_base, read_block
from p2pwf.engine.inputs import BaseMade, BaseRead
from p2pwf.engine.outputs import FetchBase, MakeBase
from p2pwf.errors import P2pwfError, StorageError
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import EventStore

MADE: Final = "checkpoint made"
FOLLOWED: Final = "checkpoint followed"
"""Who pins a base: each one at a time. The one that is followed is offered to peers that start."""
MAX_BASE: Final = 1 << 30
"""Bytes of a base that is read into memory: some millions of stubs."""

log = structlog.get_logger()

Fetch = Callable[[Cid, Sequence[PeerId]], Awaitable[None]]


class Bases:
    """Makes and reads bases for one node."""

    def __init__(self, store: EventStore, blobs: BlobStore, network: Cid, me: PeerId) -> None:
        self._store = store
        self._blobs = blobs
        self._network = network
        self._me = me

    async def make(self, order: MakeBase) -> BaseMade:
        """Make a base and hold it as a blob, in place of the one before."""
        try:
            return await trio.to_thread.run_sync(self._make, order)
        except (P2pwfError, EventError) as error:
            log.warning("no base of a checkpoint was made", error=str(error))
            return BaseMade(order.tips, order.before or 0, None, 0)

    def _make(self, order: MakeBase) -> BaseMade:
        blocks = (SignedBlock(event.block, event.signature) for event in self._store.load())
        found = history(blocks, self._network, order.tips)
        if found is None:
            return BaseMade(order.tips, order.before or 0, None, 0)
        clock, events = found
        before = order.before
        if before is None:
            before = max(order.least, lamport_at(events, self._me, order.horizon))
        data, stubs = make_base(clock, events, before)
        return BaseMade(order.tips, before, self._hold(data), stubs)

    def _hold(self, data: bytes) -> Cid:
        if len(data) > MAX_BASE:
            raise StorageError(f"a base of {len(data)} bytes is over {MAX_BASE}", "write checkpoints more often")
        cid = self._blobs.put_bytes(data)
        self._keep(cid, MADE)
        return cid

    def _keep(self, cid: Cid, owner: str) -> None:
        """Pin a base in place of the one before; nothing is collected as soon as it was used."""
        self._blobs.unpin_owner(owner)
        self._blobs.pin(cid, owner, None)

    async def fetch(self, order: FetchBase, get: Fetch) -> BaseRead:
        """Get a base from the peer that offers it, unless it is here, and read it; nothing is in it if that fails."""
        try:
            if order.peer is not None and not self._blobs.has(order.base):
                await get(order.base, [order.peer])
            return await trio.to_thread.run_sync(self._read, order)
        except (P2pwfError, EventError) as error:
            log.warning("the base of a checkpoint cannot be read", error=str(error))
            return BaseRead(order.checkpoint, ())

    def _read(self, order: FetchBase) -> BaseRead:
        if not self._blobs.has(order.base):
            return BaseRead(order.checkpoint, ())
        if (self._blobs.size(order.base) or 0) > MAX_BASE:
            raise StorageError(f"the base {order.base} is over {MAX_BASE} bytes", "start from another peer")
        with self._blobs.open(order.base) as file:
            data = file.read()
        if order.peer is None:  # this node has made it, or looked through it, and its hash was checked just now
            events = [read_block(signed, self._network) for signed in read_base(data) if not signed.signature]
        else:
            events = open_base(data, self._network, order.checkpoint)
        self._keep(order.base, FOLLOWED)
        return BaseRead(order.checkpoint, events)
