"""What a backup of a data folder holds, and making one, from a node that runs or one that does not.

Knows the files of a data folder and the store's databases; must not know the network or the engine, so that a command
can do it alone. The format is protocols/store.md, "Backup".
Theory of operation. A database is copied through SQLite, in one read transaction: the copy is one moment of it, with
all that was acknowledged by then, whoever writes meanwhile. Blobs never change, so they are read as they lie; of them
only those that something pins, since the rest is cache. The manifest comes last and names everything, so an archive
that was cut off is known for one.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Self

import attrs

from p2pwf import __version__
from p2pwf.config import CONFIG_FILE
from p2pwf.core.ids import RAW_PREFIX, Cid, PeerId, parse_cid
from p2pwf.core.sign import Signer
from p2pwf.errors import NotFound, Refused, UsageError
from p2pwf.net.identity import FILE_BYTES, load
from p2pwf.node.facts import IDENTITY, NETWORK, PEER
from p2pwf.store import blobindex, events
from p2pwf.store.archive import CHUNK, ArchiveWriter, Written
from p2pwf.store.database import Format, open_database
from p2pwf.store.datadir import DataDir
from p2pwf.store.disk import disk_errors
from p2pwf.store.events import EventStore

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
EVENTS: Final = "events.db"
BLOB_INDEX: Final = "blobs/blobs.db"
MAX_CONFIG: Final = 1024 * 1024
MAX_MANIFEST: Final = 64 * 1024 * 1024
"""Bytes: some 200 for each file."""
MAX_FILES: Final = 250_000
"""Files of one backup: their names are held in memory, and in the manifest."""
MAX_SIZE: Final = 1 << 62
COPY_PAGES: Final = 2048
"""Pages of a database copied between two looks at how far it is."""

Progress = Callable[[int], None]
"""Is told of bytes that were dealt with."""


@attrs.frozen(slots=True)
class Backed:
    """What a backup holds. `left_out`: blobs that are damaged here, or were let go meanwhile."""

    peer: PeerId
    network: Cid
    events: int
    blobs: int
    left_out: int
    bytes: int


def most_bytes(name: str) -> int | None:
    """How large the file of a backup with this name may be; None if no backup has such a file."""
    fixed = {IDENTITY: FILE_BYTES, CONFIG_FILE: MAX_CONFIG, MANIFEST: MAX_MANIFEST}
    if name in fixed:
        return fixed[name]
    return MAX_SIZE if name in (EVENTS, BLOB_INDEX) or blob_of(name) is not None else None


def blob_of(name: str) -> Cid | None:
    """The blob whose file in a backup has this name."""
    folder, _, text = name.removeprefix("blobs/").partition("/")
    try:
        cid = parse_cid(text)
    except UsageError:
        return None
    return cid if name == blob_name(cid) and cid.startswith(RAW_PREFIX) and folder else None


def blob_name(cid: Cid) -> str:
    """The name of a blob's file, in a data folder as in a backup."""
    return f"blobs/{cid[len(RAW_PREFIX)]:02x}/{cid.text}"


