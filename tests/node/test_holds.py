"""What a node keeps for others: on real stores and real hosts, within the shares of its quota."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.outputs import Named
from p2pwf.net.network import Network
from p2pwf.node.facts import PIN_MS
from p2pwf.node.holds import UNNAMED_MS, Holds, owner_of
from p2pwf.node.loop import wall_ms
from p2pwf.runner.pack import pack
from p2pwf.store.blobs import BlobStore
from tests.net.kit import networks

QUOTA = 800_000


@asynccontextmanager
async def pair(tmp_path: Path) -> AsyncIterator[tuple[BlobStore, Network, Holds, BlobStore]]:
    """The store of who asks, its host, and what another node holds, in which store."""
    theirs, mine = BlobStore(tmp_path / "theirs", QUOTA * 10), BlobStore(tmp_path / "mine", QUOTA)
    async with networks(1, 2) as (asker, holder):

        async def fetch(cid: Cid, peers: object) -> None:
            await holder.fetch_blob(cid, [asker.peer_id], mine)

        holds = Holds(mine, QUOTA, fetch)
        asker.serve_blobs(theirs)
        holder.serve_hold(holds.take)
        asked = partial(asker.ask_to_hold, holder.peer_id)
        asker.held_by_other = asked  # type: ignore[attr-defined]
        yield theirs, asker, holds, mine
    theirs.close()
    mine.close()


async def ask(asker: Network, cids: list[Cid]) -> set[Cid]:
    found: set[Cid] = await asker.held_by_other(cids)  # type: ignore[attr-defined]
    return found


def lasts(store: BlobStore, cid: Cid, ms: int) -> bool:
    """Whether a blob would still be there so many ms from now, were there no room for what nobody pins."""
    store.collect(wall_ms() + ms)
    return store.has(cid)


async def test_a_member_gets_its_share_and_no_more(tmp_path: Path) -> None:
    async with pair(tmp_path) as (theirs, asker, holds, mine):
        cids = [theirs.put_bytes(bytes([number]) * 30_000) for number in range(5)]
        held = await ask(asker, cids)
        assert held == set(cids[:3])
        assert mine.pinned_bytes(owner_of(asker.peer_id)) == 90_000
        assert holds.counts["refused"] == 2
        small = [theirs.put_bytes(b"%d" % number) for number in range(10)]
        assert len(await ask(asker, small)) == 2  # each takes a block of the disk


async def test_all_members_together_get_half(tmp_path: Path) -> None:
    async with pair(tmp_path) as (theirs, asker, _, mine):
        for number in range(10):
            cid = mine.put_bytes(bytes([number]) * 39_000)
            mine.pin(cid, owner_of(PeerId(f"other{number}")), wall_ms() + PIN_MS)
        cids = [theirs.put_bytes(bytes([100 + number]) * 9_000) for number in range(3)]
        assert await ask(asker, cids) == set(cids[:1])


async def test_what_no_outcome_names_goes_soon_and_what_one_names_stays(tmp_path: Path) -> None:
    async with pair(tmp_path) as (theirs, asker, holds, mine):
        folder = tmp_path / "artifact"
        folder.mkdir()
        (folder / "file").write_text("inside")
        stored = await trio.to_thread.run_sync(pack, folder, None, theirs)
        inside = theirs.put_bytes(b"inside")
        log, other = theirs.put_bytes(b"a log"), theirs.put_bytes(b"whatever")
        assert await ask(asker, [log, other, stored.link, inside]) == {log, other, stored.link, inside}
        holds.named(Named(PeerId("somebody else"), (other,), ()))
        holds.named(Named(asker.peer_id, (log,), (stored.link,)))
        holds.close()
        await holds.keep()
        ends = {cid: lasts(mine, cid, UNNAMED_MS * 30) for cid in (log, other, stored.link, inside)}
        assert ends == {log: True, other: False, stored.link: True, inside: True}
        assert not lasts(mine, log, PIN_MS + UNNAMED_MS)
