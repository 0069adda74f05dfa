"""What a node that was killed left behind: processes of its jobs, and their folders. Run before the first job starts.

Normally nothing is left: supervisors end their jobs when their node dies. This is for what outlived those as well.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs

from p2pwf.runner.environment import JOB_MARK
from p2pwf.runner.jobfiles import remove_tree
from p2pwf.runner.reaper import Table, kill_all
from p2pwf.runner.values import JobRequest

RUN_CHARACTERS: Final = 8
"""Of the run id in a folder's name: its last ones, as all CIDs begin alike."""
JOB_CHARACTERS: Final = 64
"""Of the job id in a folder's name."""
_PLAIN = re.compile(r"[^A-Za-z0-9_-]")


@attrs.frozen(slots=True)
class Swept:
    """What was found: processes killed, folders removed."""

    processes: int
    folders: int


def job_folder(work_root: Path, request: JobRequest) -> Path:
    """The folder of one attempt, `<run>-<job>-<leg>-<attempt>` below `work_root`."""
    run = request.run[-RUN_CHARACTERS:]
    job = _PLAIN.sub("_", request.job_id)[:JOB_CHARACTERS]
    if job != request.job_id:  # of called jobs and long ids, no two may share a folder
        job = f"{job}-{sha256(request.job_id.encode()).hexdigest()[:8]}"
    return work_root / f"{run}-{job}-{request.leg}-{request.attempt}".replace("/", "_").replace("\0", "_")


def sweep_leftovers(work_root: Path) -> Swept:
    """Kill whatever processes of jobs below `work_root` still live, then remove the jobs' folders.

    For a node's start, when no job of it can be running; blocks, so call it in a thread. Knows such processes by the
    mark in their environment or by the folder they work in, and takes all their descendants with them.
    """
    root = work_root.absolute()
    processes = kill_marked(root)
    folders = 0
    with suppress(FileNotFoundError):
        for entry in list(root.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                remove_tree(entry)
                folders += 1
    return Swept(processes, folders)


def kill_marked(root: Path) -> int:
    """Kill the processes of jobs whose folder is `root` or lies below it; how many there were. Blocks."""
    own = {os.getpid(), os.getppid()}

    def members(table: Table) -> set[int]:
        return table.below([pid for pid in table.alive if _belongs(pid, root)]) - own

    return kill_all(members, lambda: True)


def _belongs(pid: int, root: Path) -> bool:
    process = Path("/proc") / str(pid)
    with suppress(OSError):
        if (process / "cwd").readlink().is_relative_to(root):
            return True
    with suppress(OSError):
        mark = f"{JOB_MARK}={root}".encode()
        for entry in (process / "environ").read_bytes().split(b"\0"):
            if entry == mark or entry.startswith(mark + b"/"):
                return True
    return False
