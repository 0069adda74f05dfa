"""Jobs' folders, made while something else is waited for. Knows disks and a thread; no engine, and no trio but to wait.

Making a dozen files and folders takes many disks longer than a short step runs. All jobs of a run begin with the same
ones, so the next job's are made in a thread while one runs, and only renamed when it starts. The first job's are made
while the engine is imported.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Final

from p2pwf.errors import P2pwfError
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.runner.environment import Folders
from p2pwf.runner.manifest import blobs_of, parse
from p2pwf.runner.source import Source
from p2pwf.runner.treewriter import links_last, read_manifest, write

MAX_BYTES: Final = 1024 * 1024
MAX_FILES: Final = 256
"""Of a source that is laid out before anybody asks: a large one would be a copy too many."""


class Ahead:
    """The folders of one job to come, at most. `root`: where jobs have their folders."""

    def __init__(self, root: Path, source: Source, blobs: FolderBlobs, thread: Executor) -> None:
        self._root = root
        self._source = source
        self._blobs = blobs
        self._thread = thread
        self._made: Future[Folders] | None = None
        self._number = 0

    def order(self) -> None:
        """Have folders made, unless there are some, or the source is large."""
        source = self._source
        if self._made is None and source.bytes <= MAX_BYTES and source.files <= MAX_FILES:
            self._number += 1
            self._made = self._thread.submit(self._make, self._root / f"ahead-{self._number}")

    async def take(self, folders: Folders) -> bool:
        """Put the folders that were ordered in the place of these; False if none were, or they failed."""
        made, self._made = self._made, None
        if made is None:
            return False
        import trio  # noqa: PLC0415 - the first folders are made before it is there

        try:
            ready = made.result() if made.done() else await trio.to_thread.run_sync(made.result)
            ready.root.rename(folders.root)
        except (P2pwfError, OSError):
            return False  # whoever asked makes them, and is told what is wrong
        return True

    def _make(self, root: Path) -> Folders:
        folders = Folders.below(root, self._source.repository)
        folders.make()
        manifest = self._source.manifest
        tree = parse(read_manifest(self._blobs.path(manifest), manifest))
        write(folders.workspace, links_last(tree.files), {cid: self._blobs.path(cid) for cid in blobs_of(tree)})
        return folders
