"""Times `p2pwf run` and act on one project, in turns: what the benchmarks of whole runs share."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = [sys.executable, "-c", "from p2pwf.cli.main import main; main()", "run"]


def environment(home: Path) -> dict[str, str]:
    """Bytecode is written once and read from then on, as where either is installed; settings of the user count not."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(home / "bytecode")}


def timed(command: list[str], folder: Path, home: Path) -> float:
    """Milliseconds from a process' start to its end, which must be a good one."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(home), capture_output=True, check=False)
    elapsed = (time.perf_counter() - start) * 1000
    if done.returncode:
        raise SystemExit(f"{command} failed: {done.stderr.decode()}{done.stdout.decode()}")
    return elapsed


def in_turns(commands: dict[str, tuple[list[str], Path]], home: Path, rounds: int) -> dict[str, float]:
    """The median of each command, the rounds of all of them interleaved; one round before them warms the caches."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, (command, folder) in commands.items():
            elapsed = timed(command, folder, home)
            if number:
                times[name].append(elapsed)
    return {name: statistics.median(values) for name, values in times.items()}
