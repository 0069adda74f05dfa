"""`scripts/demo` that is told to stop in the middle: what it started ends, and what it wrote is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.install.machine import ROOT

SECONDS = 60
"""A bound for a hang."""


def test_a_demo_that_is_told_to_stop_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "scripts/demo.py"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        assert any(line.startswith("ada listens on ") for line in demo.stdout)
        demo.terminate()
        _, errors = demo.communicate(timeout=SECONDS)
    assert (demo.returncode, errors) == (143, "")
    assert list(tmp_path.iterdir()) == []
    until = time.monotonic() + SECONDS
    while _living(demo.pid):  # what a node had started itself goes a moment after it
        assert time.monotonic() < until, "a process of the demo is left"


def _living(group: int) -> list[str]:
    """The states of a group's processes, without those that only wait for the system to take note of their end."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=", "-o", "stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [state for number, state in rows if int(number) == group and not state.startswith("Z")]
