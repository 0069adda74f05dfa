"""Write the files of a manifest into a folder, with distrust. Disk only: blocks, and knows no trio.

Theory of operation. The manifest came from another peer, and the folder may hold what a job put there. So no path is
trusted to stay inside: folders are opened one name at a time without following links, files are made anew in them,
and links come last. What is written is hashed on its way, so what stands there is what the manifest names.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Final, cast

from p2pwf.core.ids import Cid, blob_cid, blob_cid_from_digest
from p2pwf.errors import StorageError
from p2pwf.runner.jobfiles import remove
from p2pwf.runner.manifest import LINK, MAX_MANIFEST, PROGRAM, ManifestError, SourceFile

CHUNK: Final = 1024 * 1024
FOLDER_MODE: Final = 0o755
FILE_MODE: Final = 0o644
PROGRAM_MODE: Final = 0o755

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read_manifest(path: Path, cid: Cid) -> bytes:
    """The bytes of a manifest in a file; raises ManifestError or StorageError if they are not those of `cid`."""
    with _disk_errors(path), path.open("rb") as file:
        block = file.read(MAX_MANIFEST + 1)
    if len(block) > MAX_MANIFEST:
        raise ManifestError(f"source manifest {cid} is over {MAX_MANIFEST} bytes")
    if blob_cid(block) != cid:
        raise StorageError(f"source manifest {cid} is damaged on its way to this job", "run the job again")
    return block


def make_root(dest: Path) -> None:
    """Make the folder that a tree goes into; raises StorageError."""
    with _disk_errors(dest):
        dest.mkdir(FOLDER_MODE, parents=True, exist_ok=True)


def links_last(files: Iterable[SourceFile]) -> list[SourceFile]:
    """Files in the order in which they are written."""
    return sorted(files, key=lambda file: file.mode == LINK)


def write(dest: Path, files: Sequence[SourceFile], held: Mapping[Cid, Path]) -> None:
    """Make these files below `dest`, whose contents are the files `held`; blocks. Raises StorageError."""
    with _disk_errors(dest):
        root = os.open(dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder, inside in groupby(files, key=lambda file: file.path.rpartition("/")[0]):
            with _disk_errors(dest / folder), _folder(root, folder) as handle:
                for file in inside:
                    name = file.path.rpartition("/")[2]
                    if file.mode == LINK:
                        remove(name, dir_fd=handle)
                        os.symlink(cast(str, file.target), name, dir_fd=handle)
                    else:
                        _copy(handle, name, file, held[cast(Cid, file.cid)])
    finally:
        os.close(root)


@contextmanager
def _folder(root: int, path: str) -> Iterator[int]:
    """The folder at `path` below the open folder `root`, made where it is missing, never reached through a link."""
    handle = os.dup(root)
    try:
        for name in path.split("/") if path else ():
            try:
                below = _enter(handle, name)
            finally:
                os.close(handle)
                handle = -1
            handle = below
        yield handle
    finally:
        if handle >= 0:
            os.close(handle)


def _enter(folder: int, name: str) -> int:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        os.mkdir(name, FOLDER_MODE, dir_fd=folder)
    else:
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=folder)
            os.mkdir(name, FOLDER_MODE, dir_fd=folder)
    return os.open(name, _FOLDER_FLAGS, dir_fd=folder)


def _copy(folder: int, name: str, file: SourceFile, blob: Path) -> None:
    """Make one file; it has the right mode whatever this process's umask is."""
    remove(name, dir_fd=folder)
    digest, size = sha256(), 0
    with blob.open("rb", buffering=0) as source:
        handle = os.open(name, _FILE_FLAGS, FILE_MODE, dir_fd=folder)
        with os.fdopen(handle, "wb") as copy:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                copy.write(chunk)
            os.fchmod(copy.fileno(), PROGRAM_MODE if file.mode == PROGRAM else FILE_MODE)
    if size != file.size or blob_cid_from_digest(digest.digest()) != file.cid:
        os.unlink(name, dir_fd=folder)
        raise StorageError(f"{file.path!r} of the source is not what its manifest names", "run the job again")


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"the source cannot be laid out at {path}: {reason}", "see to the disk, then rerun"
        ) from error
