"""Which blobs stay: pins, the quota, least recent use, and what happens when the index is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pwf.core.ids import Cid, blob_cid
from p2pwf.errors import StorageError
from p2pwf.store.blobindex import RECOVERED_MS
from p2pwf.store.blobs import GRACE_MS, LEFTOVER_MS, BlobStore
from tests.store.kit import flip

DAY = 24 * 3600 * 1000


class Clock:
    """A wall clock that a test sets, in ms."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


def _store(root: Path, clock: Clock, quota: int = 100) -> BlobStore:
    return BlobStore(root, quota, clock=clock)


def _put(store: BlobStore, clock: Clock, letter: str, size: int = 10) -> Cid:
    clock.now += 1000
    return store.put_bytes(letter.encode() * size)


def test_within_the_quota_everything_stays(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock)
    cids = [_put(store, clock, letter) for letter in "abcdefghij"]
    assert store.collect(clock.now + DAY).blobs == 0
    assert all(map(store.has, cids))
    store.close()


def test_beyond_the_quota_the_least_recently_used_go_first(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=30)
    a, b, c, d, e = (_put(store, clock, letter) for letter in "abcde")
    clock.now += 1000
    store.read_range(a, 0, 1)
    clock.now += 1000
    store.open(c).close()
    gone = store.collect(clock.now + DAY)
    assert (gone.blobs, gone.bytes) == (2, 20)
    assert [store.has(cid) for cid in (a, b, c, d, e)] == [True, False, True, False, True]
    assert store.statistics()["bytes"] == 30
    store.close()


def test_last_uses_survive_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=10)
    a, b = _put(store, clock, "a"), _put(store, clock, "b")
    clock.now += 1000
    store.path(a)
    store.close()
    store = _store(tmp_path, clock, quota=10)
    store.collect(clock.now + DAY)
    assert (store.has(a), store.has(b)) == (True, False)
    store.close()


def test_pinned_blobs_stay_whatever_the_quota(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=0)
    kept, other = _put(store, clock, "a"), _put(store, clock, "b")
    store.pin(kept, "run-1", None)
    store.collect(clock.now + 1000 * DAY)
    assert (store.has(kept), store.has(other)) == (True, False)
    store.close()


def test_a_blob_goes_when_its_last_pin_runs_out(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock)
    blob, unpinned = _put(store, clock, "a"), _put(store, clock, "b")
    store.pin(blob, "run-1", clock.now + DAY)
    store.pin(blob, "run-2", clock.now + 2 * DAY)
    store.collect(clock.now + DAY + 1)
    assert store.has(blob)
    assert store.collect(clock.now + 2 * DAY).blobs == 1
    assert not store.has(blob)
    assert store.has(unpinned)  # a cache entry: the quota has room for it
    assert store.statistics()["pins"] == 0
    store.close()


def test_a_later_pin_of_the_same_owner_replaces_the_earlier(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock)
    blob = _put(store, clock, "a")
    store.pin(blob, "run-1", clock.now + DAY)
    store.pin(blob, "run-1", None)
    store.collect(clock.now + 9 * DAY)
    assert store.has(blob)
    store.close()


def test_unpinning_an_owner_makes_its_blobs_cache(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=0)
    a, b = _put(store, clock, "a"), _put(store, clock, "b")
    store.pin_all([a, b], "run-1", None)
    store.pin(b, "run-2", None)
    assert store.unpin_owner("run-1") == 2
    store.collect(clock.now + DAY)
    assert (store.has(a), store.has(b)) == (False, True)
    store.close()


def test_a_blob_may_be_pinned_before_it_is_held(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=0)
    store.pin(blob_cid(b"aaaaaaaaaa"), "run-1", None)
    blob = _put(store, clock, "a")
    store.collect(clock.now + DAY)
    assert store.has(blob)
    store.close()


def test_what_was_just_put_or_read_is_not_collected(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=0)
    blob = _put(store, clock, "a")
    store.pin(blob, "run-1", clock.now)
    assert store.collect(clock.now + GRACE_MS).blobs == 0
    clock.now += DAY
    assert store.put_bytes(b"a" * 10) == blob  # putting again what is held counts as a use
    assert store.collect(clock.now + GRACE_MS).blobs == 0
    assert store.collect(clock.now + GRACE_MS + 1).blobs == 1
    store.close()


