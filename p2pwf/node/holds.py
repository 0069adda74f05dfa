"""What this node keeps for other members, so that what their jobs leave has a second copy. Knows blobs and the reach.

A peer asks for a job's log, report, artifacts and caches to be held before it says in the clock how the job ended. So
what is asked for is held for a while, and stays once an outcome that this peer recorded names it. Each member has a
share of the quota, and all of them together half of it: nobody can fill another's disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
import trio

from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.outputs import Named
from p2pwf.errors import P2pwfError
from p2pwf.node.facts import PIN_MS
from p2pwf.node.loop import wall_ms
from p2pwf.runner.manifest import MAX_MANIFEST, blobs_of, parse
from p2pwf.store.blobindex import SMALLEST
from p2pwf.store.blobs import BlobStore

UNNAMED_MS: Final = 3600 * 1000
"""How long what was asked for stays if no outcome names it: a job's last words take seconds, a partition longer."""
SHARE: Final = 8
"""Of the quota, what one member may have held here: an eighth."""
ALL_SHARES: Final = 2
"""And all members together: a half."""
WAITING: Final = 1024
"""Outcomes whose blobs are yet to be told to stay; one that finds no room is dropped, and counted."""

log = structlog.get_logger()

Fetch = Callable[[Cid, Sequence[PeerId]], Awaitable[None]]


def owner_of(peer: PeerId) -> str:
    """The owner of the pins that are made for a member."""
    return f"held for {peer}"


class Holds:
    """`refused` and `dropped` count blobs not taken, and outcomes whose blobs were not told to stay."""

    def __init__(self, blobs: BlobStore, quota: int, fetch: Fetch) -> None:
        self._blobs = blobs
        self._quota = quota
        self._fetch = fetch
        self._send, self._named = trio.open_memory_channel[Named](WAITING)
        self._turns: dict[PeerId, trio.Lock] = {}
        self.counts: Counter[str] = Counter()

    async def take(self, peer: PeerId, cids: Sequence[Cid]) -> list[Cid]:
        """Fetch blobs from `peer` and keep them, as far as its share goes; those that are kept."""
        async with self._turns.setdefault(peer, trio.Lock()):  # what is under way counts
            held = []
            for cid in cids:
                try:
                    if await trio.to_thread.run_sync(self._has_room, peer, cid):
                        await self._fetch(cid, [peer])
                        if await trio.to_thread.run_sync(self._pin, peer, cid):
                            held.append(cid)
                            continue
                except P2pwfError as error:
                    log.info("blob not taken over", peer=peer, error=error.message)
                    continue
                self.counts["refused"] += 1
            return held

    def _has_room(self, peer: PeerId, cid: Cid) -> bool:
        """Whether one more blob, of its size where it is here already, is within the shares."""
        size = max(self._blobs.size(cid) or 0, SMALLEST)
        mine = self._blobs.pinned_bytes(owner_of(peer))
        every = self._blobs.pinned_bytes(owner_of(PeerId("")), prefix=True)
        return mine + size <= self._quota // SHARE and every + size <= self._quota // ALL_SHARES

    def _pin(self, peer: PeerId, cid: Cid) -> bool:
        if not self._has_room(peer, cid):
            return False  # its size was not known before; it stays as cache, for as long as there is room
        self._blobs.pin(cid, owner_of(peer), wall_ms() + UNNAMED_MS)
        return True

    def named(self, outcome: Named) -> None:
        """A peer has recorded an outcome that names blobs."""
        try:
            self._send.send_nowait(outcome)
        except trio.WouldBlock:
            self.counts["dropped"] += 1

    async def keep(self) -> None:
        """Until `close`, let what is named stay for as long as a run's blobs do."""
        async for outcome in self._named:
            try:
                await trio.to_thread.run_sync(self._extend, outcome)
            except P2pwfError as error:
                log.warning("held blobs may go early", peer=outcome.author, error=error.message)

    def close(self) -> None:
        """Nothing more will be named: `keep` ends once it is through."""
        self._send.close()

    def _extend(self, outcome: Named) -> None:
        every = dict.fromkeys((*outcome.blobs, *outcome.manifests))
        for manifest in dict.fromkeys(outcome.manifests):
            if (self._blobs.size(manifest) or MAX_MANIFEST + 1) <= MAX_MANIFEST:
                every.update(dict.fromkeys(blobs_of(parse(self._blobs.path(manifest).read_bytes()))))
        self._blobs.extend_pins(every, owner_of(outcome.author), wall_ms() + PIN_MS)
