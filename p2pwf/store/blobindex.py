"""The index of blobs: size, last use and pins, in a SQLite file of its own beside them.

Knows CIDs and times; must not know files' contents. The files are the truth: what this index says about sizes can be
rebuilt from them; pins cannot, so pins are durable when `pin` returns, and a lost index pins all that it finds for a
while. The format is protocols/store.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from p2pwf.core.ids import Cid
from p2pwf.store.database import Format, open_database, transaction
from p2pwf.store.disk import DamagedFile, disk_errors

RECOVERED_MS: Final = 90 * 24 * 3600 * 1000
"""How long after its last use a blob is kept whose pins were lost with the index: as long as a run's blobs are kept."""
RECOVERED_OWNER: Final = "recovered"
SMALLEST: Final = 4096
"""Bytes that a file takes on most disks, be it ever so short."""

FORMAT: Final = Format(
    name="blob",
    application_id=0x70327762,
    synced=False,  # what is put is; of the index only pins have to be, and its other rows are found again
    migrations=(
        (
            """CREATE TABLE blob (
                cid BLOB NOT NULL PRIMARY KEY, size INTEGER NOT NULL, used INTEGER NOT NULL
            ) WITHOUT ROWID""",
            "CREATE INDEX blob_used ON blob (used)",
            """CREATE TABLE pin (
                cid BLOB NOT NULL, owner TEXT NOT NULL, until INTEGER, PRIMARY KEY (cid, owner)
            ) WITHOUT ROWID""",
            "CREATE INDEX pin_owner ON pin (owner)",
            "CREATE INDEX pin_until ON pin (until) WHERE until IS NOT NULL",
        ),
    ),
)


