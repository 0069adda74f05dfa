"""What one job may use of a machine when it is kept apart. Values only."""

from __future__ import annotations

import os
from typing import Final

import attrs

MEMORY_SHARE: Final = 0.75
"""Of the machine's memory: the rest is for the node, the system, and what else lives there."""
SHM_BYTES: Final = 1 << 30
"""Of /dev/shm in a sandbox, at most: what is in there is memory, and counts for the job where memory is bounded."""


def _memory() -> int:
    """Bytes of memory that a job may use if nobody says otherwise."""
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * MEMORY_SHARE)


@attrs.frozen(slots=True, kw_only=True)
class Bounds:
    """The bounds of one job. `memory`, `disk` and `file` in bytes."""

    memory: int = attrs.field(factory=_memory)
    """Of all processes together where the kernel can count that (cgroups), else of each one's own data."""
    processes: int = 4096
    """At a time, threads among them: a build on 64 cores takes a few hundred, a fork bomb all there are."""
    disk: int = 64 << 30
    """Below the job's folder: several times what hosted runners have free."""
    files: int = 4_000_000
    """Files and folders there: more would use up a file system's inodes before its room."""
    file: int = 32 << 30
    """Of one file, wherever it is."""
    open_files: int = 65_536
    """Of one process: what hosted runners have."""
    minutes: float = 5 * 24 * 60.0
    """Run time, whatever the workflow says: what self-hosted runners have on GitHub."""
