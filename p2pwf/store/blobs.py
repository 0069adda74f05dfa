"""Blobs by content: a blob is held under the CID of its bytes, or it is not held.

Knows files, CIDs and pins; must not know what a blob means or where it comes from. The format is protocols/store.md.
Theory of operation. A blob is written under another name, hashed on its way, synced, and only then renamed to its
CID, so a file under a CID is whole. The files are the truth; the index beside them says when each was last used and
who pinned it. Space: pinned blobs stay; all else is a cache, which `collect` cuts down to the quota, least recently
used first.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from p2pwf.core.ids import Cid
from p2pwf.errors import NotFound, StorageError, TryAgain
from p2pwf.store.blobfiles import BlobFiles
from p2pwf.store.blobindex import BlobIndex
from p2pwf.store.blobwriters import BlobBatch, BlobWriter, PartialBlob, Written
from p2pwf.store.disk import DamagedFile, disk_errors, sync_files

GRACE_MS: Final = 10 * 60 * 1000
"""A blob used this recently is never collected: who put or opened it has the time to pin or to read it."""
LEFTOVER_MS: Final = 24 * 3600 * 1000
"""Partial downloads that nobody went on with, and blobs that were set aside, are removed after this long."""
USES_HELD: Final = 1024
"""Last uses kept in memory before they are written down: reading a blob should not write to the disk each time."""
EVICT_ROWS: Final = 1024
"""Blobs asked of the index at a time while making room."""
ROOM_SHARE: Final = 16
"""Making room for a download frees this part of the quota at once, so that the next chunk needs no new search."""


@attrs.frozen(slots=True)
class Collected:
    """What was removed to make room."""

    blobs: int
    bytes: int


def wall_clock_ms() -> int:
    """The wall clock, in ms."""
    return time.time_ns() // 1_000_000


class BlobStore:
    """The blobs of a node under one folder, which is made. Any thread may call it.

    `quota_bytes` bounds what is kept beside pinned blobs, and what `partial` takes in from peers; what this node
    itself puts is stored as long as the disk takes it. `clock` gives the wall clock in ms.
    Every method raises StorageError when the disk is full or fails; nothing of a new blob is kept then.
    """

    def __init__(self, root: Path, quota_bytes: int, *, clock: Callable[[], int] = wall_clock_ms) -> None:
        self._quota = quota_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._uses: dict[Cid, int] = {}
        self._uses_lost = 0
        self._downloads: set[Cid] = set()
        self._unsynced: set[Cid] = set()
        """Blobs whose names a power cut may still take: who puts one of them again does not find it held."""
        self._evicted = Collected(0, 0)
        self._files = BlobFiles(root)
        self._index = BlobIndex(root / "blobs.db")
        try:
            self._total = self._index.reconcile(dict(self._files.scan()))
            with disk_errors(self._files.partial):
                self._partial_total = sum(path.stat().st_size for path in self._files.partial.iterdir())
        except BaseException:
            self._index.close()
            raise

    def put_bytes(self, content: bytes) -> Cid:
        """Hold `content`, durably; returns its CID."""
        with self.batch() as batch:
            return batch.put_bytes(content)

    def put_file(self, path: Path) -> Cid:
        """Hold a copy of the file at `path`, durably; returns the CID of the bytes that were copied."""
        with self.batch() as batch:
            return batch.put_file(path)

    def batch(self) -> BlobBatch:
        """A context manager with put_bytes and put_file: all of its blobs are durable once it is left.

        Many small blobs cost one wait for the disk, not one each. Left with an error, it keeps nothing.
        """
        return BlobBatch(self._files.temporary, self._keep, self._held)

    def writer(self) -> BlobWriter:
        """A context manager to hold a blob that comes in chunks; without a `commit` it keeps nothing."""
        return BlobWriter(self._files.temporary, self._keep)

    def partial(self, cid: Cid) -> PartialBlob:
        """Go on with, or start, a download of `cid`: what was received stays on disk until it is whole.

        Raises TryAgain while another download of the same blob is open.
        """
        path = self._files.partial / self._files.path(cid).name
        with self._lock:
            if cid in self._downloads:
                raise TryAgain(f"blob {cid} is being downloaded already")
            self._downloads.add(cid)
        try:
            return PartialBlob(path, cid, self._keep, self._reserve, lambda: self._downloads.discard(cid))
        except BaseException:
            self._downloads.discard(cid)
            raise

    def has(self, cid: Cid) -> bool:
        """Whether the blob is held."""
        return self.size(cid) is not None

    def size(self, cid: Cid) -> int | None:
        """The size of the blob in bytes; None if it is not held."""
        return self._files.size(cid)

    def open(self, cid: Cid) -> BinaryIO:
        """The blob, hashed just now, as an open file at its start.

        Raises NotFound if it is not held, StorageError if it is damaged: then it is set aside and counts as absent.
        """
        return self._verified(cid, again=True)

    def read_range(self, cid: Cid, offset: int, length: int) -> bytes:
        """Up to `length` bytes of the blob from `offset`, fewer at its end. Raises as `open` does.

        The file is hashed before its first range is read, and again when it changed on disk.
        """
        with self._verified(cid, again=False) as file, disk_errors(self._files.path(cid)):
            return os.pread(file.fileno(), length, offset)

    def path(self, cid: Cid) -> Path:
        """The file of the blob, to read only; it stays for GRACE_MS at least. Raises as `open` does."""
        self._verified(cid, again=False).close()
        return self._files.path(cid)

    def pin(self, cid: Cid, owner: str, until_ms: int | None) -> None:
        """Keep a blob, held already or not, for `owner` until a wall-clock time in ms (None: until unpinned)."""
        self.pin_all((cid,), owner, until_ms)

    def pin_all(self, cids: Iterable[Cid], owner: str, until_ms: int | None) -> None:
        """Keep blobs as `pin` does; the pins are durable, all of them, when this returns."""
        with self._lock:
            self._index.pin(cids, owner, until_ms)

    def extend_pins(self, cids: Iterable[Cid], owner: str, until_ms: int) -> None:
        """Let the pins that `owner` has on blobs last until a wall-clock time in ms at least; durable when it returns.

        What `owner` has not pinned is not pinned by this.
        """
        with self._lock:
            self._index.extend(cids, owner, until_ms)

    def pinned_bytes(self, owner: str, *, prefix: bool = False) -> int:
        """Bytes on disk of the blobs that `owner` pins, or with `prefix` all owners whose names begin so.

        Each blob counts once, with 4 KiB at least. Cost: linear in the pins of the owners.
        """
        with self._lock:
            return self._index.pinned(owner, prefix)

    def unpin_owner(self, owner: str) -> int:
        """Drop every pin of `owner`; returns how many there were. What nobody else pins becomes cache."""
        with self._lock:
            return self._index.unpin(owner)

    def collect(self, now_ms: int) -> Collected:
        """Remove blobs whose last pin ran out, then, down to the quota, unpinned ones, least recently used first.

        Blobs used within GRACE_MS stay. Old partial downloads and blobs that were set aside go too.
        """
        with self._lock:
            self._flush_uses()
            expired = self._remove(self._index.expired(now_ms, now_ms - GRACE_MS))
            self._index.drop_expired(now_ms)
            self._sweep(now_ms - LEFTOVER_MS)
            evicted = self._evict(now_ms, self._quota)
            return Collected(expired.blobs + evicted.blobs, expired.bytes + evicted.bytes)

    def statistics(self) -> dict[str, int]:
        """What is held (blobs, pins, bytes, bytes of partial downloads, the quota) and what happened since the start:

        blobs and bytes evicted, blobs found damaged, last uses that could not be written, pins made for a lost index.
        """
        with self._lock:
            blobs, pins = self._index.counts()
            return {
                "blobs": blobs,
                "pins": pins,
                "bytes": self._total,
                "partial_bytes": self._partial_total,
                "quota_bytes": self._quota,
                "evicted": self._evicted.blobs,
                "evicted_bytes": self._evicted.bytes,
                "damaged": self._files.damaged,
                "uses_lost": self._uses_lost,
                "recovered_pins": self._index.recovered,
            }

    def close(self) -> None:
        """Write the last uses down and close the index; calling it twice is fine."""
        with self._lock:
            self._flush_uses()
            self._index.close()

    def _held(self, cid: Cid) -> bool:
        """Whether a blob that is to be put is held already, whole."""
        if not self.has(cid) or cid in self._unsynced:
            return False
        try:
            self._verified(cid, again=False).close()
        except (DamagedFile, NotFound):
            return False
        with self._lock:  # its use is noted by now: if no collection came first, none will take it
            return self.has(cid)

    def _verified(self, cid: Cid, *, again: bool) -> BinaryIO:
        try:
            file = self._files.open(cid, again=again)
        except DamagedFile:
            with self._lock:
                self._forget(cid)
            raise
        with self._lock:
            self._uses[cid] = self._clock()
            if len(self._uses) >= USES_HELD:
                self._flush_uses()
        return file

    def _keep(self, written: Sequence[Written]) -> None:
        """Give files that are written and synced their names, durably."""
        now = self._clock()
        kept: list[tuple[Cid, int, int]] = []
        folders: set[Path] = set()
        with self._lock:
            try:
                for blob in written:
                    path = self._files.path(blob.cid)
                    with disk_errors(path):
                        if self._files.size(blob.cid) is None:
                            self._total += blob.size
                        self._unsynced.add(blob.cid)
                        self._files.adopt(blob.path, blob.cid)
                    folders.add(path.parent)
                    kept.append((blob.cid, blob.size, now))
            finally:
                self._index.add(kept)
        with disk_errors(self._files.root):
            sync_files(sorted(folders), os.O_DIRECTORY)
        with self._lock:
            self._unsynced.difference_update(blob.cid for blob in written)

    def _reserve(self, size: int) -> None:
        """Count `size` more bytes of partial downloads (less, if negative); raises StorageError beyond the quota."""
        with self._lock:
            if size > 0 and self._total + self._partial_total + size > self._quota:
                self._flush_uses()
                self._evict(self._clock(), self._quota - size - self._quota // ROOM_SHARE)
                if self._total + self._partial_total + size > self._quota:
                    raise StorageError(
                        f"no room for a download: the quota of {self._quota} bytes is used up by blobs that are kept",
                        "raise the quota for blobs, or remove runs that are no longer needed",
                    )
            self._partial_total += size

    def _evict(self, now: int, target: int) -> Collected:
        """Remove unpinned blobs, least recently used first, until no more than `target` bytes are held."""
        blobs = freed = 0
        while (over := self._total + self._partial_total - target) > 0:
            victims: list[tuple[Cid, int]] = []
            for cid, size in self._index.least_used(now - GRACE_MS, EVICT_ROWS):
                if over <= 0:
                    break
                victims.append((cid, size))
                over -= size
            if not victims:
                break
            removed = self._remove(victims)
            blobs, freed = blobs + removed.blobs, freed + removed.bytes
        return Collected(blobs, freed)

    def _remove(self, blobs: Sequence[tuple[Cid, int]]) -> Collected:
        # Files first: on a full disk the index cannot be written until they have made room.
        sizes = [size for cid, size in blobs if self._files.remove(cid)]
        gone = Collected(len(sizes), sum(sizes))
        self._total -= gone.bytes
        self._evicted = Collected(self._evicted.blobs + gone.blobs, self._evicted.bytes + gone.bytes)
        self._index.remove(cid for cid, _ in blobs)
        return gone

    def _forget(self, cid: Cid) -> None:
        self._uses.pop(cid, None)
        self._total -= self._index.size(cid)
        self._index.remove((cid,))

    def _sweep(self, before: int) -> None:
        with disk_errors(self._files.root):
            busy = {self._files.path(cid).name for cid in self._downloads}
            for folder in (self._files.partial, self._files.aside):
                for path in folder.iterdir():
                    stat = path.stat()
                    if stat.st_mtime_ns // 1_000_000 < before and path.name not in busy:
                        path.unlink()
                        if folder == self._files.partial:
                            self._partial_total -= stat.st_size

    def _flush_uses(self) -> None:
        uses, self._uses = self._uses, {}
        try:
            self._index.touch(uses)
        except StorageError:  # a full disk; what it costs is the order of eviction
            self._uses_lost += len(uses)