class Backup:
    """A backup about to be written: the databases are copied, the rest is known. `total`: bytes that `write` reads."""

    def __init__(self, folder: Path, scratch: Path, *, running: bool, blobs: bool) -> None:
        """Copy the databases of `folder` into `scratch`; `running`: a node works there. `blobs` False: leave them out.

        Raises NotFound if no node was ever there, Refused, StorageError.
        """
        self._data = DataDir(folder)
        self._scratch = scratch
        if not self._data.events.exists():
            raise NotFound(f"no node has worked in {folder}", "name its data folder: --data-dir DIR, or P2P_DATA_DIR")
        self._copy(self._data.events, events.FORMAT, shared=running)
        with closing(EventStore.open(scratch / EVENTS, readonly=True)) as store:
            meta = store.meta_all()
            self._events = store.count()
        if NETWORK not in meta:
            raise Refused(f"the node of {folder} has not joined a network yet", "there is nothing to keep")
        self._network = Cid(meta[NETWORK])
        self._peer = _peer_of(folder, meta)
        self._blobs = self._pinned() if blobs else []
        if len(self._blobs) > MAX_FILES - 4:
            raise Refused(f"{len(self._blobs)} blobs are over {MAX_FILES}", "leave them out: --no-blobs")
        copies = [path for path in (scratch / EVENTS, scratch / BLOB_INDEX) if path.exists()]
        self.total = sum(path.stat().st_size for path in copies) + sum(size for _, size in self._blobs)

    def write(self, out: BinaryIO, progress: Progress) -> Backed:
        """Write the archive; raises StorageError or TryAgain, and then what was written has no end."""
        with ArchiveWriter(out) as archive:
            files, left_out = self._fill(archive, progress)
        held = sum(blob_of(name) is not None for name in files)
        return Backed(self._peer, self._network, self._events, held, left_out, sum(one.size for one in files.values()))

    def _fill(self, archive: ArchiveWriter, progress: Progress) -> tuple[dict[str, Written], int]:
        """Write all files and the manifest: what was written by name, and how many blobs were damaged or gone."""
        files: dict[str, Written] = {}
        left_out = 0
        for name, path in self._plain():
            with Source(path, progress) as source:
                files[name] = archive.add(name, source.size, source)
        for cid, _ in self._blobs:
            name = blob_name(cid)
            try:
                with Source(self._data.path / name, progress) as source:
                    if source.is_whole(cid):
                        files[name] = archive.add(name, source.size, source)
                    else:
                        left_out += 1
            except NotFound:
                left_out += 1
        manifest = json.dumps(
            {
                "backup": FORMAT,
                "made_by": __version__,
                "made_at": time.time_ns() // 1_000_000,
                "peer_id": self._peer,
                "network": self._network.text,
                "files": {name: [one.size, one.sha256] for name, one in files.items()},
            }
        ).encode()
        archive.add(MANIFEST, len(manifest), BytesIO(manifest))
        return files, left_out

    def _plain(self) -> Iterator[tuple[str, Path]]:
        """The files beside the blobs."""
        yield IDENTITY, self._data.path / IDENTITY
        yield EVENTS, self._scratch / EVENTS
        if (self._data.path / CONFIG_FILE).exists():
            yield CONFIG_FILE, self._data.path / CONFIG_FILE
        if self._blobs:
            yield BLOB_INDEX, self._scratch / BLOB_INDEX

    def _pinned(self) -> list[tuple[Cid, int]]:
        """(CID, size) of the blobs that something pins and that are here."""
        path = self._data.path / BLOB_INDEX
        if not path.exists():
            return []
        (self._scratch / BLOB_INDEX).parent.mkdir()
        # Whatever else is wrong with this index is no reason to have no backup: a node makes it anew.
        self._copy(path, blobindex.FORMAT, shared=True)
        copy = self._scratch / BLOB_INDEX
        with disk_errors(copy), closing(open_database(copy, blobindex.FORMAT, readonly=True)) as index:
            rows = index.execute(
                "SELECT cid, size FROM blob WHERE cid IN (SELECT cid FROM pin WHERE until IS NULL OR until > ?)",
                (time.time_ns() // 1_000_000,),
            ).fetchall()
        return [(Cid(cid), size) for cid, size in rows]

    def _copy(self, path: Path, form: Format, *, shared: bool) -> None:
        target = self._scratch / path.relative_to(self._data.path)
        with disk_errors(path), closing(open_database(path, form, readonly=True, shared=shared)) as source:
            # A transaction that is open already pins one moment of the database: others may write meanwhile.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with disk_errors(target), closing(sqlite3.connect(target)) as copy:
                source.backup(copy, pages=COPY_PAGES)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, whoever reads it


def _peer_of(folder: Path, meta: dict[str, bytes]) -> PeerId:
    """Whose folder this is; raises Refused if the key in it is another's, or is missing."""
    try:
        peer = Signer(load(folder / IDENTITY)).peer_id
    except FileNotFoundError:
        raise Refused(
            f"the identity {folder / IDENTITY} is missing", "a backup without it would be of nobody"
        ) from None
    owner = meta.get(PEER, peer.encode()).decode()
    if owner != peer:
        raise Refused(f"{folder / IDENTITY} is the key of {peer}, and the events beside it are those of {owner}")
    return peer


class Source:
    """A file to be read into a backup, telling of what is read; errors of the disk are told as such, and as of here."""

    def __init__(self, path: Path, progress: Progress = lambda _: None) -> None:
        """Raises NotFound, StorageError."""
        self._path = path
        self._progress = progress
        with disk_errors(path):
            try:
                self._file = path.open("rb")
            except FileNotFoundError:
                raise NotFound(f"{path} is gone") from None
            self.size = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """Up to so many bytes."""
        with disk_errors(self._path):
            found = self._file.read(size)
        self._progress(len(found))
        return found

    def is_whole(self, cid: Cid) -> bool:
        """Whether the content hashes to a CID; then it can be read from its start."""
        digest = sha256()
        with disk_errors(self._path):
            while chunk := self._file.read(CHUNK):
                digest.update(chunk)
            self._file.seek(0)
        return digest.digest() == cid[len(RAW_PREFIX) :]
