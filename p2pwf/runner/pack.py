"""Pack a folder, as it stands, as a source manifest: what artifacts and caches are. Nothing is ignored in it.

Must not know what the folder is for. The manifest's own bounds hold (`manifest`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from p2pwf.errors import UsageError
from p2pwf.runner.jobfiles import below
from p2pwf.runner.manifest import FILE, LINK, PROGRAM, ManifestError, SourceFile, build
from p2pwf.runner.source import Blobs
from p2pwf.runner.sourcetree import refuse_if_large, unreadable
from p2pwf.runner.values import Stored


def pack(folder: Path, chosen: Iterable[str] | None, blobs: Blobs) -> Stored:
    """Put the files and links below `folder` (or those `chosen`: relative paths with `/`) and their manifest.

    Raises UsageError for a tree that is too large or has names that cannot travel, StorageError where it cannot be
    read or blobs not be written.
    """
    files: list[SourceFile] = []
    total = 0
    with blobs.batch() as batch:
        for path in sorted(_below(folder) if chosen is None else chosen):
            where = folder / path
            try:
                status = where.lstat()
                if stat.S_ISLNK(status.st_mode):
                    target = os.readlink(where)  # noqa: PTH115 - Path would tidy it up
                    files.append(SourceFile(path, LINK, len(os.fsencode(target)), target=target))
                elif stat.S_ISREG(status.st_mode):
                    with where.open("rb", buffering=0) as file:
                        cid = batch.put_open(file)
                        mode = PROGRAM if status.st_mode & stat.S_IXUSR else FILE
                        files.append(SourceFile(path, mode, file.tell(), cid=cid))
                else:
                    continue
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable(where, error) from error
            total += files[-1].size
            refuse_if_large(folder, len(files), total)
        try:
            link = batch.put_bytes(build(files))
        except (ManifestError, UnicodeEncodeError) as error:
            raise UsageError(f"{folder} cannot be packed: {error}", "is there a name that is not UTF-8?") from error
    return Stored(link=link, size=total)


def _below(folder: Path) -> Iterator[str]:
    start = len(str(folder)) + 1
    for entry in below(folder):
        if not entry.is_dir(follow_symlinks=False):
            yield entry.path[start:]
