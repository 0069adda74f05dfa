"""Watches what an isolated job takes of the disk, and tells what the kernel has refused it. Reads sizes, no files."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from p2pwf.runner.isolation.bounds import Bounds
from p2pwf.runner.isolation.groups import Group

FIRST_S: Final = 0.5
LOOK_S: Final = 2.0
"""Between looks, at least: a disk takes some hundred MiB in that time."""
SHARE: Final = 20
"""A look may take a twentieth of the time: those at a large tree are further apart."""
BLOCK: Final = 512
"""Bytes that the system counts disk space in."""


def measure(folder: Path, bounds: Bounds) -> tuple[int, int]:
    """Bytes and entries below a folder, up to a bound of either; blocks. Never follows a link.

    Counted as the disk does, so a file with holes counts as what it takes, and one of several names once.
    """
    total = entries = 0
    linked: set[tuple[int, int]] = set()
    stack = [str(folder)]
    while stack:
        try:
            with os.scandir(stack.pop()) as found:
                for entry in found:
                    entries += 1
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                        if (status.st_dev, status.st_ino) in linked:
                            continue
                        linked.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    if total > bounds.disk or entries > bounds.files:
                        return total, entries
        except OSError:
            continue  # it is gone, or not ours to enter: then nothing of it grows by this job's hand
    return total, entries


async def watch_disk(folder: Path, bounds: Bounds, tell: Callable[[str], None]) -> None:
    """Look again and again; tell once if there is too much, and return."""
    pause = FIRST_S
    while True:
        await trio.sleep(pause)
        began = time.monotonic()
        total, entries = await trio.to_thread.run_sync(measure, folder, bounds)
        if total > bounds.disk:
            return tell(f"The job has filled its folder: {total >> 20} MiB, the bound is {bounds.disk >> 20} MiB.")
        if entries > bounds.files:
            return tell(f"The job has made over {bounds.files} files and folders.")
        pause = max(LOOK_S, SHARE * (time.monotonic() - began))


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
