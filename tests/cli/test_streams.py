"""Outputs that cannot be written to: full, closed, or with nobody at the other end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LINE = [sys.executable, "-m", "p2pwf.cli.main"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_no_bug_of_ours() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*LINE, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 6
    assert done.stderr.splitlines()[0] == "error: the output cannot be written: No space left on device"


def test_a_pipe_that_nobody_reads_ends_the_command_as_it_ends_others() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*LINE, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("closed", "silent"), [(">&-", False), ("2>&-", True), (">&- 2>&-", True)])
def test_a_closed_output_changes_nothing_but_what_is_seen(closed: str, silent: bool, tmp_path: Path) -> None:
    script = f'exec "$@" {closed}'
    words = [*LINE, "status", "--data-dir", str(tmp_path / "none")]
    done = subprocess.run(["bash", "-c", script, "-", *words], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("" if silent else "error: no node runs on")
    assert "Traceback" not in done.stderr
