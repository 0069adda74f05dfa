"""The three ways into the blob store: a batch, chunks of one blob, and a download that may take several attempts.

Knows files and hashes; must not know pins or quotas: `keep` takes what is written whole, `reserve` says whether there
is room. Until `keep` has a file, nothing of it can be read by anyone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import mkstemp
from types import TracebackType
from typing import Final, Protocol, Self

import attrs

from p2pwf.core.ids import Cid, blob_cid_from_digest
from p2pwf.errors import InternalError, RemoteError, StorageError
from p2pwf.store.disk import disk_errors, sync_files, write_all

CHUNK: Final = 1024 * 1024
"""Bytes copied at a time."""


@attrs.frozen(slots=True)
class Written:
    """A file that holds all of a blob, synced, under a name of no meaning yet."""

    cid: Cid
    size: int
    path: Path


class Readable(Protocol):
    """What a blob can be copied from: a file open for reading bytes."""

    def read(self, size: int, /) -> bytes | None:
        """Up to `size` bytes; none at the end."""

    def seek(self, offset: int, /) -> int:
        """Go to an offset."""


Keep = Callable[[Sequence[Written]], None]


class BlobWriter:
    """One blob that comes in chunks. Use as a context manager; left without `commit`, it keeps nothing."""

    def __init__(self, folder: Path, keep: Keep) -> None:
        self._folder = folder
        self._keep = keep
        self._digest = sha256()
        self._handle: int | None = None
        self.size = 0

    def __enter__(self) -> Self:
        self._handle, self._path = _new_file(self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            discard(self._path)

    def write(self, chunk: bytes) -> None:
        """Add to the blob; raises StorageError."""
        handle = self._opened()
        with disk_errors(self._path):
            write_all(handle, chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def commit(self, expected: Cid | None = None) -> Cid:
        """Hold the blob, durably; returns its CID. Raises RemoteError if that is not the `expected` one."""
        handle = self._opened()
        cid = blob_cid_from_digest(self._digest.digest())
        if expected is not None and cid != expected:
            raise RemoteError(f"what was received is not {expected}: it hashes to {cid}", "ask another peer for it")
        with disk_errors(self._path):
            os.fsync(handle)
        self._keep((Written(cid, self.size, self._path),))
        return cid

    def _opened(self) -> int:
        if self._handle is None:
            raise InternalError("a blob was written to outside its `with` block")
        return self._handle


class BlobBatch:
    """Many blobs that become durable together, when the `with` block is left without an error.

    All are written before the first is synced, so the file system can write them in one go.
    """

    def __init__(self, folder: Path, keep: Keep, held: Callable[[Cid], bool]) -> None:
        self._folder = folder
        self._keep = keep
        self._held = held
        self._written: dict[Cid, Written] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with disk_errors(self._folder):
                    sync_files([written.path for written in self._written.values()])
                self._keep(tuple(self._written.values()))
        finally:
            for written in self._written.values():
                discard(written.path)

    def put_bytes(self, content: bytes) -> Cid:
        """Add a blob; returns its CID."""
        return self.put_open(BytesIO(content))

    def put_file(self, path: Path) -> Cid:
        """Add a copy of the file at `path`; returns the CID of the bytes that were copied."""
        with disk_errors(path), path.open("rb", buffering=0) as source:
            return self.put_open(source)

    def put_open(self, source: Readable) -> Cid:
        """Add a copy of an open file, from its start; returns the CID of the bytes that were copied.

        What cannot be read raises OSError, what cannot be written StorageError.
        """
        digest = sha256()
        while chunk := source.read(CHUNK):
            digest.update(chunk)
        cid = blob_cid_from_digest(digest.digest())
        if cid in self._written or self._held(cid):
            return cid
        source.seek(0)
        written = self._copy(source)
        if written.cid in self._written:  # it changed under our hands, into another of this batch
            discard(written.path)
        else:
            self._written[written.cid] = written
        return written.cid

    def _copy(self, source: Readable) -> Written:
        handle, path = _new_file(self._folder)
        digest, size = sha256(), 0
        try:
            while chunk := source.read(CHUNK):
                with disk_errors(path):
                    write_all(handle, chunk)
                digest.update(chunk)
                size += len(chunk)
        except BaseException:
            discard(path)
            raise
        finally:
            os.close(handle)
        return Written(blob_cid_from_digest(digest.digest()), size, path)


class PartialBlob:
    """A download of one blob; `offset` is how many of its bytes are on disk. What is there survives a restart."""

    def __init__(
        self, path: Path, cid: Cid, keep: Keep, reserve: Callable[[int], None], release: Callable[[], None]
    ) -> None:
        self._path = path
        self._cid = cid
        self._keep = keep
        self._reserve = reserve
        self._release = release
        self._digest = sha256()
        self.offset = 0
        with disk_errors(path):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                while chunk := os.read(self._handle, CHUNK):
                    self._digest.update(chunk)
                    self.offset += len(chunk)
            except BaseException:
                os.close(self._handle)
                raise
        self._resumed = self.offset > 0
        self._open = True
        self._torn = False
        """Whether something of a chunk that was not taken may lie behind `offset`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, chunk: bytes) -> None:
        """Add the bytes at `offset`. Raises StorageError, also beyond the quota; then `offset` is as before."""
        self._reserve(len(chunk))
        with disk_errors(self._path):
            try:
                self._cut_back()
                self._torn = True
                write_all(self._handle, chunk)
                self._torn = False
            except OSError:
                self._reserve(-len(chunk))
                with suppress(OSError):  # at the next chunk, if not now
                    self._cut_back()
                raise
        self._digest.update(chunk)
        self.offset += len(chunk)

    def finish(self) -> Cid:
        """Hold the blob, durably, if it hashes to its CID; otherwise nothing of it is kept and the error says why.

        Raises RemoteError when all of it was received just now: the peer that sent it is wrong. Raises StorageError
        when a part of it came from the disk: that may be what is wrong, so nobody is blamed.
        """
        received = blob_cid_from_digest(self._digest.digest())
        if received != self._cid:
            self._reserve(-self.offset)
            with disk_errors(self._path):
                self._path.unlink(missing_ok=True)
            self.close()
            if self._resumed:
                raise StorageError(
                    f"the download of {self._cid}, gone on with from this disk, hashes to {received}",
                    "it was removed; the next attempt starts anew",
                )
            raise RemoteError(
                f"what was received is not {self._cid}: it hashes to {received}", "ask another peer for it"
            )
        with disk_errors(self._path):
            self._cut_back()
            os.fsync(self._handle)
        self._keep((Written(self._cid, self.offset, self._path),))
        self._reserve(-self.offset)
        self.close()
        return self._cid

    def _cut_back(self) -> None:
        if self._torn:
            os.ftruncate(self._handle, self.offset)
            os.lseek(self._handle, self.offset, os.SEEK_SET)
            self._torn = False

    def close(self) -> None:
        """Stop here; what was received stays for the next attempt. Calling it twice is fine."""
        if self._open:
            self._open = False
            os.close(self._handle)
            self._release()


def discard(path: Path) -> None:
    """Remove a file that nobody will ask for; what a failing disk does not let go of is swept at the next start."""
    with suppress(OSError):
        path.unlink()


def _new_file(folder: Path) -> tuple[int, Path]:
    with disk_errors(folder):
        handle, name = mkstemp(dir=folder)
    return handle, Path(name)
