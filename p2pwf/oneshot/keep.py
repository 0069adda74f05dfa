"""What outlives a run on this machine: caches, and the artifacts of the last runs, below the user's cache folder.

    caches/<scope>/<entry>/entry.json  {key, version, link, size}, beside it the blobs of that cache
    artifacts/<run>/<artifact>/…       laid out as the job had them

A scope is a source folder: other projects' caches are never found. What was not used longest goes first.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from p2pwf.core.ids import parse_cid
from p2pwf.errors import P2pwfError, StorageError, UsageError
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.runner.manifest import blobs_of, parse
from p2pwf.runner.values import Cache

CACHE_BYTES: Final = 10 * 1024**3
"""Of the caches of one source, as a repository has on GitHub."""
ARTIFACT_RUNS: Final = 20
"""Runs whose artifacts are kept, unless the user named a folder for them."""
ENTRY: Final = "entry.json"
HALF: Final = ".half"
"""How a folder ends that is being written."""
HALF_SECONDS: Final = 3600
"""After which a folder that was being written is taken for one whose writer died."""


def cache_home() -> Path:
    """The folder of this user's caches of ours: P2PWF_CACHE_DIR, else by the custom of the system."""
    given = os.environ.get("P2PWF_CACHE_DIR")
    if given:
        return Path(given).absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "p2pwf"
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "p2pwf"


class CacheFolder:
    """The caches of one source. Any thread may call it; other processes may use the same folder at the same time."""

    def __init__(self, home: Path, source: Path, blobs: FolderBlobs) -> None:
        scope = sha256(os.fsencode(source)).hexdigest()[:16]
        self._root = home / "caches" / scope
        self._blobs = blobs

    def find(self, keys: tuple[str, ...], version: str) -> Cache | None:
        """The first key's own cache, else the newest one that begins with it, then the same for the other keys."""
        entries = [(read, folder) for read, folder in self._entries() if read["version"] == version]
        for key in keys:
            for whole in (True, False):
                fits = [one for one in entries if one[0]["key"] == key or (not whole and one[0]["key"].startswith(key))]
                for read, folder in sorted(fits, key=lambda one: one[0]["created"], reverse=True):
                    try:
                        cache = Cache(key=read["key"], version=version, link=parse_cid(read["link"]), size=read["size"])
                        os.utime(folder)
                    except (UsageError, OSError, TypeError):
                        continue  # damaged, or just evicted by another run
                    self._blobs.add(folder)
                    return cache
        return None

    def save(self, cache: Cache) -> None:
        """Keep a cache that a job made; one of its key and version that is there already stays. Raises StorageError."""
        name = sha256(f"{cache.key}\0{cache.version}".encode()).hexdigest()
        folder = self._root / name
        half = self._root / f"{name}-{os.getpid()}{HALF}"
        if (folder / ENTRY).exists():
            return
        try:
            half.mkdir(mode=0o700, parents=True)
            manifest = parse(self._blobs.path(cache.link).read_bytes())
            self._blobs.copy([cache.link, *blobs_of(manifest)], half)
            entry = {
                "key": cache.key,
                "version": cache.version,
                "link": cache.link.text,
                "size": cache.size,
                "created": time.time(),
            }
            (half / ENTRY).write_text(json.dumps(entry))
            half.rename(folder)
            self._evict()
        except OSError as error:
            if not folder.exists():  # else another run has saved the same
                raise StorageError(
                    f"the cache '{cache.key}' cannot be kept: {error.strerror or error}", f"look at {self._root}"
                ) from error
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def _entries(self) -> Iterator[tuple[dict[str, Any], Path]]:
        with suppress(OSError):
            for folder in sorted(self._root.iterdir()):
                if folder.name.endswith(HALF):
                    continue
                with suppress(OSError, ValueError):
                    read = json.loads((folder / ENTRY).read_text())
                    if isinstance(read, dict) and {"key", "version", "link", "size", "created"} <= read.keys():
                        yield read, folder

    def _evict(self) -> None:
        """Keep within CACHE_BYTES, by what was used last."""
        now = time.time()
        for half in self._root.glob(f"*{HALF}"):
            with suppress(OSError):
                if now - half.stat().st_mtime > HALF_SECONDS:
                    shutil.rmtree(half, ignore_errors=True)
        room = CACHE_BYTES
        held = [(folder.stat().st_mtime, read["size"], folder) for read, folder in self._entries()]
        for _, size, folder in sorted(held, key=lambda one: one[0], reverse=True):
            room -= size if isinstance(size, int) else CACHE_BYTES
            if room < 0:
                shutil.rmtree(folder, ignore_errors=True)


def artifact_folder(home: Path, run: str) -> Path:
    """A new folder for the artifacts of a run; those of the oldest runs make room. Raises StorageError."""
    root = home / "artifacts"
    folder = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{run[-8:]}"
    try:
        folder.mkdir(mode=0o700, parents=True)
        for old in sorted(entry for entry in root.iterdir() if entry.is_dir())[:-ARTIFACT_RUNS]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"no folder for artifacts: {error}", "name one with --artifacts DIR") from error
    return folder


def error_text(error: P2pwfError) -> str:
    """An error in one line, hint and all."""
    return error.message if error.hint is None else f"{error.message} ({error.hint})"
