"""The identity of a node: one file with its Ed25519 key, that nobody else may read. Knows no libp2p, and is cheap.

The file holds a private key as libp2p writes it (protobuf: type Ed25519, then 64 bytes of seed and public key), so
other tools of that world can read it. Source: the libp2p peer-ids specification, "Keys".
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from nacl.signing import SigningKey

from p2pwf.errors import Refused, StorageError

HEADER = bytes((0x08, 0x01, 0x12, 0x40))
SEED_BYTES = 32
FILE_BYTES = len(HEADER) + 2 * SEED_BYTES


def load_or_create(path: Path) -> bytes:
    """The 32-byte seed in the file at `path`, which is made (mode 0600) if it is not there.

    Raises Refused if the file is a link, is another user's, can be read by others, or holds no Ed25519 key: nothing is
    changed then. Raises StorageError if the disk fails.
    """
    try:
        return load(path)
    except FileNotFoundError:
        pass
    try:
        _create(path)
    except FileExistsError:
        pass  # another start of this node was quicker: its key is the key
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}", "make room, or choose another --data-dir"
        ) from error
    return load(path)


def load(path: Path) -> bytes:
    """The 32-byte seed in the file at `path`; raises FileNotFoundError, or Refused as `load_or_create` does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Refused(
            f"cannot use the identity {path}: {error.strerror}", "it has to be a plain file of yours"
        ) from error
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
            raise Refused(f"the identity {path} is not a plain file of yours", "check who made it")
        if stat.S_IMODE(about.st_mode) & 0o077:
            raise Refused(f"the identity {path} can be read by others", f"chmod 600 {path}, if you trust who could")
        data = os.read(handle, FILE_BYTES + 1)
    finally:
        os.close(handle)
    seed = data[len(HEADER) : len(HEADER) + SEED_BYTES]
    if len(data) != FILE_BYTES or data != _file_of(seed):
        raise Refused(
            f"the identity {path} holds no Ed25519 key", "restore it from a copy; without it the node is another"
        )
    return seed


def _create(path: Path) -> None:
    # Written aside and linked into place: a crash leaves no half key, and an existing file is never replaced.
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_file_of(os.urandom(SEED_BYTES)))
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path, follow_symlinks=False)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _file_of(seed: bytes) -> bytes:
    return HEADER + seed + bytes(SigningKey(seed).verify_key)
