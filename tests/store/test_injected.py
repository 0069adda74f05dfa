"""EIO and ENOSPC at every write: the error is told, nothing acknowledged is lost, and the store goes on after it.

The event database's calls are made to fail by strace, those on blobs' files in the process itself.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from p2pwf.core.ids import Cid, blob_cid
from p2pwf.errors import StorageError
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import EventStore
from tests.store.inject import Failing, run
from tests.store.kit import event
from tests.store.powercut import has_strace

COMMITS = """
import json, sys
from pathlib import Path
from p2pwf.errors import StorageError
from p2pwf.store.events import Commit, EventStore
from tests.store.kit import event

path = Path(sys.argv[1]) / "events.db"
errors, number = [], 0

def attempt(action):
    for _ in range(5):
        try:
            return action()
        except StorageError as error:
            errors.append([error.code, error.message, error.hint])
        held = 0 if store is None else sum(one == event(one.seq) for one in store.load())
        assert held == number, f"{held} are there, {number} were acknowledged"
    raise SystemExit(f"it does not go on: {errors}")

store = None
store = attempt(lambda: EventStore.open(path))
store._connection.execute("PRAGMA wal_autocheckpoint = 12")
for size in (1, 2, 7, 1, 40, 3) * 2:
    batch = tuple(event(n) for n in range(number, number + size))
    attempt(lambda: store.commit(Commit(batch, {"next": b"%d" % (number + size)})))
    number += size
attempt(store.close)
print(json.dumps([number, errors]))
"""
CALLS = {
    "pwrite64": ("EIO", 83, (1, 2, 5, 14, 23, 31, 44, 52, 67, 76)),
    "fdatasync": ("EIO", 5, (1, 2, 3, 4, 5)),
    "ftruncate": ("ENOSPC", 7, (1, 2)),
    "fsync": ("ENOSPC", None, (1, 2)),
    "rename": ("EIO", None, (1,)),
}
"""Of each call that the database makes: the error, each so many-th that fails, and the first ones."""


@pytest.mark.skipif(not has_strace(), reason="strace is not there, or may not trace")
@pytest.mark.parametrize("call", CALLS)
def test_a_commit_that_meets_a_disk_error_is_told_and_costs_nothing(tmp_path: Path, call: str) -> None:
    error, every, firsts = CALLS[call]
    met = 0
    for first in firsts:
        folder = tmp_path / str(first)
        folder.mkdir()
        number, errors = json.loads(run(folder, Failing((call,), error, first, every), COMMITS))
        met += len(errors)
        for code, message, hint in errors:
            assert code == "storage"
            assert message.startswith(("the disk failed at ", "no room to write "))
            assert str(folder) in message
            assert hint
        store = EventStore.open(folder / "events.db")
        assert [one == event(one.seq) for one in store.load()] == [True] * number
        assert store.meta_all() == {"next": b"%d" % number}
        store.close()
    assert met


class Failure:
    """Lets one call fail: the one with this number."""

    def __init__(self, number: int, code: int) -> None:
        self.left = number
        self.code = code

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*args: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left != 0:
                return call(*args, **named)
            if call.__name__ == "write":
                call(args[0], bytes(args[1])[: len(args[1]) // 2])  # some of it may have come to the disk
            raise OSError(self.code, os.strerror(self.code))

        return failing


@contextmanager
def failing(number: int, code: int) -> Iterator[Failure]:
    """Let one of the calls that write or name files fail."""
    failure = Failure(number, code)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "fsync", "rename", "replace", "link", "unlink", "mkdir", "ftruncate"):
            patch.setattr(os, name, failure.wrap(getattr(os, name)))
        yield failure


def fill(store: BlobStore, round_: int, told: list[Cid]) -> None:
    """Every way into the store; `told` is what it said that it holds."""
    one, two, three, four, content = (b"%d %d " % (round_, number) * 500 for number in range(5))
    told.append(store.put_bytes(one))
    with store.batch() as batch:
        cids = [batch.put_bytes(two), batch.put_bytes(three)]
    told.extend(cids)
    with store.writer() as writer:
        writer.write(four[:1000])
        writer.write(four[1000:])
        told.append(writer.commit())
    with store.partial(blob_cid(content)) as download:
        while download.offset < len(content):
            try:
                download.append(content[download.offset : download.offset + 700])
            except StorageError:
                download.append(content[download.offset :])
        told.append(download.finish())


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_blob_that_meets_a_disk_error_is_told_and_costs_no_other(tmp_path: Path, code: int) -> None:
    number, told, errors = 0, list[Cid](), list[StorageError]()
    store = BlobStore(tmp_path, 10**9)
    while True:
        number += 1
        with failing(number, code) as failure:
            try:
                fill(store, number, told)
            except StorageError as error:
                errors.append(error)
        fill(store, number, told)  # the disk is well again
        if failure.left > 0:
            break  # there was no such call any more
    assert number > 15
    assert len(errors) > 8
    assert all(error.hint and str(tmp_path) in error.message for error in errors)
    store.close()
    store = BlobStore(tmp_path, 10**9)
    for cid in told:
        store.open(cid).close()
    assert not [*(tmp_path / "tmp").iterdir(), *(tmp_path / "partial").iterdir()]
    store.close()


def test_a_blob_whose_folder_could_not_be_synced_is_not_held_by_those_who_put_it_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, 10**9)
    with failing(4, errno.EIO) as failure, pytest.raises(StorageError):  # write, sync, rename, and the folder's sync
        store.put_bytes(b"once more")
    assert failure.left <= 0
    assert store.has(blob_cid(b"once more"))
    with failing(100, errno.EIO) as failure:
        store.put_bytes(b"once more")
    assert failure.left <= 96
    with failing(100, errno.EIO) as failure:
        store.put_bytes(b"once more")
    assert failure.left == 100  # now it is held
    store.close()
