"""A disk that refuses: programs are run under strace, which makes system calls on one folder fail with an error.

Each call of a kind fails once in `every` times, from the `first` one on, so that a few runs with other firsts meet
every single one. What a failing call would have written is not written.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

WRITES: Final = ("pwrite64", "write")
SYNCS: Final = ("fdatasync", "fsync")
NAMES: Final = ("rename", "ftruncate", "unlink")
SECONDS: Final = 60


@attrs.frozen(slots=True)
class Failing:
    """What fails: system calls by name, with the name of an error; the first of them, and then each so many-th."""

    calls: Sequence[str]
    error: str
    first: int
    every: int | None = None

    def words(self, folder: Path) -> list[str]:
        """The command that runs another one, whose calls on files of `folder` fail."""
        when = str(self.first) if self.every is None else f"{self.first}+{self.every}"
        calls = ",".join(self.calls)
        inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:error={self.error}:when={when}"]
        paths = [word for path in _files(folder) for word in ("-P", str(path))]
        return ["strace", "-f", "-qq", "-o", str(folder.with_name(f"{folder.name}.trace")), *inject, *paths]


def _files(folder: Path) -> list[Path]:
    """The files of an event store, and the folders of a blob store: strace looks at exact paths only."""
    database = [folder / f"events.db{end}" for end in ("", "-wal", "-shm", ".new")]
    return [folder, *database]


def run(folder: Path, failing: Failing, code: str, *arguments: str) -> str:
    """Run a Python program on `folder`, its first argument; what it said. It must end by itself, with 0."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    line = [*failing.words(folder), sys.executable, "-W", "error", "-c", code, str(folder), *arguments]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