class BlobIndex:
    """Rows about blobs; the store that owns it serialises the calls. Times are wall clock, in ms."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.recovered = 0
        try:
            self._connection = open_database(path, FORMAT)
        except DamagedFile:
            with disk_errors(path):  # what it says can be found again, so it is set aside and made anew
                for end in ("-wal", "-shm", ""):
                    part = path.with_name(path.name + end)
                    if part.exists():
                        part.replace(path.with_name(path.name + ".damaged" + end))
            self._connection = open_database(path, FORMAT)
        with disk_errors(path):
            self._connection.execute("PRAGMA synchronous = NORMAL")

    def reconcile(self, found: Mapping[Cid, tuple[int, int]]) -> int:
        """Make the rows those of the blobs `found` on disk, as (size, last change in ms); returns their total size.

        An index without a row, beside blobs, is a new one for lost pins: every blob gets one for RECOVERED_MS.
        """
        with self._durable(), disk_errors(self._path), transaction(self._connection):
            held = {Cid(cid) for (cid,) in self._connection.execute("SELECT cid FROM blob")}
            self._connection.executemany("DELETE FROM blob WHERE cid = ?", ((bytes(c),) for c in held - found.keys()))
            fresh = [(bytes(cid), *found[cid]) for cid in found.keys() - held]
            self._connection.executemany("INSERT INTO blob VALUES (?, ?, ?)", fresh)
            if not held:
                pins = ((cid, RECOVERED_OWNER, changed + RECOVERED_MS) for cid, _, changed in fresh)
                self._connection.executemany("INSERT OR REPLACE INTO pin VALUES (?, ?, ?)", pins)
                self.recovered = len(fresh)
            return self._number("SELECT coalesce(sum(size), 0) FROM blob")

    def add(self, blobs: Iterable[tuple[Cid, int, int]]) -> None:
        """Record blobs as (CID, size, last use)."""
        with disk_errors(self._path), transaction(self._connection):
            rows = ((bytes(cid), size, used) for cid, size, used in blobs)
            self._connection.executemany("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", rows)

    def touch(self, uses: Mapping[Cid, int]) -> None:
        """Record last uses."""
        if not uses:
            return
        with disk_errors(self._path), transaction(self._connection):
            rows = ((used, bytes(cid)) for cid, used in uses.items())
            self._connection.executemany("UPDATE blob SET used = ? WHERE cid = ?", rows)

    def remove(self, cids: Iterable[Cid]) -> None:
        """Forget blobs; their pins stay, for a blob that is fetched again."""
        with disk_errors(self._path), transaction(self._connection):
            self._connection.executemany("DELETE FROM blob WHERE cid = ?", ((bytes(cid),) for cid in cids))

    def pin(self, cids: Iterable[Cid], owner: str, until: int | None) -> None:
        """Pin blobs, held or not, for `owner` until a time (None: until unpinned); durable when it returns."""
        with self._durable(), disk_errors(self._path), transaction(self._connection):
            rows = ((bytes(cid), owner, until) for cid in cids)
            self._connection.executemany("INSERT OR REPLACE INTO pin VALUES (?, ?, ?)", rows)

    def unpin(self, owner: str) -> int:
        """Remove every pin of `owner`; returns how many there were."""
        with disk_errors(self._path), transaction(self._connection):
            return self._connection.execute("DELETE FROM pin WHERE owner = ?", (owner,)).rowcount

    def extend(self, cids: Iterable[Cid], owner: str, until: int) -> None:
        """Let the pins that `owner` has on these blobs last until a time at least; durable when it returns."""
        with self._durable(), disk_errors(self._path), transaction(self._connection):
            rows = ((until, bytes(cid), owner, until) for cid in cids)
            self._connection.executemany("UPDATE pin SET until = ? WHERE cid = ? AND owner = ? AND until < ?", rows)

    def pinned(self, owner: str, prefix: bool) -> int:
        """Bytes of the blobs that an owner has pinned, or all whose name begins so; each takes SMALLEST at least."""
        match = "substr(owner, 1, ?) = ?" if prefix else "? AND owner = ?"
        with disk_errors(self._path):
            row = self._connection.execute(
                f"SELECT coalesce(sum(max(size, {SMALLEST})), 0) FROM blob"  # noqa: S608 - no text of others
                f" WHERE cid IN (SELECT cid FROM pin WHERE {match})",
                (len(owner), owner),
            ).fetchone()
        return cast("tuple[int]", row)[0]

    def expired(self, now: int, used_before: int) -> list[tuple[Cid, int]]:
        """The blobs, as (CID, size), whose last pin ran out by `now` and that were not used since `used_before`."""
        with disk_errors(self._path):
            rows = self._connection.execute(
                "SELECT cid, size FROM blob WHERE used < ?"
                " AND cid IN (SELECT cid FROM pin WHERE until <= ?)"
                " AND cid NOT IN (SELECT cid FROM pin WHERE until IS NULL OR until > ?)",
                (used_before, now, now),
            ).fetchall()
        return [(Cid(cid), size) for cid, size in rows]

    def drop_expired(self, now: int) -> None:
        """Forget the pins that ran out by `now`."""
        with disk_errors(self._path), transaction(self._connection):
            self._connection.execute("DELETE FROM pin WHERE until <= ?", (now,))

    def least_used(self, before: int, limit: int) -> list[tuple[Cid, int]]:
        """Up to `limit` blobs without a pin and not used since `before`, as (CID, size), least recently used first."""
        with disk_errors(self._path):
            rows = self._connection.execute(
                "SELECT cid, size FROM blob WHERE used < ? AND NOT EXISTS (SELECT 1 FROM pin WHERE cid = blob.cid)"
                " ORDER BY used, cid LIMIT ?",
                (before, limit),
            ).fetchall()
        return [(Cid(cid), size) for cid, size in rows]

    def size(self, cid: Cid) -> int:
        """The size of a blob in bytes; 0 for one that is not known."""
        with disk_errors(self._path):
            row = self._connection.execute("SELECT size FROM blob WHERE cid = ?", (bytes(cid),)).fetchone()
        return 0 if row is None else cast("tuple[int]", row)[0]

    def counts(self) -> tuple[int, int]:
        """(blobs, pins)."""
        return self._number("SELECT count(*) FROM blob"), self._number("SELECT count(*) FROM pin")

    def close(self) -> None:
        """Close the file; calling it twice is fine."""
        with disk_errors(self._path):
            self._connection.close()

    def _number(self, query: str) -> int:
        with disk_errors(self._path):
            return cast("tuple[int]", self._connection.execute(query).fetchone())[0]

    @contextmanager
    def _durable(self) -> Iterator[None]:
        # Rows about blobs can be rebuilt, so they need no sync of their own; a log that is synced for a pin takes
        # every row before it along.
        with disk_errors(self._path):
            self._connection.execute("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            with disk_errors(self._path):
                self._connection.execute("PRAGMA synchronous = NORMAL")
