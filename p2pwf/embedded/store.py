"""The nodes of embedded coordinators on disk: one database a folder, a state for each peer id in it.

Knows blocks and whose they are; must not know what they say. The format is protocols/store.md.
Theory of operation. Many processes may work on one folder: whoever writes reads what is new and puts its own nodes on
top in one immediate transaction, so nobody writes on an old tip. Each opener holds a shared lock on the folder's lock
file as long as it has the database open; who gets that lock alone is the first, makes the file or checks it, and only
then lets others in, because a file that others write to cannot be checked.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from p2pwf.errors import Refused, UsageError
from p2pwf.ledger import BadClock, MerkleNode, read_block
from p2pwf.store.database import Format, open_database, transaction
from p2pwf.store.disk import damaged, disk_errors

FILE_NAME: Final = "embedded.db"
LOCK_NAME: Final = "embedded.lock"
BUSY_TIMEOUT_MS: Final = 60_000
"""A commit takes milliseconds, but SQLite's waiting is not fair: one of many writers may have bad luck for long."""
PRIVATE: Final = 0o700

FORMAT: Final = Format(
    name="coordinator",
    application_id=0x7032776D,
    migrations=(
        (
            """CREATE TABLE node (
                number INTEGER PRIMARY KEY, state BLOB NOT NULL, hash BLOB NOT NULL, block BLOB NOT NULL,
                sum INTEGER NOT NULL, UNIQUE (state, hash)
            )""",
        ),
    ),
)

_of_a_parent: list[sqlite3.Connection] = []
"""Connections that a fork brought here. They are neither used nor closed, nor given up, which would close them: to
SQLite they are the parent's. One for each coordinator that the parent had open."""


class NodeStore:
    """The nodes of one state. Its owner sees to it that one thread at a time calls it."""

    def __init__(self, folder: Path, peer_id: str) -> None:
        """Open, or make, the database of a folder; makes the folder (0700) if it is missing.

        Raises StorageError when it is damaged, unreadable or the disk is full, Refused when it is another kind of
        file, of a newer version, or the folder is none.
        """
        self._path = folder / FILE_NAME
        self._state = peer_id.encode()
        self._process = os.getpid()
        self._last = 0
        with disk_errors(folder):
            _make_folder(folder)
            self._lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._connection: sqlite3.Connection | None = None
        try:
            with disk_errors(folder / LOCK_NAME):
                alone = _lock(self._lock)
            connection = open_database(self._path, FORMAT, shared=not alone)
            self._connection = connection
            with disk_errors(self._path):
                connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
                if alone:
                    fcntl.flock(self._lock, fcntl.LOCK_SH)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block or nothing; nobody else writes meanwhile, and it is on disk when the block is left."""
        with disk_errors(self._path), transaction(self._open()):
            yield

    def news(self) -> list[MerkleNode]:
        """The nodes that came since the last call, in the order in which they were stored.

        Raises StorageError for a row that is not what was written.
        """
        with disk_errors(self._path):
            rows = (
                self._open()
                .execute(
                    # The plus keeps SQLite off the index of states: what is new lies together at the table's end.
                    "SELECT number, hash, block, sum FROM node WHERE number > ? AND +state = ? ORDER BY number",
                    (self._last, self._state),
                )
                .fetchall()
            )
        nodes = [self._node(*row) for row in rows]
        if rows:
            self._last = rows[-1][0]
        return nodes

    def put(self, node: MerkleNode) -> None:
        """Store a node that this state does not hold, within a transaction; `news` does not tell it again."""
        hash, block = bytes.fromhex(node.hash), node.block()
        done = self._open().execute(
            "INSERT INTO node (state, hash, block, sum) VALUES (?, ?, ?, ?)",
            (self._state, hash, block, self._sum(hash)),
        )
        assert done.lastrowid is not None
        self._last = done.lastrowid

    def rewind(self) -> None:
        """Tell everything again at the next `news`: what was put last was not kept."""
        self._last = 0

    def close(self) -> None:
        """Close the database and let the folder go; calling it twice is fine."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._process == os.getpid():
                connection.close()
            else:
                _of_a_parent.append(connection)
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise UsageError("this coordinator was closed", "make a new one")
        if self._process != os.getpid():
            raise UsageError(
                "this coordinator belongs to the process that forked this one", "make one here, on the same folder"
            )
        return self._connection

    def _node(self, number: int, hash: bytes, block: bytes, checksum: int) -> MerkleNode:
        try:
            node = read_block(block)
        except (BadClock, TypeError) as error:
            raise damaged(self._path, f"row {number} holds no node") from error
        if type(hash) is not bytes or node.hash != hash.hex() or self._sum(hash) != checksum:
            raise damaged(self._path, f"row {number} is not what was written")
        return node

    def _sum(self, hash: bytes) -> int:
        """CRC-32 over what the hash does not cover: whose the node is."""
        return zlib.crc32(self._state, zlib.crc32(hash))


def _make_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=PRIVATE)
    if not folder.is_dir():
        raise Refused(f"{folder} is not a folder", "use another data_dir")


def _lock(handle: int) -> bool:
    """Hold the lock file: alone if nobody else has the folder open (True), else together with the others."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(handle, fcntl.LOCK_SH)
        return False
    return True
