"""Users without a name that isolated jobs run as when the node runs as root: one for each job, while it runs.

A lent user is locked by a file, so that two nodes of one machine never lend the same one.
"""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from p2pwf.errors import TryAgain

FIRST: Final = 60_600
COUNT: Final = 256
"""A range that no distribution gives to anybody: systemd's table of users leaves 60578 to 61183 free."""
LOCKS: Final = (Path("/run/p2pwf-users"), Path("/var/tmp/p2pwf-users"))  # noqa: S108 - refused unless it is root's own
"""Where the locks lie, in the order of trying."""


def is_mapped(user: int, table: str) -> bool:
    """Whether a user exists in this process's user namespace; `table`: the text of its uid_map or gid_map."""
    ranges = (list(map(int, line.split())) for line in table.splitlines())
    return any(first <= user < first + count for first, _, count in ranges)


def why_not() -> str | None:
    """Why no user can be lent here; None if they can be."""
    if os.geteuid() != 0:
        return "the node does not run as root"
    for kind in ("uid", "gid"):
        table = Path(f"/proc/self/{kind}_map").read_text()
        if not (is_mapped(FIRST, table) and is_mapped(FIRST + COUNT - 1, table)):
            return f"this container knows no {kind} {FIRST} to {FIRST + COUNT - 1}"
    return None


@contextmanager
def lend() -> Iterator[int]:
    """A user that nobody else has for the time of the block; its group has the same number. Raises TryAgain."""
    folder = _locks()
    for user in range(FIRST, FIRST + COUNT):
        lock = os.open(folder / str(user), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield user
            return
        finally:
            os.close(lock)
    raise TryAgain(f"all {COUNT} users for isolated jobs are taken", "let some jobs end first")


def end(user: int) -> None:
    """Kill every process of a lent user; blocks for a few ms."""
    subprocess.run(
        ("/bin/sh", "-c", "kill -9 -1"),
        user=user,
        group=user,
        extra_groups=[],
        cwd="/",
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _locks() -> Path:
    for folder in LOCKS:
        try:
            folder.mkdir(0o700, exist_ok=True)
            found = folder.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
            return folder
    raise TryAgain("no place to lock the users of isolated jobs", f"let root write to {LOCKS[0].parent}")
