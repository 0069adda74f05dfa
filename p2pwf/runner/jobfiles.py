"""Files where a job may have put anything: read, written, copied and removed so that nothing planted can stall the
runner. Knows paths and descriptors; standard library only.

A job changes its folders while the runner looks at them: what was a file a moment ago is a pipe that nobody writes to,
or a folder a thousand deep. So no path is asked what it is and then opened: a file is opened without waiting for
anybody, and then asked. Folders are walked without recursion, and removed by one open descriptor at a time, however
deep they are. Where a path may lead is not decided here: `hand` has no more rights than the job.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

PATIENCE_S: Final = 600.0
"""How long a removal may take: somebody may make as fast as the runner removes."""
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NONE: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR))
"""There is no file at a path: nothing, a link in a circle, a socket."""


def open_file(path: Path) -> BinaryIO | None:
    """Open a regular file to read, through links; None if there is none at the path, but perhaps something else.

    Never waits. Raises OSError for a file that cannot be opened.
    """
    try:
        handle = os.open(path, _READ)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    return os.fdopen(handle, "rb")


def read_file(path: Path, bound: int) -> bytes | None:
    """Up to `bound` bytes of a regular file, None if there is none; raises OSError as `open_file`."""
    file = open_file(path)
    if file is None:
        return None
    with file:
        return file.read(bound)


def write_file(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Make a file in place of whatever has the path, unless that is a folder; raises OSError.

    `mode`: its permissions, whatever this process's umask is; None: as that has them.
    """
    with suppress(FileNotFoundError):
        path.unlink()
    with os.fdopen(os.open(path, _MAKE, 0o666), "wb") as file:
        file.write(data)
        if mode is not None:
            os.fchmod(file.fileno(), mode)


def copy_file(source: Path, target: Path) -> None:
    """Make a copy of a regular file where nothing is yet, with its mode and its time; raises OSError."""
    file = open_file(source)
    if file is None:
        raise FileNotFoundError(errno.ENOENT, "not a file", str(source))
    with file, os.fdopen(os.open(target, _MAKE, 0o600), "wb") as copy:
        shutil.copyfileobj(file, copy)
        found = os.fstat(file.fileno())
        os.fchmod(copy.fileno(), stat.S_IMODE(found.st_mode) & 0o777)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """All that is below a folder, each folder before what it holds; links are not followed.

    Raises OSError for a folder that cannot be read, which one with a longer path than the system takes is.
    """
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                yield entry


def remove(path: str | Path, *, dir_fd: int | None = None) -> None:
    """Remove what has a path: a file, a link (not what it leads to), or a folder with all in it, also where that lacks
    permissions. Nothing there is fine. Raises OSError if something of it stays."""
    try:
        return os.unlink(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    except (IsADirectoryError, PermissionError):  # the latter is what macOS says of a folder
        pass
    top = _open_folder(path, dir_fd)
    try:
        _empty(top)
    finally:
        os.close(top)
    return os.rmdir(path, dir_fd=dir_fd)


def remove_tree(root: Path) -> None:
    """The same for what nobody needs any more: what cannot be removed stays."""
    with suppress(OSError):
        remove(root)


def _empty(top: int) -> None:
    """Remove what is in an open folder, as far as it goes. Goes down and up one name at a time, so neither the depth
    nor the length of paths matters; what is moved away meanwhile is not followed. Raises OSError."""
    deadline = time.monotonic() + PATIENCE_S
    above: list[tuple[tuple[int, int], str, list[str]]] = []
    here = os.dup(top)
    try:
        folders = _unlink_files(here)
        while folders or above:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "it is filled as fast as it is emptied")
            if folders:
                name = folders.pop()
                with suppress(OSError):
                    os.rmdir(name, dir_fd=here)
                    continue
                with suppress(OSError):
                    inner = _open_folder(name, here)
                    above.append((_identity(here), name, folders))
                    os.close(here)
                    here, folders = inner, []
                    folders = _unlink_files(here)
            else:
                identity, name, folders = above.pop()
                outer = os.open("..", _FOLDER, dir_fd=here)
                os.close(here)
                here = outer
                if _identity(here) != identity:
                    raise OSError(errno.ESTALE, "a folder was moved while it was removed")
                with suppress(OSError):  # what is left in it keeps all above it as well
                    os.rmdir(name, dir_fd=here)
    finally:
        os.close(here)


def _unlink_files(folder: int) -> list[str]:
    """Remove the files of an open folder; the names of the folders in it."""
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                with suppress(OSError):
                    os.unlink(entry.name, dir_fd=folder)
    return folders


def _open_folder(name: str | Path, dir_fd: int | None) -> int:
    """Open a folder, and never what a link leads to, with the permissions to take out what is in it."""
    try:
        handle = os.open(name, _FOLDER, dir_fd=dir_fd)
    except PermissionError:
        _permit(name, dir_fd)
        handle = os.open(name, _FOLDER, dir_fd=dir_fd)
    if os.fstat(handle).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        with suppress(OSError):  # of another user: those of a group or of all may do
            os.fchmod(handle, stat.S_IRWXU)
    return handle


def _permit(name: str | Path, dir_fd: int | None) -> None:
    place = os.open(name, _PLACE, dir_fd=dir_fd)
    try:
        os.chmod(f"/proc/self/fd/{place}", stat.S_IRWXU)  # noqa: PTH101 - this way it cannot be another one
    finally:
        os.close(place)


def _identity(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino
