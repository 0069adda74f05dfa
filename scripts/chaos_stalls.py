"""The lane `stalls` of scripts/chaos: owners are stopped for a while and go on, not knowing that time has passed."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any, Final

from scripts.chaos_lanes import long_job, owner_of, times
from scripts.chaos_nodes import Cluster, Node, figures, say, wait_until

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds of a standstill, drawn evenly on a logarithmic scale: what matters is around the lease of 6 s."""
JOB: Final = 15
"""Seconds of a job: it goes on while its node stands still, and may end meanwhile."""


def told_by(node: Node, run: str) -> str:
    """All that a node says of how a run came out."""
    status = node.ask("runs", run)
    jobs = [(job["conclusion"], job["attempt"], job["owner"]) for job in status["jobs"]]
    return json.dumps([status["status"], status["conclusion"], jobs])


def stalls(base: Path, count: int, rounds: int, chance: random.Random) -> dict[str, Any]:
    """SIGSTOP the owner of a job, SIGCONT it later; one outcome has to stand, and the same at all nodes."""
    ran: list[tuple[float, int]] = []
    unlike: list[str] = []
    settled: list[float] = []
    with Cluster([Node(base / f"n{number}") for number in range(count)]) as cluster:
        time.sleep(8)  # past the first lease
        for number in range(rounds):
            file, notes = long_job(base, f"round{number}", JOB)
            submitter = chance.choice(cluster.nodes)
            run = submitter.submit(file)
            wait_until("the first start", times, notes, "start")
            wait_until("an owner", owner_of, submitter, run)
            time.sleep(chance.uniform(0.5, 2))
            owner = cluster.of(str(owner_of(submitter, run)))
            length = SHORTEST * (LONGEST / SHORTEST) ** chance.random()
            owner.signal(signal.SIGSTOP)
            time.sleep(length)
            owner.signal(signal.SIGCONT)
            began = time.monotonic()
            for node in cluster.nodes:
                wait_until("the end of the run", node.is_final, run)
            wait_until("all connected", cluster.is_linked)
            wait_until("equal heads", cluster.heads_are_equal)
            settled.append(time.monotonic() - began)
            told = {told_by(node, run) for node in cluster.nodes}
            if len(told) > 1 or json.loads(min(told))[1] != "success":
                unlike.append(" | ".join(sorted(told)))
            ran.append((round(length, 1), len(times(notes, "start"))))
            say(f"stopped for {length:.1f} s: started {ran[-1][1]} times, {min(told)}")
    return {
        "name": "owners stopped and gone on",
        "unit": "s",
        "n": rounds,
        "started_twice": sum(starts > 1 for _, starts in ran),
        "of_shorter_than_3_s": sum(starts > 1 for length, starts in ran if length <= 3.0),
        "lengths_and_starts": ran,
        "settled": figures(settled),
        "without_one_outcome": unlike,
        "broken": bool(unlike),
    }
