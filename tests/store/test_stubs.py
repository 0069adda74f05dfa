"""Events of which stubs are left, on disk: what is written is read, damage is noticed, an older database goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copyfile

import pytest

from p2pwf.core.ids import Cid, PeerId, block_cid
from p2pwf.errors import InternalError, StorageError
from p2pwf.store.events import Commit, EventStore, StoredEvent

OLD = Path(__file__).resolve().parents[1] / "fixtures" / "formats" / "0.1.0" / "node" / "events.db"
PEER = PeerId("12D3KooWADt5TZUHQSqou4VRdWzwJcQHhuttKYKtfiF1kqS3Paek")


def event(number: int) -> StoredEvent:
    block = b"a block %d" % number * 100
    return StoredEvent(block_cid(block), block, bytes(64), PEER, number, number + 1, "job.start", None)


def stub(of: StoredEvent) -> StoredEvent:
    return StoredEvent(of.cid, b"a stub", b"", of.author, of.seq, of.lamport, of.type, of.run)


def test_a_stub_takes_the_place_of_its_event_with_what_else_is_committed(tmp_path: Path) -> None:
    one, two, three = map(event, range(3))
    with closing(EventStore.open(tmp_path / "events.db")) as store:
        store.commit(Commit((one, two)))
        store.commit(Commit((stub(three),), stubs=(stub(one),)))
    with closing(EventStore.open(tmp_path / "events.db")) as store:
        assert list(store.load()) == [stub(one), two, stub(three)]
        assert [found is not None and found.pruned for found in store.get([one.cid, two.cid])] == [True, False]
        with pytest.raises(InternalError):
            store.commit(Commit((StoredEvent(Cid(one.cid), b"x", bytes(64), PEER, 1, 1, "job.start", None),)))


@pytest.mark.parametrize("change", ["block = x'00'", "cid = randomblob(36)", "lamport = 9", "author = 'x'"])
def test_a_stub_that_is_not_what_was_written_is_damage(tmp_path: Path, change: str) -> None:
    one = event(0)
    path = tmp_path / "events.db"
    with closing(EventStore.open(path)) as store:
        store.commit(Commit((one,)))
        store.commit(Commit(stubs=(stub(one),)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE event SET {change}")  # noqa: S608 - of the list above
    with pytest.raises(StorageError):
        EventStore.open(path)


def test_a_database_of_the_first_format_is_brought_forward_in_place(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    copyfile(OLD, path)
    path.chmod(0o600)

    def version() -> int:
        with closing(sqlite3.connect(path)) as connection:
            found: tuple[int] = connection.execute("PRAGMA user_version").fetchone()
            return found[0]

    assert version() == 1
    with closing(EventStore.open(path)) as store:
        before = list(store.load())
        assert not any(one.pruned for one in before)
        store.commit(Commit(stubs=(stub(before[-1]),)))
    assert version() == 2
    with closing(EventStore.open(path)) as store:
        assert list(store.load()) == [*before[:-1], stub(before[-1])]
