"""The lane `disks` of scripts/chaos: a node whose disk fails under it, and one whose disk is full until it has room.

The calls of a node's process on its event database fail by strace; the full disk is a small tmpfs, if root may mount
one. In each case the node has to say what is wrong and end, and a new start has to hold all that was acknowledged.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from p2pwf.errors import P2pwfError, StorageError
from scripts.chaos_kills import SKIPPED
from scripts.chaos_nodes import Node, say, wait_until

CALLS: Final = ("pwrite64", "fdatasync")
ERRORS: Final = ("EIO", "ENOSPC")
MOST: Final = 400
"""Submissions by which the call that is to fail must have come."""
LATEST: Final = 60
"""The last call that may be the one: some fall into the start of the node, most into its work."""
STORAGE_EXIT: Final = 6
SMALL_MB, LARGE_MB = 3, 30
"""Sizes of the file system before and after there is room."""


def _submit_until_it_ends(node: Node, file: Path) -> tuple[set[str], set[str]]:
    """Submit one after the other; what was acknowledged, and what else was said."""
    acknowledged: set[str] = set()
    said: set[str] = set()
    for _ in range(MOST):
        try:
            acknowledged.add(node.submit(file))
        except P2pwfError as error:
            said.add(f"{error.code}: {error.message}")
            if not isinstance(error, StorageError):
                break
    return acknowledged, said


def _holds(node: Node, acknowledged: set[str], file: Path) -> str | None:
    """What is wrong with a node that was started again, if anything is."""
    known = {row["workflow_id"] for row in node.ask("runs")}
    if acknowledged - known:
        return f"{len(acknowledged - known)} of {len(acknowledged)} lost"
    run = node.submit(file)
    wait_until("a run after the fault", node.is_final, run)
    return None


def _fail_once(folder: Path, file: Path, call: str, error: str, when: int) -> dict[str, Any]:
    """A node one of whose calls fails."""
    node = Node(folder)
    node.start()
    node.stop()
    paths = [word for end in ("", "-wal") for word in ("-P", str(folder / f"events.db{end}"))]
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
    failing = Node(folder, prefix=(STRACE, "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", *inject, *paths))
    acknowledged: set[str] = set()
    said: set[str] = set()
    try:
        try:
            failing.start()
        except Exception as unborn:  # noqa: BLE001 - it may fail at its start; what it says is looked at below
            said.add(str(unborn)[:200])
        else:
            acknowledged, said = _submit_until_it_ends(failing, file)
        code = failing.wait(30)
    finally:
        failing.stop()
    told = "the disk failed at" in failing.errors() or "no room to write" in failing.errors()
    node.start()
    try:
        wrong = _holds(node, acknowledged, file)
    finally:
        node.stop()
    if wrong is None and not (told and code == STORAGE_EXIT):
        wrong = f"it ended with {code}, told: {told}"
    return {"fault": f"{call} {when} {error}", "acknowledged": len(acknowledged), "wrong": wrong}


def _full(base: Path, file: Path) -> dict[str, Any]:
    """A node on a small disk, which is full after some time; then there is room."""
    folder = base / "small"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m,mode=700", "none", str(folder)]
    if subprocess.run(line, check=False, capture_output=True).returncode != 0:
        return {"fault": "a full disk", "skipped": "this user may not mount a file system", "wrong": None}
    try:
        node = Node(folder)
        node.start()
        acknowledged, said = _submit_until_it_ends(node, file)
        code = node.wait(30)
        told = "no room to write" in node.errors()
        subprocess.run(["mount", "-o", f"remount,size={LARGE_MB}m", str(folder)], check=True)  # noqa: S607 - root's
        node.start()
        try:
            wrong = _holds(node, acknowledged, file)
        finally:
            node.stop()
    finally:
        subprocess.run(["umount", str(folder)], check=False)  # noqa: S607 - as above
    if wrong is None and not (told and code == STORAGE_EXIT):
        wrong = f"it ended with {code}, told: {told}, {said}"
    return {"fault": "a full disk", "acknowledged": len(acknowledged), "wrong": wrong}


STRACE: Final = shutil.which("strace") or "strace"


def disks(base: Path, _: int, rounds: int, chance: random.Random) -> dict[str, Any]:
    """Let one call of a node fail, a different one in each round; and fill its disk once."""
    file = base / "skipped.yml"
    file.write_text(SKIPPED)
    found = [_full(base, file)]
    for number in range(rounds):
        call, error = CALLS[number % 2], ERRORS[number // 2 % 2]
        found.append(_fail_once(base / f"n{number}", file, call, error, chance.randint(1, LATEST)))
        say(str(found[-1]))
    wrong = [one for one in found if one["wrong"] is not None]
    return {"name": "failing disks", "n": len(found), "faults": found, "wrong": wrong, "broken": bool(wrong)}
