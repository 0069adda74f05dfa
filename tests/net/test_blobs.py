"""Blobs over real hosts; the store is one in memory, so that what is on disk can be seen and spoilt."""

from __future__ import annotations

import random

import pytest
import trio

from p2pwf.core.ids import Cid, blob_cid
from p2pwf.errors import NotFound, TryAgain
from p2pwf.net.blobs import CHUNK, DISK_BATCH
from p2pwf.store.blobs import BlobStore
from tests.net.kit import AsyncHosts, MemoryBlobs, MemoryPartial, count, networks, peer

BIG = random.Random(1).randbytes(5 * CHUNK + 17)


@pytest.mark.parametrize("size", [0, 1, DISK_BATCH, CHUNK, CHUNK + 1, len(BIG)])
async def test_a_blob_arrives_whole(size: int) -> None:
    content = BIG[:size]
    async with networks(1, 2) as (net, other):
        net.serve_blobs(MemoryBlobs(content))
        mine = MemoryBlobs()
        await other.fetch_blob(blob_cid(content), [net.peer_id], mine)
        assert mine.blobs == {blob_cid(content): content}


async def test_the_real_store_serves_and_keeps_a_blob(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    theirs, mine = BlobStore(folder / "a", 1 << 30), BlobStore(folder / "b", 1 << 30)
    cid = theirs.put_bytes(BIG)
    async with networks(1, 2) as (net, other):
        net.serve_blobs(theirs)
        await other.fetch_blob(cid, [net.peer_id], mine)
    assert mine.read_range(cid, 0, len(BIG)) == BIG
    theirs.close()
    mine.close()


async def test_a_download_goes_on_where_it_stopped() -> None:
    async with networks(1, 2) as (net, other):
        net.serve_blobs(MemoryBlobs(BIG))
        mine = MemoryBlobs()
        mine.partial(blob_cid(BIG)).append(BIG[: 4 * CHUNK])
        await other.fetch_blob(blob_cid(BIG), [net.peer_id], mine)
        assert mine.blobs[blob_cid(BIG)] == BIG
        assert count(net, "blob_bytes_sent") == len(BIG) - 4 * CHUNK


async def test_what_came_before_a_break_is_kept() -> None:
    class Breaking(MemoryBlobs):
        def read_range(self, cid: Cid, offset: int, length: int) -> bytes:
            if offset >= 2 * CHUNK:
                raise NotFound("removed meanwhile")
            return super().read_range(cid, offset, length)

    async with networks(1, 2) as (net, other):
        net.serve_blobs(Breaking(BIG))
        mine = MemoryBlobs()
        with pytest.raises(TryAgain):
            await other.fetch_blob(blob_cid(BIG), [net.peer_id], mine)
        assert mine.partials[blob_cid(BIG)] == BIG[: 2 * CHUNK]
        net.serve_blobs(MemoryBlobs(BIG))
        await other.fetch_blob(blob_cid(BIG), [net.peer_id], mine)
        assert mine.blobs[blob_cid(BIG)] == BIG


async def test_wrong_bytes_are_not_kept_and_the_next_peer_is_asked() -> None:
    cid = blob_cid(BIG)
    lying = MemoryBlobs()
    lying.blobs[cid] = b"\1" + BIG[1:]
    async with networks(1, 2, 3) as (me, liar, honest):
        liar.serve_blobs(lying)
        honest.serve_blobs(MemoryBlobs(BIG))
        mine = MemoryBlobs()
        with pytest.raises(TryAgain):
            await me.fetch_blob(cid, [liar.peer_id], mine)
        assert mine.blobs == {}
        assert not mine.partials
        await me.fetch_blob(cid, [liar.peer_id, honest.peer_id], mine)
        assert mine.blobs == {cid: BIG}
        assert count(me, "strike_blob") == 2


async def test_a_blob_that_nobody_has_is_not_found() -> None:
    async with networks(1, 2, 3) as (me, one, two):
        one.serve_blobs(MemoryBlobs())
        with pytest.raises(NotFound, match="no peer that was asked"):
            await me.fetch_blob(blob_cid(b"x"), [one.peer_id, two.peer_id], MemoryBlobs())
        with pytest.raises(TryAgain, match="no peer could be reached"):
            await one.fetch_blob(blob_cid(b"x"), [], MemoryBlobs())


async def test_many_small_blobs_share_a_few_streams() -> None:
    contents = [b"%d" % number for number in range(200)]
    async with networks(1, 2) as (net, other):
        net.serve_blobs(MemoryBlobs(*contents))
        mine = MemoryBlobs()
        opened = 0
        open_to = other._blobs._requests._open

        async def counted(who: object, protocol: str) -> object:
            nonlocal opened
            opened += 1
            return await open_to(who, protocol)  # type: ignore[arg-type]

        other._blobs._requests._open = counted  # type: ignore[assignment]
        async with trio.open_nursery() as nursery:
            for content in contents:
                nursery.start_soon(other.fetch_blob, blob_cid(content), [net.peer_id], mine)
        assert len(mine.blobs) == 200
        assert opened <= 8
        assert count(net, "stream_refused") == 0


async def test_two_that_want_one_blob_share_the_download() -> None:
    async with networks(1, 2) as (net, other):
        net.serve_blobs(MemoryBlobs(BIG))
        mine = MemoryBlobs()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(other.fetch_blob, blob_cid(BIG), [net.peer_id], mine)
        assert count(net, "blob_bytes_sent") == len(BIG)


async def test_a_blob_comes_through_a_member_that_knows_both() -> None:
    async with networks(1, 2, 3) as (hub, source, asker):
        source.serve_blobs(MemoryBlobs(BIG))
        mine = MemoryBlobs()
        await asker.fetch_blob(blob_cid(BIG), [source.peer_id], mine)
        assert mine.blobs[blob_cid(BIG)] == BIG
        assert count(hub, "blob_bytes_relayed") == len(BIG)


async def test_a_relayed_request_for_nothing_says_so() -> None:
    async with networks(1, 2, 3) as (hub, source, asker):
        source.serve_blobs(MemoryBlobs())
        with pytest.raises(NotFound):
            await asker.fetch_blob(blob_cid(b"x"), [source.peer_id], MemoryBlobs())
        with pytest.raises(TryAgain, match="unreachable"):
            await asker.fetch_blob(blob_cid(b"x"), [peer(9)], MemoryBlobs())
        assert count(hub, "blob_relay_refused") == 1


async def test_a_peer_that_is_wanted_but_not_connected_is_dialled_for_a_blob() -> None:
    async with AsyncHosts() as hosts:
        source, asker = await hosts.open(1), await hosts.open(2)
        source.serve_blobs(MemoryBlobs(b"blob"))
        asker._dialler._wanted = {source.peer_id: tuple(source.addresses())}
        mine = MemoryBlobs()
        await asker.fetch_blob(blob_cid(b"blob"), [source.peer_id], mine)
        assert mine.blobs


async def test_a_peer_holds_what_it_is_asked_to_by_fetching_it_from_the_asker() -> None:
    contents = [BIG, b"two", b"three"]
    async with networks(1, 2) as (net, other):
        held = MemoryBlobs()
        net.serve_blobs(MemoryBlobs(*contents[:2]))

        async def hold(asker: str, cids: tuple[Cid, ...]) -> set[Cid]:
            assert asker == net.peer_id
            kept = set()
            for cid in cids:
                try:
                    await other.fetch_blob(cid, [net.peer_id], held)
                    kept.add(cid)
                except NotFound:
                    continue
            return kept

        other.serve_hold(hold)
        cids = [blob_cid(content) for content in contents]
        assert await net.ask_to_hold(other.peer_id, cids) == set(cids[:2])
        assert held.blobs == {blob_cid(content): content for content in contents[:2]}


async def test_a_peer_without_a_handler_holds_nothing() -> None:
    async with networks(1, 2) as (net, other):
        assert await net.ask_to_hold(other.peer_id, [blob_cid(b"x")]) == set()
        with pytest.raises(TryAgain, match="not connected"):
            await net.ask_to_hold(peer(9), [blob_cid(b"x")])


async def test_t28_a_source_that_sends_without_end_is_cut_at_the_size_it_named() -> None:
    from p2pwf.net.requests import encode_message
    from p2pwf.net.stream import WireStream

    async def babble(stream: WireStream) -> None:
        await stream.read_frame(1 << 16)
        await stream.write_frame(encode_message({"offset": 0, "size": 3, "status": "ok"}))
        while True:
            await stream.write(b"abc" * 10_000)

    async with networks(1, 2) as (me, source):
        source._host.door.serve("/p2pwf/blob/1.0.0", babble)
        mine = MemoryBlobs()
        await me.fetch_blob(blob_cid(b"abc"), [source.peer_id], mine)
        assert mine.blobs == {blob_cid(b"abc"): b"abc"}
        with pytest.raises(TryAgain):  # the rest of the babble is no answer to the next request
            await me.fetch_blob(blob_cid(b"xyz"), [source.peer_id], mine)


async def test_t28_without_the_size_everything_that_comes_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: a reader that goes on to the end of the stream."""
    from p2pwf.net.blobs import Blobs
    from p2pwf.net.requests import encode_message
    from p2pwf.net.stream import WireStream
    from p2pwf.net.types import PartialBlob

    async def babble(stream: WireStream) -> None:
        await stream.read_frame(1 << 16)
        await stream.write_frame(encode_message({"offset": 0, "size": 3, "status": "ok"}))
        await stream.write(b"abc" * 10_000)

    taken = bytearray()

    async def to_the_end(_self: Blobs, stream: WireStream, _partial: PartialBlob, _left: int) -> None:
        while data := await stream.read_some():
            taken.extend(data)

    monkeypatch.setattr(Blobs, "_receive", to_the_end)
    async with networks(1, 2) as (me, source):
        source._host.door.serve("/p2pwf/blob/1.0.0", babble)
        with pytest.raises(TryAgain):
            await me.fetch_blob(blob_cid(b"abc"), [source.peer_id], MemoryBlobs())
    assert len(taken) == 30_000


async def test_a_slow_disk_does_not_break_the_transfer() -> None:
    class Slow(MemoryPartial):
        def append(self, chunk: bytes) -> None:
            import time

            time.sleep(0.05)  # a thread that waits for its disk
            super().append(chunk)

    class SlowBlobs(MemoryBlobs):
        def partial(self, cid: Cid) -> MemoryPartial:
            return Slow(self, cid)

    async with networks(1, 2) as (net, other):
        net.serve_blobs(MemoryBlobs(BIG))
        mine = SlowBlobs()
        await other.fetch_blob(blob_cid(BIG), [net.peer_id], mine)
        assert mine.blobs[blob_cid(BIG)] == BIG
