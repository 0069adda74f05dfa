"""Keeps a process's memory out of core files, and from other processes of the same user. Light; knows nothing else."""

from __future__ import annotations

import resource
import sys
from typing import Final

PR_SET_DUMPABLE: Final = 4


def undumped() -> None:
    """From now on this process leaves no core file; on Linux none that a program is given either, and no process of the
    same user can trace it or read its memory.

    Both hold for this process. Programs that it starts begin without core files as well, and may ask for them.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform.startswith("linux"):
        import ctypes  # noqa: PLC0415 - only whoever has a secret waits for it

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # no error is possible with these arguments
