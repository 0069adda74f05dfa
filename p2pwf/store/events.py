"""The events of one node on disk: what is committed here is what this node may acknowledge.

Knows blocks, signatures and the columns to find them by; must not know what an event means, nor whether it is valid.
The format is protocols/store.md. Every row carries a checksum, every block is the preimage of its CID: what is read
is what was written, or an error.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import attrs

from p2pwf.core.ids import Cid, PeerId, block_cid
from p2pwf.errors import InternalError, StorageError
from p2pwf.store.database import Format, open_database, transaction
from p2pwf.store.disk import damaged, disk_errors

PAGE: Final = 512
"""Events read at a time: enough to make the query cheap, at most a few hundred MB at the largest event size."""
CHECK_ROWS: Final = 20_000
"""Up to here every row is hashed at start (about 0.1 s); above, this many of the newest: `load` hashes the rest."""
SIGNATURE_LENGTH: Final = 64

FORMAT: Final = Format(
    name="event",
    application_id=0x70327765,
    migrations=(
        (
            """CREATE TABLE event (
                cid BLOB NOT NULL UNIQUE, block BLOB NOT NULL, signature BLOB NOT NULL, author TEXT NOT NULL,
                seq INTEGER NOT NULL, lamport INTEGER NOT NULL, type TEXT NOT NULL, run BLOB, sum INTEGER NOT NULL
            )""",
            # Without the CID: new events go to the end of an index then, so that a commit touches few of its pages.
            "CREATE INDEX event_lamport ON event (lamport)",
            "CREATE INDEX event_run ON event (run) WHERE run IS NOT NULL",
            """CREATE TABLE meta (
                key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL
            ) WITHOUT ROWID""",
        ),
        (),  # 2: of an event that was pruned, `block` is a stub and `signature` empty
    ),
)

_INSERT: Final = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (cid) DO NOTHING"
_PRUNE: Final = "UPDATE event SET block = ?, signature = ?, sum = ? WHERE cid = ?"
_SELECT: Final = "SELECT cid, block, signature, author, seq, lamport, type, run, sum FROM event "
_Row = tuple[bytes, bytes, bytes, str, int, int, str, bytes | None, int]
_TYPES: Final[tuple[type | tuple[type, ...], ...]] = (bytes, bytes, bytes, str, int, int, str, (bytes, type(None)), int)


@attrs.frozen(slots=True)
class StoredEvent:
    """One event as the store keeps it; `run` is the run that it is about, if it is about one."""

    cid: Cid
    block: bytes
    signature: bytes
    author: PeerId
    seq: int
    lamport: int
    type: str
    run: Cid | None

    @property
    def pruned(self) -> bool:
        """Whether `block` is only what is left of it, which does not hash to its CID."""
        return not self.signature


@attrs.frozen(slots=True)
class Commit:
    """What becomes durable together: events, what is left of events that are held, and values of this node's own by key
    (None removes one)."""

    events: tuple[StoredEvent, ...] = ()
    stubs: tuple[StoredEvent, ...] = attrs.field(default=(), kw_only=True)
    meta: Mapping[str, bytes | None] = attrs.field(factory=dict)


class EventStore:
    """The event database of a node. Any thread may call it; one call works at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._lock = threading.Lock()
        self._commits = 0
        self._stored = 0
        self._duplicates = 0
        self._failures = 0

    @classmethod
    def open(cls, path: Path, *, readonly: bool = False) -> EventStore:
        """Open, or make, the database at `path`, after checking it; its folder must exist.

        Raises StorageError when it is damaged, unreadable or the disk is full, Refused when it is not of this kind or
        too new; nothing on disk is changed then.
        """
        with disk_errors(path):
            store = cls(path, open_database(path, FORMAT, readonly=readonly))
            try:
                store._check()
            except BaseException:
                store.close()
                raise
            return store

    def commit(self, *commits: Commit) -> None:
        """Make the commits durable, in order and in one transaction: after this returns, a power cut loses none.

        Events that are held already are ignored. Raises StorageError (full, failing disk): then nothing was kept.
        """
        events = [event for commit in commits for event in commit.events]
        stubs = [event for commit in commits for event in commit.stubs]
        for event in (*events, *stubs):
            if event.pruned:
                continue
            if block_cid(event.block) != event.cid or len(event.signature) != SIGNATURE_LENGTH:
                raise InternalError(f"an event under a wrong name was to be stored: {event.cid}")
        with self._lock:
            try:
                with disk_errors(self._path), transaction(self._connection):
                    before = self._connection.total_changes
                    self._connection.executemany(_INSERT, map(_row, events))
                    stored = self._connection.total_changes - before
                    rows = ((row[1], row[2], row[8], row[0]) for row in map(_row, stubs))
                    self._connection.executemany(_PRUNE, rows)
                    for commit in commits:
                        self._put_meta(commit.meta)
            except StorageError:
                self._failures += 1
                raise
            self._commits += 1
            self._stored += stored
            self._duplicates += len(events) - stored

    def load(self) -> Iterator[StoredEvent]:
        """Every event in (lamport, CID) order, a page at a time; commits meanwhile are allowed."""
        last: tuple[int, bytes] = (-1, b"")
        while page := self._select("WHERE (lamport, cid) > (?, ?) ORDER BY lamport, cid LIMIT ?", (*last, PAGE)):
            yield from page
            last = page[-1].lamport, page[-1].cid

    def get(self, cids: Sequence[Cid]) -> list[StoredEvent | None]:
        """The events with these CIDs, in the order asked; None for one that is not held."""
        found: dict[Cid, StoredEvent] = {}
        for start in range(0, len(cids), PAGE):
            part = cids[start : start + PAGE]
            marks = ", ".join("?" * len(part))
            found |= {event.cid: event for event in self._select(f"WHERE cid IN ({marks})", part)}
        return [found.get(cid) for cid in cids]

    def by_run(self, run: Cid) -> list[StoredEvent]:
        """The events about one run, in (lamport, CID) order."""
        return self._select("WHERE run = ? ORDER BY lamport, cid", (run,))

    def count(self) -> int:
        """The number of events held."""
        with self._lock, disk_errors(self._path):
            return cast("tuple[int]", self._connection.execute("SELECT count(*) FROM event").fetchone())[0]

    def meta_all(self) -> dict[str, bytes]:
        """This node's own values by key."""
        with self._lock, disk_errors(self._path):
            rows = self._connection.execute("SELECT key, value, sum FROM meta").fetchall()
        return dict(checked_meta(self._path, row) for row in rows)

    def statistics(self) -> dict[str, int]:
        """Since it was opened: commits, events stored, duplicates ignored, failed commits; and bytes on disk."""
        log = self._path.with_name(self._path.name + "-wal")
        size = sum(path.stat().st_size for path in (self._path, log) if path.exists())
        return {
            "commits": self._commits,
            "stored": self._stored,
            "duplicates": self._duplicates,
            "failures": self._failures,
            "bytes": size,
        }

    def close(self) -> None:
        """Close the database; what was committed stays, and calling it twice is fine."""
        with self._lock, disk_errors(self._path):
            self._connection.close()

    def _put_meta(self, meta: Mapping[str, bytes | None]) -> None:
        for key, value in meta.items():
            if value is None:
                self._connection.execute("DELETE FROM meta WHERE key = ?", (key,))
            else:
                checksum = zlib.crc32(value, zlib.crc32(key.encode()))
                self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (key, value, checksum))

    def _select(self, clause: str, values: Iterable[object]) -> list[StoredEvent]:
        with self._lock, disk_errors(self._path):
            rows = self._connection.execute(_SELECT + clause, tuple(values)).fetchall()
        return [checked_event(self._path, row) for row in rows]

    def _check(self) -> None:
        """Hash the newest rows, all of them in a small database, and the values of this node."""
        with self._lock:
            cursor = self._connection.execute(_SELECT + "ORDER BY rowid DESC LIMIT ?", (CHECK_ROWS,))
            while rows := cursor.fetchmany(PAGE):
                for row in rows:
                    checked_event(self._path, row)
        self.meta_all()


