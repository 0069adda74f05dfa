"""What the parts of the store share: errors of the disk told in our own words, and writes that are durable.

Knows files and SQLite; must not know events, runs or blobs.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from p2pwf.errors import StorageError

NO_SPACE: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
NO_RIGHT: Final = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
PRIMARY_CODE: Final = 0xFF
"""The low byte of an extended SQLite result code is its primary code."""
DAMAGE: Final = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR))
"""A plain error among them: our statements are fixed, so one that fails met a schema that is not ours any more."""
ACCESS: Final = frozenset(
    (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH),
)
BUSY: Final = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))

SYNC_THREADS: Final = 8
"""Files synced at a time: four times faster than one by one on ext4; more gain little."""

SPACE_HINT: Final = "free some space, or raise the file size limit or quota of this user, then try again"
ACCESS_HINT: Final = "the user that runs the node must be able to read and write there"
DISK_HINT: Final = "look at the disk and its file system (dmesg, smartctl); nothing of this change was kept"


class DamagedFile(StorageError):
    """A file that does not hold what was written to it."""


def damaged(path: Path, what: str) -> DamagedFile:
    """The error for a database at `path` that cannot be trusted any more; `what` is the finding."""
    return DamagedFile(
        f"{path} is damaged: {what}",
        f"nothing was changed; put a backup in its place, or move {path.name}* aside and join the network again: "
        "the other members hold its events",
    )


def from_os_error(error: OSError, path: Path) -> StorageError:
    """The StorageError for what the operating system said about `path`."""
    reason = error.strerror or str(error)
    if error.errno in NO_SPACE:
        return StorageError(f"no room to write {path}: {reason}", SPACE_HINT)
    if error.errno in NO_RIGHT:
        return StorageError(f"no access to {path}: {reason}", ACCESS_HINT)
    return StorageError(f"the disk failed at {path}: {reason}", DISK_HINT)


def from_sqlite_error(error: sqlite3.Error, path: Path) -> StorageError:
    """The StorageError for what SQLite said about the database at `path`.

    An error without a result code comes from the Python binding, which could not read what a row holds.
    """
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & PRIMARY_CODE
    if primary is None or primary in DAMAGE:
        return damaged(path, str(error))
    if primary == sqlite3.SQLITE_FULL:
        return StorageError(f"no room to write {path}: {error}", SPACE_HINT)
    if primary in ACCESS:
        return StorageError(f"no access to {path}: {error}", ACCESS_HINT)
    if primary in BUSY:
        return StorageError(f"{path} is in use by another process", "one node at a time works on a data folder")
    return StorageError(f"the disk failed at {path}: {error}", DISK_HINT)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system and of SQLite about `path` into StorageError; our own bugs pass through."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, path) from error
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.IntegrityError):
        raise
    except sqlite3.Error as error:
        raise from_sqlite_error(error, path) from error


def sync_file(path: Path, flags: int = 0) -> None:
    """Make the content of a file durable."""
    handle = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_files(paths: Sequence[Path], flags: int = 0) -> None:
    """Make many files durable: asked for at once, a file system writes them together."""
    if len(paths) <= 1:
        for path in paths:
            sync_file(path, flags)
        return
    with ThreadPoolExecutor(min(SYNC_THREADS, len(paths))) as threads:
        for _ in threads.map(lambda path: sync_file(path, flags), paths):
            pass


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable: a rename is on disk only once its folder is."""
    sync_file(path, os.O_DIRECTORY)


def write_all(handle: int, data: bytes) -> None:
    """Write all of `data` to an open file; what the operating system took only in part is gone on with."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
