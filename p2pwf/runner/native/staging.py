"""Gather files from several places in one folder, so that they can be packed. Links to files where the disk can."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from p2pwf.errors import UsageError
from p2pwf.runner.jobfiles import copy_file, remove_tree
from p2pwf.runner.manifest import MAX_BYTES, MAX_FILES
from p2pwf.runner.state import JobState

_HINT: Final = "keep less: leave out what can be made again, or put many small files into one archive"


class Budget:
    """Counts what is to be packed; raises UsageError once it is more than a manifest may hold."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.files = 0
        self.bytes = 0

    def take(self, size: int) -> None:
        """Count a file or link."""
        self.files += 1
        self.bytes += size
        if self.files > MAX_FILES:
            raise UsageError(f"{self._what} has over {MAX_FILES} files", _HINT)
        if self.bytes > MAX_BYTES:
            raise UsageError(f"{self._what} has over {MAX_BYTES // 2**20} MiB", _HINT)


def stage(into: Path, files: Iterable[tuple[str, str]], *, follow: bool) -> None:
    """Put each (path, name below `into`) there; `follow`: what a link points to, instead of the link."""
    made: set[str] = set()
    for path, name in files:
        target = into / name
        folder = name.rpartition("/")[0]
        if folder not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(folder)
        source = os.path.realpath(path) if follow else path
        if not follow and stat.S_ISLNK(os.lstat(path).st_mode):
            target.symlink_to(os.readlink(path))  # noqa: PTH115 - Path would tidy it up
            continue
        try:
            os.link(source, target)
        except OSError:  # another disk, or a file of somebody else
            copy_file(Path(source), target)


@asynccontextmanager
async def scratch(state: JobState) -> AsyncIterator[Path]:
    """A new folder of the job's own, on the disk of its workspace; gone at the end of the block."""
    folder = state.folders.root / f"_pack-{uuid.uuid4().hex}"
    folder.mkdir(mode=0o700)
    if (owner := state.folders.owner) is not None:
        os.chown(folder, owner, owner)
    try:
        yield folder
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(remove_tree, folder)