def checked_event(path: Path, row: tuple[object, ...]) -> StoredEvent:
    """The event in a row of the database at `path`; raises DamagedFile unless it is what was written."""
    if not all(isinstance(value, kind) for value, kind in zip(row, _TYPES, strict=True)):
        raise damaged(path, "an event holds what was not written")
    cid, block, signature, author, seq, lamport, kind, run, checksum = cast(_Row, row)
    event = StoredEvent(Cid(cid), block, signature, PeerId(author), seq, lamport, kind, Cid(run) if run else None)
    if (signature and block_cid(block) != cid) or _checksum(event) != checksum:
        raise damaged(path, f"event {event.cid} is not what was written")
    return event


def checked_meta(path: Path, row: tuple[object, ...]) -> tuple[str, bytes]:
    """The key and value in a row of the database at `path`; raises DamagedFile unless it is what was written."""
    key, value, checksum = row
    if (
        not isinstance(key, str)
        or not isinstance(value, bytes)
        or zlib.crc32(value, zlib.crc32(key.encode(errors="replace"))) != checksum
    ):
        raise damaged(path, f"the value of {key!r} is not what was written")
    return key, value


def _checksum(event: StoredEvent) -> int:
    """CRC-32 over what the CID does not cover: the signature and the columns to find the event by; of a stub all."""
    columns = f"{event.author} {event.seq} {event.lamport} {event.type}".encode()
    whole = zlib.crc32(event.run or b"", zlib.crc32(columns, zlib.crc32(event.signature)))
    return zlib.crc32(event.block, zlib.crc32(event.cid, whole)) if event.pruned else whole


def _row(event: StoredEvent) -> _Row:
    return (
        bytes(event.cid),
        event.block,
        event.signature,
        event.author,
        event.seq,
        event.lamport,
        event.type,
        None if event.run is None else bytes(event.run),
        _checksum(event),
    )
