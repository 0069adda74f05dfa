"""The data folder of a node: where things lie in it, and that one node at a time works on it.

Knows names and a lock; must not know what the files hold. The format is protocols/store.md.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from p2pwf.errors import Refused, StorageError
from p2pwf.store.disk import disk_errors

LOCK_NAME: Final = "lock"
PRIVATE: Final = 0o700
OTHERS: Final = 0o077
MAX_PID_TEXT: Final = 32
"""Bytes read of the lock file: a process id and a newline."""


@attrs.frozen(slots=True)
class DataDir:
    """A data folder by its path; making one of these touches nothing on disk."""

    path: Path

    @property
    def events(self) -> Path:
        """The event database."""
        return self.path / "events.db"

    @property
    def blobs(self) -> Path:
        """The folder of blobs."""
        return self.path / "blobs"

    @property
    def work(self) -> Path:
        """The folder in which jobs run."""
        return self.path / "work"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder (0700) if it is missing, and hold it for this process alone while the block runs.

        Raises Refused if another node holds it, if it belongs to another user, or if it is a folder of something
        else; StorageError if it cannot be made. The lock ends with the process, however that ends.
        """
        whole, new = not self.path.exists(), not (self.path / LOCK_NAME).exists()
        try:
            handle = self._take()
        except StorageError:
            # A full disk: what was made to be locked is of no use, and none of a user's business.
            with suppress(OSError):
                if new:
                    (self.path / LOCK_NAME).unlink(missing_ok=True)
                if whole:
                    self.path.rmdir()
            raise
        try:
            yield
        finally:
            os.close(handle)

    def _take(self) -> int:
        with disk_errors(self.path):
            self._prepare()
            handle = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with disk_errors(self.path / LOCK_NAME):
                self._acquire(handle)
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _prepare(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.path.mkdir(mode=PRIVATE)
        found = self.path.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise Refused(f"{self.path} is not a folder", "use another --data-dir")
        if found.st_uid != os.geteuid():
            raise Refused(f"data folder {self.path} belongs to another user", "use another --data-dir")
        if stat.S_IMODE(found.st_mode) & OTHERS:
            # Closing a folder to others is right for our own and for a new one, and rude to a home or to /tmp.
            if not (self.path / LOCK_NAME).exists() and any(self.path.iterdir()):
                raise Refused(
                    f"{self.path} is open to other users and holds files that are not p2pwf's",
                    "use an empty or a new folder as --data-dir",
                )
            self.path.chmod(PRIVATE)

    def _acquire(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, MAX_PID_TEXT, 0).decode("ascii", "replace").strip() or "unknown"
            raise Refused(
                f"another node (process {holder}) works on data folder {self.path}",
                "stop that one first, or use another --data-dir",
            ) from None
