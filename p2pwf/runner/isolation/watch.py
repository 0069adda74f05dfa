"""Watches what an isolated job takes of the disk, and tells what the kernel has refused it. Reads sizes, no files.

What a look at the job's folder counts is bounded. A job can hide some of what it takes: in files without a name that a
process holds open, which are counted where the processes of a job are known (it has a user or a control group of its
own); behind folders that its own user has closed to itself, which matters where jobs run as the node's user; or by
moving it about while it is looked at. So there is a floor as well: while the disk has less room than that, jobs end,
those that take much or cannot be looked into first.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from errno import ENAMETOOLONG, ENOENT, ENOTDIR
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from p2pwf.runner.isolation.bounds import Bounds
from p2pwf.runner.isolation.groups import Group

FIRST_S: Final = 0.5
LOOK_S: Final = 2.0
"""Between looks, at least: a disk takes some hundred MiB in that time."""
LONGEST_S: Final = 10.0
"""Between looks, at most."""
SHARE: Final = 20
"""Up to that, a look may take a twentieth of the time: those at a large tree are further apart."""
ROOM_S: Final = 0.25
"""Between looks at the room that is left, which cost microseconds."""
FLOOR: Final = 256 << 20
"""Bytes of room at which jobs end, or a fiftieth of the disk if that is less: fast disks take it in half a second."""
SPARED_S: Final = 2.0
"""How long a job that takes little goes on then: others may end, and leave room."""
MAX_OPEN: Final = 100_000
"""Open files of a job that are looked at."""
BLOCK: Final = 512
"""Bytes that the system counts disk space in."""


@attrs.define(slots=True)
class Seen:
    """What a job takes, up to a bound of either. `hidden`: there is more that could not be looked at; `deep`: paths
    are longer than the system takes."""

    total: int = 0
    entries: int = 0
    hidden: bool = False
    deep: bool = False


def measure(folder: Path, bounds: Bounds) -> Seen:
    """What is below a folder; blocks. Never follows a link.

    Counted as the disk does, so a file with holes counts as what it takes, and one of several names once.
    """
    seen = Seen()
    linked: set[tuple[int, int]] = set()
    stack = [str(folder)]
    while stack:
        try:
            with os.scandir(stack.pop()) as found:
                for entry in found:
                    seen.entries += 1
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                        if (status.st_dev, status.st_ino) in linked:
                            continue
                        linked.add((status.st_dev, status.st_ino))
                    seen.total += status.st_blocks * BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    if seen.total > bounds.disk or seen.entries > bounds.files:
                        return seen
        except OSError as error:
            seen.deep |= error.errno == ENAMETOOLONG
            seen.hidden |= error.errno not in (ENOENT, ENOTDIR, ENAMETOOLONG)  # these: it has gone meanwhile
    return seen


def unnamed(folder: Path, processes: Iterator[str]) -> int:
    """Bytes of the files on a folder's disk that have no name any more and are held open by processes; blocks."""
    total, looks = 0, 0
    counted: set[int] = set()
    device = folder.stat().st_dev
    for process in processes:
        with suppress(OSError), os.scandir(f"/proc/{process}/fd") as found:
            for entry in found:
                looks += 1
                if looks > MAX_OPEN:
                    return total
                with suppress(OSError):
                    status = entry.stat()
                    ours = status.st_dev == device and status.st_nlink == 0 and stat.S_ISREG(status.st_mode)
                    if ours and status.st_ino not in counted:
                        counted.add(status.st_ino)
                        total += status.st_blocks * BLOCK
    return total


def processes_of(user: int | None, group: Group) -> Iterator[str]:
    """The processes of a job by number, as far as they can be told from others: those of its own user, or of its
    control group."""
    if user is None:
        for folder in group.folders:
            with suppress(OSError):
                yield from (folder / "cgroup.procs").read_text().split()
        return
    mark = b"\nUid:\t%d\t" % user  # not the owner of its folder: that a process can change
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and mark in (process / "status").read_bytes():
                yield process.name


def look(folder: Path, bounds: Bounds, user: int | None, group: Group) -> Seen:
    """What a job takes of the disk, in its folder and out of it; blocks."""
    seen = measure(folder, bounds)
    with suppress(OSError):
        seen.total += unnamed(folder, processes_of(user, group))
    return seen


def room(folder: Path) -> tuple[int, int]:
    """Bytes that the disk of a folder has left, and at how few of them jobs end."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, min(FLOOR, found.f_blocks * found.f_frsize // 50)


def complaint(seen: Seen, bounds: Bounds, left: int, floor: int, *, taken: int, spared: bool) -> str | None:
    """Why a job has to end, if it does. `left`: room on the disk; `taken`: by how much that is less since the job
    began; `spared`: whether a job that takes little may go on below the floor."""
    if seen.total > bounds.disk:
        return f"The job has filled its folder: {seen.total >> 20} MiB, the bound is {bounds.disk >> 20} MiB."
    if seen.entries > bounds.files:
        return f"The job has made over {bounds.files} files and folders."
    if seen.deep:
        return "The job has folders nested deeper than the system's paths are long: what they hold cannot be counted."
    if seen.hidden and taken > bounds.disk:
        return (
            f"The job has folders that cannot be looked into, and the disk has {taken >> 20} MiB less room than when "
            f"it began: the bound is {bounds.disk >> 20} MiB."
        )
    if left < floor and (seen.hidden or seen.total > floor or not spared):
        return f"The disk that jobs lie on is full but for {left >> 20} MiB: jobs end at {floor >> 20} MiB."
    return None


async def watch_disk(folder: Path, bounds: Bounds, tell: Callable[[str], None], user: int | None, group: Group) -> None:
    """Look again and again; tell once if there is too much, and return. Raises OSError if the disk does not answer."""
    started = time.monotonic()
    next_look, low_since = started + FIRST_S, 0.0
    at_first, floor = await trio.to_thread.run_sync(room, folder)
    while True:
        await trio.sleep(ROOM_S)
        left, floor = await trio.to_thread.run_sync(room, folder)
        began = time.monotonic()
        low_since = (low_since or began) if left < floor else 0.0
        if began < next_look and not low_since:
            continue
        seen = await trio.to_thread.run_sync(partial(look, folder, bounds, user, group))
        spared = not low_since or began - low_since < SPARED_S
        said = complaint(seen, bounds, left, floor, taken=at_first - left, spared=spared)
        if said is not None:
            return tell(said)
        next_look = time.monotonic() + min(LONGEST_S, max(LOOK_S, SHARE * (time.monotonic() - began)))


def explain(group: Group, bounds: Bounds) -> tuple[str, ...]:
    """What the kernel has refused the job, in words."""
    said: list[str] = []
    if killed := group.out_of_memory():
        said.append(
            f"The job reached its bound of {bounds.memory >> 20} MiB of memory: {killed} processes were killed."
        )
    if group.out_of_processes():
        said.append(f"The job reached its bound of {bounds.processes} processes: it could start no more.")
    return tuple(said)
