"""One SQLite file with a format of its own: created whole or not at all, checked before it is touched, migrated.

Knows files and SQL; must not know events or blobs: a `Format` brings the tables and says what they are.
Theory of operation. A new file is built under another name and renamed, so that a file under the real name is never
half made, and an empty one is damage. A file that exists is first opened read-only: SQLite neither recovers nor
checkpoints then, so what is found damaged stays byte for byte what it was.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, cast

import attrs

from p2pwf.errors import Refused, StorageError
from p2pwf.store.disk import damaged, disk_errors, sync_file, sync_folder
from p2pwf.store.wal import lost_commits

BUSY_TIMEOUT_MS: Final = 5_000
"""Nothing but a reader or a backup shares the file, so waiting longer means that something is wrong."""
FULL_CHECK_BYTES: Final = 64 * 1024 * 1024
"""Up to here every index entry is compared too (about 0.3 s); above, SQLite's quick check (linear, 4 times faster)."""
JOURNAL_LIMIT: Final = 16 * 1024 * 1024
"""Bytes that a log file keeps after a checkpoint, so that one large commit does not hold the disk for ever."""


@attrs.frozen(slots=True)
class Format:
    """A kind of database: `application_id` marks the file; `migrations[n]` are the statements from version n."""

    name: str
    application_id: int
    migrations: tuple[tuple[str, ...], ...]
    synced: bool = True
    """Whether each commit is on disk before the next is written: only then can a log tell that it has lost one."""

    @property
    def version(self) -> int:
        """The version that this program writes: the file's `user_version`."""
        return len(self.migrations)


def open_database(path: Path, form: Format, *, readonly: bool = False, shared: bool = False) -> sqlite3.Connection:
    """The database at `path`, checked and of the newest version; made if it is missing and `readonly` is not set.

    `shared`: others, who have checked it, are writing to it, so that only its kind and version are looked at.

    The connection commits only what stands between BEGIN and COMMIT; every COMMIT is on disk (WAL, FULL).
    Raises StorageError (damaged, full, unreadable) and Refused (another kind of file, a newer version); then the
    file is what it was.
    """
    with disk_errors(path):
        if not path.exists():
            if readonly:
                raise StorageError(f"{path} does not exist", "start a node on this data folder first")
            log = path.with_name(path.name + "-wal")
            if log.exists() and log.stat().st_size:
                raise damaged(path, "it is missing and its log file is there")
            _create(path, form)
        version = _check(path, form, shared)
        connection = _connect(path, readonly)
        try:
            if not readonly:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT}")
                migrate(connection, form, version)
        except BaseException:
            connection.close()
            raise
        return connection


def has_schema(path: Path, form: Format) -> bool:
    """Whether the database at `path` has the tables and indexes of its format, and nothing else (a trigger, a view).

    For a file of doubtful origin, before it is opened to be written. Raises StorageError, Refused as `open_database`.
    """
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    with disk_errors(path), closing(open_database(path, form, readonly=True)) as found:
        version = _pragma(found, "user_version")
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
            for statements in form.migrations[:version]:
                for statement in statements:
                    model.execute(statement)
            return bool(found.execute(query).fetchall() == model.execute(query).fetchall())


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block or nothing of it; durable once the block is left without an error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite rolls back by itself when the disk is full
            connection.execute("ROLLBACK")
        raise


def migrate(connection: sqlite3.Connection, form: Format, version: int) -> None:
    """Bring a file from `version` to the format's, one transaction a step: a step that fails changes nothing."""
    for number in range(version, form.version):
        with transaction(connection):
            for statement in form.migrations[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")


def _connect(path: Path, readonly: bool) -> sqlite3.Connection:
    # Its owner serialises use with a lock, and an executor may call it from any thread.
    uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _create(path: Path, form: Format) -> None:
    """Build an empty file of the newest version aside, then rename it into place."""
    aside = path.with_name(path.name + ".new")
    for leftover in (aside, *(aside.with_name(aside.name + end) for end in ("-journal", "-wal", "-shm"))):
        leftover.unlink(missing_ok=True)
    handle = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    os.close(handle)
    try:
        connection = _connect(aside, readonly=False)
        try:
            # A file that is thrown away unless it is finished needs no journal, and one sync at its end.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(f"PRAGMA application_id = {form.application_id}")
            migrate(connection, form, 0)
            # Here and not when it is opened: that would go through a rollback journal, and a power cut leave that
            # behind, which whoever opens the file to read it may not undo.
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        sync_file(aside)
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _check(path: Path, form: Format, shared: bool) -> int:
    """The version of the file at `path`, once it is found whole (a shared one: of this kind); reads only."""
    size = path.stat().st_size
    if size == 0:
        raise damaged(path, "it is empty")
    connection = _connect(path, readonly=True)
    try:
        marked = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
        if marked != form.application_id:
            raise Refused(f"{path} is not a p2pwf {form.name} database", "use another --data-dir")
        if version > form.version:
            raise Refused(
                f"{path} has format {version}, this p2pwf knows up to {form.version}",
                "a newer p2pwf wrote it: upgrade this one",
            )
        if shared:
            return version
        connection.execute("BEGIN")
        lost = lost_commits(path, connection) if form.synced else 0
        if lost:
            raise damaged(path, f"its log file breaks off {lost} commit(s) before its end")
        check = "integrity_check" if size <= FULL_CHECK_BYTES else "quick_check"
        finding = cast("tuple[str]", connection.execute(f"PRAGMA {check}(1)").fetchone())[0]
        if finding != "ok":
            raise damaged(path, " ".join(finding.split()))
        return version
    finally:
        connection.close()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return cast("tuple[int]", connection.execute(f"PRAGMA {name}").fetchone())[0]
