"""The Unix socket that the control API is served on: where it lies, who may connect. Knows nothing of HTTP.

The folder around the socket (0700) is the guard; the socket's mode and the caller's uid are looked at as well.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from p2pwf.errors import Refused, StorageError
from p2pwf.places import SOCKET_NAME, SOCKET_NOTE, fits_socket

BACKLOG: Final = 256
"""Connections that may wait to be accepted: as many as are served at a time. Beyond, a Unix socket refuses at once."""
PRIVATE: Final = 0o700
_LOCAL_PEERCRED: Final = 1
"""macOS: option of level 0 that gives a struct xucred."""


@contextmanager
def bound_socket(folder: Path) -> Iterator[tuple[socket.socket, Path]]:
    """A listening socket for the node of data folder `folder`, and its path; both are gone afterwards.

    The caller holds the folder's lock, so that a socket found there is one that a killed node left, and is replaced;
    a symbolic link in its place is removed, never followed. Raises Refused, StorageError.
    """
    path = folder / SOCKET_NAME
    note = folder / SOCKET_NOTE
    try:
        _private(folder)
        _clear(note)
        if not fits_socket(path):
            path = _fallback(folder)
            _write_note(note, path)
        _clear(path)
        listener = _bind(path)
    except OSError as error:
        raise StorageError(
            f"cannot make the control socket {path}: {os.strerror(error.errno or 0)}", "use another --data-dir"
        ) from error
    inode = path.lstat().st_ino
    try:
        yield listener, path
    finally:
        listener.close()
        with suppress(OSError):
            if path.lstat().st_ino == inode:
                path.unlink()
            if path.parent != folder:
                note.unlink()
                path.parent.rmdir()


def _private(folder: Path) -> None:
    """Check that only this user reaches what lies in a folder."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) and not (stat.S_ISLNK(found.st_mode) and folder.is_dir()):
        raise Refused(f"{folder} is not a folder", "use another --data-dir")
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise Refused(f"{folder} belongs to another user", "use another --data-dir")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(PRIVATE)


def _fallback(folder: Path) -> Path:
    """The socket's path where the data folder's own is too long: in a folder of this user, named by a hash."""
    digest = sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir() and Path(runtime).stat().st_uid == os.geteuid():
        place = Path(runtime) / f"p2pwf-{digest}"
        if fits_socket(place / SOCKET_NAME):
            return _own_folder(place) / SOCKET_NAME
    return _own_folder(Path(f"/tmp/p2pwf-{os.geteuid()}-{digest}")) / SOCKET_NAME  # noqa: S108 - checked below


def _own_folder(place: Path) -> Path:
    """Make a folder, or take it if it is a real one of ours: in a shared place someone may have been there first."""
    with suppress(FileExistsError):
        place.mkdir(mode=PRIVATE)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Refused(f"{place} is not a folder of this user", "use a --data-dir with a shorter path")
    place.chmod(PRIVATE)
    return place


def _write_note(note: Path, path: Path) -> None:
    handle = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(os.fsencode(path) + b"\n")


def _clear(path: Path) -> None:
    """Remove what a killed node left, or a link; anything else is somebody's, and stays."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(mode) or stat.S_ISLNK(mode) or (path.name == SOCKET_NOTE and stat.S_ISREG(mode)):
        path.unlink()
        return
    raise Refused(f"{path} is in the way of the control socket", "move it away, or use another --data-dir")


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class HasOptions(Protocol):
    """A socket, plain or trio's."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """An option's bytes."""


def peer_uid(connection: HasOptions) -> int | None:
    """The user at the other end of a Unix socket, from the kernel; None where the system does not say."""
    try:
        if sys.platform == "darwin":
            version, uid = struct.unpack("=Ii", connection.getsockopt(0, _LOCAL_PEERCRED, 76)[:8])
            return uid if version == 0 else None
        size = struct.calcsize("=iii")
        _, uid, _ = struct.unpack("=iii", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    except OSError as error:
        if error.errno in (errno.ENOPROTOOPT, errno.EINVAL, errno.ENOTCONN):
            return None
        raise
    return int(uid)