def test_pins_are_kept_over_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=0)
    blob = _put(store, clock, "a")
    store.pin(blob, "run-1", None)
    store.close()
    store = _store(tmp_path, clock, quota=0)
    store.collect(clock.now + DAY)
    assert store.has(blob)
    store.close()


@pytest.mark.parametrize("loss", ["removed", "damaged", "emptied"])
def test_a_lost_index_is_made_again_and_pins_what_it_finds_for_a_while(tmp_path: Path, loss: str) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=0)
    blob = _put(store, clock, "a")
    store.pin(blob, "run-1", None)
    store.close()
    index = tmp_path / "blobs.db"
    if loss == "removed":
        index.unlink()
    elif loss == "emptied":
        index.write_bytes(b"")
    else:
        flip(index, 0, 200)
    path = next(tmp_path.glob("??/*"))
    os.utime(path, ns=(clock.now * 10**6, clock.now * 10**6))

    store = _store(tmp_path, clock, quota=0)
    statistics = store.statistics()
    assert (statistics["blobs"], statistics["bytes"], statistics["recovered_pins"]) == (1, 10, 1)
    store.collect(clock.now + RECOVERED_MS - 1)
    assert store.has(blob)
    store.collect(clock.now + RECOVERED_MS + 1)
    assert not store.has(blob)
    store.close()


def test_the_index_follows_what_was_added_and_removed_by_hand(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock)
    a, b = _put(store, clock, "a"), _put(store, clock, "b")
    store.close()
    next(path for path in tmp_path.glob("??/*") if path.name == a.text).unlink()
    stranger = blob_cid(b"copied in")
    folder = tmp_path / f"{stranger[4]:02x}"
    (folder / stranger.text).write_bytes(b"copied in")
    store = _store(tmp_path, clock)
    assert [store.has(cid) for cid in (a, b, stranger)] == [False, True, True]
    statistics = store.statistics()
    assert (statistics["blobs"], statistics["bytes"], statistics["recovered_pins"]) == (2, 19, 0)
    store.close()


def test_a_download_makes_room_among_the_cache(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=100)
    cids = [_put(store, clock, letter) for letter in "abcdefghij"]
    clock.now += DAY
    with store.partial(blob_cid(b"z" * 25)) as download:
        download.append(b"z" * 25)
        cid = download.finish()
    assert store.has(cid)
    assert not store.has(cids[0])
    assert store.has(cids[9])
    assert store.statistics()["bytes"] <= 100
    store.close()


def test_a_download_that_pinned_blobs_leave_no_room_for_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock, quota=100)
    for letter in "abcdefghij":
        store.pin(_put(store, clock, letter), "run-1", None)
    clock.now += DAY
    with store.partial(blob_cid(b"z" * 25)) as download:
        with pytest.raises(StorageError, match="quota"):
            download.append(b"z" * 25)
        assert download.offset == 0
    assert store.statistics()["blobs"] == 10
    assert _put(store, clock, "y", 25)  # what this node makes itself is stored all the same
    store.close()


def test_old_downloads_and_damaged_blobs_are_swept_away(tmp_path: Path) -> None:
    clock = Clock()
    store = _store(tmp_path, clock)
    old, running = blob_cid(b"old"), blob_cid(b"running")
    with store.partial(old) as download:
        download.append(b"ol")
    open_one = store.partial(running)
    open_one.append(b"run")
    damaged = tmp_path / "damaged" / old.text
    damaged.write_bytes(b"?")
    for path in (tmp_path / "partial" / old.text, tmp_path / "partial" / running.text, damaged):
        os.utime(path, ns=(clock.now * 10**6, clock.now * 10**6))
    store.collect(clock.now + LEFTOVER_MS)
    assert (tmp_path / "partial" / old.text).exists()
    store.collect(clock.now + LEFTOVER_MS + 1)
    assert not (tmp_path / "partial" / old.text).exists()
    assert not damaged.exists()
    assert (tmp_path / "partial" / running.text).exists()
    assert store.statistics()["partial_bytes"] == 3
    open_one.close()
    store.close()
