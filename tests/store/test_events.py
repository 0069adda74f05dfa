from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from p2pwf.core.ids import block_cid
from p2pwf.errors import InternalError, Refused, StorageError
from p2pwf.store import events
from p2pwf.store.database import Format, open_database
from p2pwf.store.events import Commit, EventStore
from tests.store.kit import contents, event


def test_what_was_committed_is_there_after_reopening(tmp_path: Path) -> None:
    run = event(1).cid
    stored = (event(1, run=run), event(2), event(3, run=run))
    store = EventStore.open(tmp_path / "events.db")
    store.commit(Commit(stored, {"boot": b"\0\xff", "empty": b""}))
    store.close()

    store = EventStore.open(tmp_path / "events.db")
    assert list(store.load()) == sorted(stored, key=lambda e: (e.lamport, e.cid))
    assert store.count() == 3
    assert store.meta_all() == {"boot": b"\0\xff", "empty": b""}
    assert store.by_run(run) == [e for e in store.load() if e.run == run]
    store.close()


def test_events_come_back_in_lamport_and_cid_order_over_many_pages(tmp_path: Path) -> None:
    store = EventStore.open(tmp_path / "events.db")
    numbers = range(2 * events.PAGE + 7)
    for start in reversed(numbers[:: events.PAGE]):
        store.commit(Commit(tuple(event(n) for n in numbers[start : start + events.PAGE])))
    loaded = list(store.load())
    assert loaded == sorted((event(n) for n in numbers), key=lambda e: (e.lamport, e.cid))
    store.close()


def test_loading_goes_on_while_events_are_committed(tmp_path: Path) -> None:
    store = EventStore.open(tmp_path / "events.db")
    store.commit(Commit(tuple(event(n) for n in range(events.PAGE + 1))))
    seen = 0
    for number, _ in enumerate(store.load()):
        if number == 10:
            store.commit(Commit((event(1_000_000),)))
        seen += 1
    assert seen == events.PAGE + 2
    store.close()


def test_get_answers_in_the_order_asked_with_none_for_what_is_missing(tmp_path: Path) -> None:
    store = EventStore.open(tmp_path / "events.db")
    store.commit(Commit(tuple(event(n) for n in range(5))))
    missing = block_cid(b"never stored")
    assert store.get([event(3).cid, missing, event(0).cid]) == [event(3), None, event(0)]
    assert store.get([]) == []
    many = [event(n % 5).cid for n in range(3 * events.PAGE)]
    assert store.get(many) == [event(n % 5) for n in range(3 * events.PAGE)]
    store.close()


def test_duplicates_are_ignored_and_counted(tmp_path: Path) -> None:
    store = EventStore.open(tmp_path / "events.db")
    store.commit(Commit((event(1), event(1))))
    store.commit(Commit((event(1), event(2))))
    assert store.count() == 2
    statistics = store.statistics()
    assert (statistics["commits"], statistics["stored"], statistics["duplicates"]) == (2, 2, 2)
    assert statistics["bytes"] > 0
    store.close()


def test_several_commits_are_one_transaction_and_apply_in_order(tmp_path: Path) -> None:
    store = EventStore.open(tmp_path / "events.db")
    store.commit(
        Commit((event(1),), {"a": b"1", "b": b"1"}),
        Commit((event(2),), {"a": b"2", "b": None}),
    )
    assert store.count() == 2
    assert store.meta_all() == {"a": b"2"}
    assert store.statistics()["commits"] == 1
    store.close()


def test_an_event_under_a_wrong_name_is_our_bug_and_nothing_of_the_commit_is_kept(tmp_path: Path) -> None:
    store = EventStore.open(tmp_path / "events.db")
    good, other = event(1), event(2)
    bad = events.StoredEvent(good.cid, other.block, other.signature, other.author, 2, 2, "x", None)
    with pytest.raises(InternalError):
        store.commit(Commit((event(3), bad)))
    assert store.count() == 0
    store.close()


def test_a_second_reader_sees_the_store_of_a_running_node_and_cannot_write(tmp_path: Path) -> None:
    node = EventStore.open(tmp_path / "events.db")
    node.commit(Commit((event(1),)))
    reader = EventStore.open(tmp_path / "events.db", readonly=True)
    assert list(reader.load()) == [event(1)]
    with pytest.raises(StorageError):
        reader.commit(Commit((event(2),)))
    assert node.count() == 1
    reader.close()
    node.close()


def test_reading_a_store_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        EventStore.open(tmp_path / "events.db", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    EventStore.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = contents(tmp_path)
    with pytest.raises(Refused, match="format 99"):
        EventStore.open(path)
    assert contents(tmp_path)["events.db"] == before["events.db"]


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Refused, match="not a p2pwf event database"):
        EventStore.open(path)
    assert path.read_bytes() == before


def test_a_migration_brings_an_old_file_forward_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "any.db"
    first = Format("any", 7, (("CREATE TABLE t (x)", "INSERT INTO t VALUES (1)"),))
    open_database(path, first).close()
    second = Format("any", 7, (*first.migrations, ("ALTER TABLE t ADD COLUMN y DEFAULT 2",)))
    connection = open_database(path, second)
    assert connection.execute("SELECT x, y FROM t").fetchall() == [(1, 2)]
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_a_migration_that_fails_half_way_leaves_the_old_version(tmp_path: Path) -> None:
    path = tmp_path / "any.db"
    first = Format("any", 7, (("CREATE TABLE t (x)",),))
    open_database(path, first).close()
    broken = Format("any", 7, (*first.migrations, ("ALTER TABLE t ADD COLUMN y", "INSERT INTO nowhere VALUES (1)")))
    with pytest.raises(StorageError):
        open_database(path, broken)
    connection = open_database(path, first)
    assert [row[1] for row in connection.execute("PRAGMA table_info(t)")] == ["x"]
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "events.db", events.FORMAT)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    connection.close()
