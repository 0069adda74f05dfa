from __future__ import annotations

import random
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pwf.core.ids import Cid, blob_cid, block_cid
from p2pwf.errors import NotFound, RemoteError, StorageError, TryAgain, UsageError
from p2pwf.store.blobs import BlobStore
from tests.store.kit import flip

QUOTA = 10**9


def _file(store_root: Path, cid: Cid) -> Path:
    found = [path for path in store_root.glob("??/*") if path.name == cid.text]
    assert len(found) == 1
    return found[0]


def _read(store: BlobStore, cid: Cid) -> bytes:
    with store.open(cid) as file:
        return file.read()


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 3_000_000])
def test_a_blob_is_held_under_the_cid_of_its_bytes(tmp_path: Path, content: bytes) -> None:
    store = BlobStore(tmp_path, QUOTA)
    cid = store.put_bytes(content)
    assert cid == blob_cid(content)
    assert store.has(cid)
    assert store.size(cid) == len(content)
    assert _read(store, cid) == content
    assert store.path(cid).read_bytes() == content
    store.close()


def test_blobs_are_there_after_reopening(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    cid = store.put_bytes(b"kept")
    store.close()
    store = BlobStore(tmp_path, QUOTA)
    assert _read(store, cid) == b"kept"
    assert store.statistics()["bytes"] == 4
    store.close()


def test_a_file_is_held_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from a file" * 1000)
    store = BlobStore(tmp_path / "blobs", QUOTA)
    assert store.put_file(tmp_path / "file") == blob_cid(b"from a file" * 1000)
    with pytest.raises(StorageError, match="absent"):
        store.put_file(tmp_path / "absent")
    store.close()


def test_a_batch_holds_all_its_blobs_and_each_content_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    held = store.put_bytes(b"2")
    with store.batch() as batch:
        cids = [batch.put_bytes(b"%d" % (number % 10)) for number in range(100)]
        assert not store.has(cids[0])
    assert cids[2] == held
    assert all(store.has(cid) for cid in cids)
    statistics = store.statistics()
    assert (statistics["blobs"], statistics["bytes"]) == (10, 10)
    store.close()


def test_a_batch_left_with_an_error_keeps_nothing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    with suppress(KeyError), store.batch() as batch:
        cid = batch.put_bytes(b"never")
        raise KeyError
    assert not store.has(cid)
    assert list((tmp_path / "tmp").iterdir()) == []
    store.close()


def test_a_writer_takes_chunks_and_keeps_nothing_without_commit(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    with store.writer() as writer:
        writer.write(b"ab")
        writer.write(b"cd")
        assert writer.size == 4
        assert writer.commit(blob_cid(b"abcd")) == blob_cid(b"abcd")
    with store.writer() as writer:
        writer.write(b"lost")
    assert store.has(blob_cid(b"abcd"))
    assert not store.has(blob_cid(b"lost"))
    assert list((tmp_path / "tmp").iterdir()) == []
    store.close()


def test_a_writer_refuses_content_that_is_not_what_was_expected(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    with store.writer() as writer:
        writer.write(b"other")
        with pytest.raises(RemoteError):
            writer.commit(blob_cid(b"asked"))
    assert not store.has(blob_cid(b"other"))
    assert not store.has(blob_cid(b"asked"))
    assert list((tmp_path / "tmp").iterdir()) == []
    store.close()


@settings(max_examples=15)  # each makes stores on the real disk
@given(cuts=st.lists(st.integers(0, 5000), max_size=6), reopen=st.booleans())
def test_a_download_in_any_pieces_over_restarts_gives_the_blob(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], reopen: bool
) -> None:
    root = tmp_path_factory.mktemp("blobs")
    content = random.Random(5).randbytes(5000)
    cid = blob_cid(content)
    store = BlobStore(root, QUOTA)
    for end in [*sorted(cuts), len(content)]:
        with store.partial(cid) as download:
            assert not store.has(cid)
            download.append(content[download.offset : end])
            assert download.offset == end
            if end == len(content):
                assert download.finish() == cid
                break
        if reopen:
            store.close()
            store = BlobStore(root, QUOTA)
            assert store.statistics()["partial_bytes"] == end
    assert _read(store, cid) == content
    assert store.statistics()["partial_bytes"] == 0
    store.close()


def test_a_truncated_download_goes_on_from_what_is_left_of_it(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    cid = blob_cid(b"0123456789")
    with store.partial(cid) as download:
        download.append(b"01234567")
    store.close()
    with (tmp_path / "partial" / cid.text).open("r+b") as file:
        file.truncate(3)
    store = BlobStore(tmp_path, QUOTA)
    with store.partial(cid) as download:
        assert download.offset == 3
        download.append(b"3456789")
        download.finish()
    assert _read(store, cid) == b"0123456789"
    store.close()


def test_a_download_damaged_on_disk_starts_anew_and_blames_nobody(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    cid = blob_cid(b"0123456789")
    with store.partial(cid) as download:
        download.append(b"01234")
    flip(tmp_path / "partial" / cid.text, 2)
    with store.partial(cid) as download:
        download.append(b"56789")
        with pytest.raises(StorageError):
            download.finish()
    assert not store.has(cid)
    with store.partial(cid) as download:
        assert download.offset == 0
    store.close()


def test_a_peer_that_sends_something_else_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    cid = blob_cid(b"asked")
    with store.partial(cid) as download:
        download.append(b"other")
        with pytest.raises(RemoteError):
            download.finish()
    assert not store.has(cid)
    assert not store.has(blob_cid(b"other"))
    assert store.statistics()["partial_bytes"] == 0
    assert list((tmp_path / "partial").iterdir()) == []
    store.close()


def test_one_download_of_a_blob_at_a_time(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    cid = blob_cid(b"asked")
    with store.partial(cid), pytest.raises(TryAgain):
        store.partial(cid)
    store.partial(cid).close()
    store.close()


def test_what_is_not_held_is_not_found(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    cid = blob_cid(b"absent")
    assert not store.has(cid)
    assert store.size(cid) is None
    with pytest.raises(NotFound):
        store.open(cid)
    with pytest.raises(NotFound):
        store.read_range(cid, 0, 1)
    with pytest.raises(NotFound):
        store.path(cid)
    with pytest.raises(UsageError):
        store.has(block_cid(b"an event"))
    store.close()


def test_ranges_are_read_from_anywhere_and_end_with_the_blob(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    cid = store.put_bytes(b"0123456789")
    assert store.read_range(cid, 0, 4) == b"0123"
    assert store.read_range(cid, 8, 4) == b"89"
    assert store.read_range(cid, 10, 4) == b""
    assert store.read_range(cid, 99, 4) == b""
    store.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "grown"])
@pytest.mark.parametrize("reader", ["open", "range", "path"])
def test_a_damaged_blob_is_set_aside_never_served_and_can_be_held_again(
    tmp_path: Path, damage: str, reader: str
) -> None:
    content = b"0123456789" * 1000
    store = BlobStore(tmp_path, QUOTA)
    cid = store.put_bytes(content)
    assert store.read_range(cid, 0, 5) == b"01234"  # it was whole a moment ago
    path = _file(tmp_path, cid)
    if damage == "flip":
        flip(path, 5000)
    else:
        path.chmod(0o600)
        path.write_bytes({"cut": content[:-1], "empty": b"", "grown": content + b"!"}[damage])
    with pytest.raises(StorageError) as raised:
        {"open": store.open, "range": lambda c: store.read_range(c, 0, 5), "path": store.path}[reader](cid)
    assert cid.text in raised.value.message
    assert not store.has(cid)
    assert (tmp_path / "damaged" / cid.text).exists()
    statistics = store.statistics()
    assert (statistics["damaged"], statistics["bytes"], statistics["blobs"]) == (1, 0, 0)
    assert store.put_bytes(content) == cid
    assert _read(store, cid) == content
    store.close()


def test_putting_a_blob_heals_a_damaged_one(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    cid = store.put_bytes(b"0123456789")
    flip(_file(tmp_path, cid), 5)
    assert store.put_bytes(b"0123456789") == cid
    assert _read(store, cid) == b"0123456789"
    assert store.statistics()["bytes"] == 10
    store.close()


def test_leftovers_of_a_writer_that_died_are_removed_at_start(tmp_path: Path) -> None:
    BlobStore(tmp_path, QUOTA).close()
    (tmp_path / "tmp" / "leftover").write_bytes(b"half")
    BlobStore(tmp_path, QUOTA).close()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_files_that_are_no_blobs_are_passed_over(tmp_path: Path) -> None:
    BlobStore(tmp_path, QUOTA).close()
    (tmp_path / "00" / "README").write_bytes(b"a stranger")
    store = BlobStore(tmp_path, QUOTA)
    assert store.statistics()["blobs"] == 0
    store.close()


def test_many_threads_put_and_read_the_same_blobs(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, QUOTA)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(40):
                content = b"%d" % chance.randrange(20)
                assert _read(store, store.put_bytes(content)) == content
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    statistics = store.statistics()
    assert statistics["bytes"] == sum(len(b"%d" % number) for number in range(20))
    store.close()
