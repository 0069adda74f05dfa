"""The files of blobs: where each lies, and that what is read is what its name says.

Knows file names and hashes; must not know sizes to keep, pins or times of use. The format is protocols/store.md.
A file is hashed before it is read from, once for as long as it does not change on disk (inode, size, times); one that
does not hash to its name is moved aside, so that the blob counts as absent and can be fetched again.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from p2pwf.core.ids import RAW_PREFIX, Cid, parse_cid
from p2pwf.errors import NotFound, UsageError
from p2pwf.store.disk import DamagedFile, disk_errors, sync_folder

CHUNK: Final = 1024 * 1024
"""Bytes hashed at a time."""
CHECKED_FILES: Final = 16_384
"""Files remembered as hashed in this process: more than one source tree holds; about 4 MB."""
BLOB_MODE: Final = 0o400
"""A blob never changes once it has its name."""
FOLDERS: Final = tuple(f"{number:02x}" for number in range(256))
"""Blobs are spread by the first byte of their digest, so that no folder grows too large to list."""

_Stamp = tuple[int, int, int, int]


class BlobFiles:
    """The folder of blobs. Any thread may call it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.temporary = root / "tmp"
        self.partial = root / "partial"
        self.aside = root / "damaged"
        self.damaged = 0
        self._checked: OrderedDict[Cid, _Stamp] = OrderedDict()
        self._lock = threading.Lock()
        with disk_errors(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.temporary, self.partial, self.aside, *(root / name for name in FOLDERS)):
                folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(root)
            for leftover in self.temporary.iterdir():
                leftover.unlink()

    def path(self, cid: Cid) -> Path:
        """Where the blob lies if it is held; raises UsageError for the CID of an event."""
        if not cid.startswith(RAW_PREFIX):
            raise UsageError(f"not the CID of a blob: {cid}")
        return self.root / FOLDERS[cid[len(RAW_PREFIX)]] / cid.text

    def size(self, cid: Cid) -> int | None:
        """The size of the blob in bytes; None if it is not held."""
        path = self.path(cid)
        with disk_errors(path):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                return None

    def scan(self) -> Iterator[tuple[Cid, tuple[int, int]]]:
        """Every blob as (CID, (size, last change in ms)); a file that is not named as a blob is passed over."""
        for name in FOLDERS:
            with disk_errors(self.root / name), os.scandir(self.root / name) as entries:
                for entry in entries:
                    try:
                        cid = parse_cid(entry.name)
                    except UsageError:
                        continue
                    stat = entry.stat(follow_symlinks=False)
                    yield cid, (stat.st_size, stat.st_mtime_ns // 1_000_000)

    def adopt(self, written: Path, cid: Cid) -> None:
        """Give a file that is written, hashed and synced its name; the caller syncs the folder."""
        path = self.path(cid)
        written.replace(path)
        path.chmod(BLOB_MODE)

    def remove(self, cid: Cid) -> bool:
        """Remove the blob's file; readers that have it open read on. Returns whether it was there."""
        path = self.path(cid)
        with self._lock:
            self._checked.pop(cid, None)
        with disk_errors(path):
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            return True

    def open(self, cid: Cid, *, again: bool) -> BinaryIO:
        """The blob as an open file at its start, found to hash to its CID; `again` hashes it whatever is remembered.

        Raises NotFound if it is not held, DamagedFile if it is not what it was: then it has been moved aside.
        """
        path = self.path(cid)
        with disk_errors(path):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                raise NotFound(f"blob {cid} is not held here", "ask another peer for it") from None
            try:
                stamp = _stamp(file)
                with self._lock:
                    known = self._checked.get(cid) == stamp
                if again or not known:
                    self._check(file, cid, stamp)
                file.seek(0)
            except BaseException:
                file.close()
                raise
            return file

    def _check(self, file: BinaryIO, cid: Cid, stamp: _Stamp) -> None:
        digest = sha256()
        try:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        except OSError as error:
            if error.errno != errno.EIO:  # a sector that cannot be read is damage, anything else is trouble
                raise
            self._set_aside(cid, "the disk cannot read it")
        if digest.digest() != cid[len(RAW_PREFIX) :]:
            self._set_aside(cid, "its content does not hash to its name")
        with self._lock:
            self._checked[cid] = stamp
            self._checked.move_to_end(cid)
            while len(self._checked) > CHECKED_FILES:
                self._checked.popitem(last=False)

    def _set_aside(self, cid: Cid, what: str) -> None:
        with self._lock:
            self.damaged += 1
            self._checked.pop(cid, None)
        self.path(cid).replace(self.aside / cid.text)
        raise DamagedFile(
            f"blob {cid} is damaged: {what}", "it was set aside and counts as absent: it can be fetched or stored again"
        )


def _stamp(file: BinaryIO) -> _Stamp:
    stat = os.fstat(file.fileno())
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
