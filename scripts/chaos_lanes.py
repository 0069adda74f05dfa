"""What scripts/chaos does to real nodes, lane by lane, and what it measures. Each gives one object of figures."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, Final

from scripts.chaos_nodes import Cluster, Node, figures, say, wait_until

LONG: Final = """labels: p2p-workflow
on: workflow_dispatch
jobs:
  long:
    runs-on: linux
    steps:
      - run: |
          echo "$(date +%s%N) start" >> "NOTES"
          sleep SECONDS
          echo "$(date +%s%N) end" >> "NOTES"
"""


def long_job(base: Path, name: str, seconds: int) -> tuple[Path, Path]:
    """A workflow of one job that notes when it starts and ends; its file, and that of its notes."""
    file, notes = base / f"{name}.yml", base / f"{name}.notes"
    notes.touch()
    file.write_text(LONG.replace("NOTES", str(notes)).replace("SECONDS", str(seconds)))
    return file, notes


def times(notes: Path, word: str) -> list[float]:
    """When a job said a word, on the wall clock."""
    lines = (line.split() for line in notes.read_text().splitlines())
    return [int(line[0]) / 1e9 for line in lines if len(line) == 2 and line[1] == word]


def started_again(notes: Path) -> bool:
    return len(times(notes, "start")) > 1


def owner_of(node: Node, run: str) -> str | None:
    """The peer that has the run's only job."""
    jobs = node.ask("runs", run)["jobs"]
    return jobs[0]["owner"] if jobs else None


def failover(base: Path, count: int, rounds: int, chance: random.Random) -> dict[str, Any]:
    """SIGKILL the owner of a long job; how long until the job starts elsewhere."""
    took: list[float] = []
    again = 0
    with Cluster([Node(base / f"n{number}") for number in range(count)]) as cluster:
        time.sleep(8)  # past the first lease: from then on a node judges others
        for number in range(rounds):
            file, notes = long_job(base, f"round{number}", 600)
            submitter = chance.choice(cluster.nodes)
            run = submitter.submit(file)
            wait_until("the first start", times, notes, "start")
            time.sleep(chance.uniform(2, 5))  # beats fall anywhere; the start has come to all
            owner = cluster.of(str(owner_of(submitter, run)))
            killed = time.time()
            owner.kill()
            wait_until("a second start", started_again, notes)
            took.append(times(notes, "start")[1] - killed)
            say(f"round {number}: {took[-1]:.2f} s")
            owner.start()
            wait_until("all connected", cluster.is_linked)
            again += len(times(notes, "start")) > 2
            wait_until("the cancel", submitter.cancel, run)
            wait_until("the end of the run", submitter.is_final, run)
    return {"name": "P14 owner killed to start elsewhere", "unit": "s", **figures(took), "started_twice_over": again}
