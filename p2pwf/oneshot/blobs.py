"""Blobs in a folder that is gone after the run: what sources, artifacts and caches are made of meanwhile.

Unlike a node's store it syncs nothing and counts no uses. Other folders may stand behind it (`add`): a cache that is
restored is read where it lies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from p2pwf.core.ids import Cid, blob_cid, blob_cid_from_digest
from p2pwf.errors import NotFound, StorageError

CHUNK: Final = 1024 * 1024


class FolderBlobs:
    """Blobs as files named by their CIDs. It is its own batch: see `runner.source.Blobs`. Any thread may call it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._behind: list[Path] = []
        self._number = iter(range(1 << 62))

    @contextmanager
    def batch(self) -> Iterator[FolderBlobs]:
        """Many blobs; nothing is undone here, because the whole folder goes with the run."""
        try:
            self.root.mkdir(mode=0o700, exist_ok=True)
            yield self
        except OSError as error:
            raise _refused(self.root, error) from error

    def put_bytes(self, content: bytes) -> Cid:
        """Add a blob."""
        cid = blob_cid(content)
        path = self.root / cid.text
        if not path.exists():
            partial = self._partial()
            partial.write_bytes(content)
            partial.replace(path)
        return cid

    def put_open(self, source: BinaryIO) -> Cid:
        """Add a copy of an open file, read from where it stands."""
        digest = sha256()
        partial = self._partial()
        with partial.open("xb", buffering=0) as file:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                file.write(chunk)
        cid = blob_cid_from_digest(digest.digest())
        partial.replace(self.root / cid.text)
        return cid

    def _partial(self) -> Path:
        return self.root / f"partial-{next(self._number)}"

    def add(self, folder: Path) -> None:
        """Look for blobs in this folder as well."""
        if folder not in self._behind:
            self._behind.append(folder)

    def path(self, cid: Cid) -> Path:
        """Where a blob lies; raises NotFound."""
        for folder in (self.root, *self._behind):
            path = folder / cid.text
            if path.exists():
                return path
        raise NotFound(f"no blob {cid}", "run the workflow again")

    def copy(self, cids: Iterable[Cid], into: Path) -> None:
        """Give these blobs to another folder, without a copy where one file can have two names. Raises StorageError."""
        for cid in cids:
            source, target = self.path(cid), into / cid.text
            if target.exists():
                continue
            try:
                with suppress(OSError):
                    os.link(source, target)
                    continue
                shutil.copyfile(source, target)
            except OSError as error:
                raise _refused(into, error) from error


def _refused(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot write to {folder}: {error.strerror or error}", "make room there, then run it again")
