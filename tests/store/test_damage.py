"""Damage to the event database: found at start or at the read, told, and never made worse."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from p2pwf.errors import Refused, StorageError
from p2pwf.store.events import Commit, EventStore
from tests.store.kit import contents, event, flip

EVENTS = 60
WAL_HEADER = 32
FRAME = 24 + 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that was closed well: all of it is in the main file."""
    path = tmp_path / "events.db"
    store = EventStore.open(path)
    store.commit(Commit(tuple(event(n) for n in range(EVENTS)), {"key": b"value"}))
    store.close()
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a database whose node was killed: several commits are in the log alone. The database beside it."""
    live = EventStore.open(tmp_path / "live.db")
    for number in range(5):
        live.commit(Commit(tuple(event(n) for n in range(number * 10, number * 10 + 10))))
    folder = tmp_path / "killed"
    folder.mkdir()
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"live.db{end}", folder / f"events.db{end}")
    live.close()
    return folder / "events.db-wal"


def _refused_unchanged(path: Path) -> str:
    before = contents(path.parent)
    with pytest.raises(StorageError) as raised:
        EventStore.open(path)
    after = contents(path.parent)
    assert {name: after[name] for name in before} == before
    assert "\n" not in raised.value.message
    assert raised.value.hint
    assert str(path) in raised.value.message
    return raised.value.message


@pytest.mark.parametrize("where", ["header", "schema", "middle", "end"])
def test_a_damaged_page_is_told_at_start_and_the_file_stays_as_it_is(path: Path, where: str) -> None:
    size = path.stat().st_size
    offset = {"header": 0, "schema": 100, "middle": size // 4096 // 2 * 4096, "end": size - 4096}[where]
    flip(path, offset, 16 if where == "header" else 64)
    _refused_unchanged(path)


def test_a_truncated_file_is_told_at_start(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4096)
    _refused_unchanged(path)


def test_an_empty_file_is_damage_and_not_a_new_database(path: Path) -> None:
    path.write_bytes(b"")
    assert "empty" in _refused_unchanged(path)


def test_a_log_without_its_database_is_damage_and_not_a_new_database(log: Path) -> None:
    path = log.with_name("events.db")
    path.unlink()
    assert "missing" in _refused_unchanged(path)
    assert not path.exists()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE event SET block = zeroblob(500) WHERE seq = 7",
        "UPDATE event SET signature = zeroblob(64) WHERE seq = 7",
        "UPDATE event SET lamport = 99 WHERE seq = 7",
        "UPDATE event SET author = 'mallory' WHERE seq = 7",
        "UPDATE event SET run = zeroblob(36) WHERE seq = 7",
        "UPDATE event SET block = 'text' WHERE seq = 7",
        "UPDATE meta SET value = X'00'",
    ],
)
def test_a_row_that_is_not_what_was_written_is_told_at_start(path: Path, change: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    assert "not" in _refused_unchanged(path)


def test_a_row_damaged_while_the_node_runs_is_never_served(path: Path) -> None:
    store = EventStore.open(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE event SET block = zeroblob(500) WHERE seq = 7")
    connection.close()
    assert store.get([event(8).cid]) == [event(8)]
    with pytest.raises(StorageError):
        store.get([event(7).cid])
    with pytest.raises(StorageError):
        list(store.load())
    store.close()


def test_any_flipped_byte_is_found_or_harmless(path: Path) -> None:
    """Seeded: whatever single byte of the file is damaged, no event comes back changed."""
    whole = path.read_bytes()
    chance = random.Random(4)
    found = 0
    for _ in range(120):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            store = EventStore.open(path)
        except (StorageError, Refused):
            found += 1
            continue
        try:
            assert sorted(e.seq for e in store.load() if e == event(e.seq)) == list(range(EVENTS))
            assert store.meta_all() == {"key": b"value"}
        finally:
            store.close()
    assert found > 60  # the rest fell into unused space


def test_a_log_torn_at_its_end_loses_only_what_was_not_acknowledged(log: Path) -> None:
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 1000)
    store = EventStore.open(log.with_name("events.db"))
    assert [e for e in store.load() if e != event(e.seq)] == []
    assert store.count() == 40
    store.close()


@pytest.mark.parametrize("frame", [0, 1, 5])
@pytest.mark.parametrize("place", ["header", "page", "both"])
def test_a_log_damaged_in_its_middle_is_told_instead_of_dropping_commits(log: Path, frame: int, place: str) -> None:
    start = WAL_HEADER + frame * FRAME
    if place in {"header", "both"}:
        flip(log, start + 16, 8)
    if place in {"page", "both"}:
        flip(log, start + 24 + 50, 8)
    assert "log" in _refused_unchanged(log.with_name("events.db"))


def test_a_log_whose_header_is_damaged_is_told_instead_of_being_ignored(log: Path) -> None:
    flip(log, 16, 16)
    assert "log" in _refused_unchanged(log.with_name("events.db"))


def test_a_transaction_that_was_never_finished_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    store = EventStore.open(path)
    store.commit(Commit((event(1),)))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA cache_size = 2")  # so that the transaction spills into the log before its commit
    writer.execute("BEGIN")
    writer.executemany("INSERT INTO meta VALUES (?, zeroblob(3000), 0)", ((f"k{n}",) for n in range(50)))
    folder = tmp_path / "killed"
    folder.mkdir()
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"events.db{end}", folder / f"events.db{end}")
    assert (folder / "events.db-wal").stat().st_size > 20 * FRAME
    writer.execute("ROLLBACK")
    writer.close()
    store.close()

    store = EventStore.open(folder / "events.db")
    assert list(store.load()) == [event(1)]
    assert store.meta_all() == {}
    store.close()
