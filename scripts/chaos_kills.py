"""The lane `kills` of scripts/chaos: a node that is submitted to all the time is killed, again and again."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, Self

from p2pwf.errors import P2pwfError
from scripts.chaos_nodes import Cluster, Node, figures, say, wait_until

SUBMITTERS: Final = 4
"""Threads that submit, each one after the other."""
PAUSE: Final = 0.02
"""Seconds between two submissions of a thread: the load is to be steady, not all that the node can take."""
DOWN: Final = 0.1
"""Seconds that a thread waits more after it was not answered."""
REAL: Final = 10
"""Each so many-th submission runs a step; the others are over once they are looked at."""
SKIPPED: Final = """labels: p2p-workflow
on: workflow_dispatch
jobs:
  none: {runs-on: linux, if: false, steps: [{run: "true"}]}
"""
DONE: Final = SKIPPED.replace("if: false, ", "")
SETTLED: Final = 600.0
"""Seconds after the last kill in which every run has to end."""


class Load:
    """Submits to one node for as long as the block lasts. `acknowledged`: the ids that it gave, with their copies."""

    def __init__(self, node: Node, base: Path) -> None:
        self.acknowledged: dict[str, int] = {}
        self.refused: Counter[str] = Counter()
        self._node = node
        self._files = base / "skipped.yml", base / "done.yml"
        for file, text in zip(self._files, (SKIPPED, DONE), strict=True):
            file.write_text(text)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(SUBMITTERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def has_more_than(self, count: int) -> bool:
        return len(self.acknowledged) > count

    def _submit(self, number: int) -> None:
        count = number
        while not self._over.wait(PAUSE):
            count += 1
            body = {"file": str(self._files[count % REAL == 0]), "no_source": True}
            try:
                made = self._node.client.call("POST", "runs", body=body)
            except P2pwfError as error:  # it is down, or it goes down just now: then nothing was promised
                self.refused[error.code] += 1
                self._over.wait(DOWN)
            else:
                self.acknowledged[made["workflow_id"]] = made["copies"]


def kills(base: Path, count: int, rounds: int, chance: random.Random) -> dict[str, Any]:
    """SIGKILL a node under load, restart it at once; what was acknowledged has to be there, at all nodes."""
    ready: list[float] = []
    serving: list[float] = []
    with Cluster([Node(base / f"n{number}") for number in range(count)]) as cluster:
        victim = cluster.nodes[-1]
        with Load(victim, base) as load:
            for _ in range(rounds):
                before = len(load.acknowledged)
                wait_until("some submissions", load.has_more_than, before)
                time.sleep(chance.uniform(0, 1.0))
                victim.kill()
                before = len(load.acknowledged)
                began = time.monotonic()
                victim.start()
                ready.append(time.monotonic() - began)
                wait_until("a submission", load.has_more_than, before, look=0.005)
                serving.append(time.monotonic() - began)
                say(f"{len(serving)} kills, {len(load.acknowledged)} acknowledged, serving after {serving[-1]:.2f} s")
        promised = set(load.acknowledged)
        began = time.monotonic()
        wait_until("equal heads", cluster.heads_are_equal, seconds=SETTLED)
        lost: dict[str, int] = {}
        open_runs: dict[str, int] = {}
        for node in cluster.nodes:
            wait_until("the end of all runs", node.has_ended_all, seconds=SETTLED)
            known = {row["workflow_id"]: row["status"] for row in node.ask("runs")}
            lost[node.folder.name] = len(promised - known.keys())
            open_runs[node.folder.name] = sum(known.get(run) not in ("completed", "failed") for run in promised)
        memory = round(victim.memory(), 1)
        alarms = [alarm for node in cluster.nodes for alarm in node.ask("status")["alarms"]]
    return {
        "name": "kills under load",
        "unit": "s",
        "to_ready": figures(ready),
        "to_acknowledged_again": figures(serving),
        "acknowledged": len(promised),
        "with_one_copy": sum(copies == 1 for copies in load.acknowledged.values()),
        "lost": lost,
        "not_completed": open_runs,
        "alarms": alarms,
        "unanswered": dict(load.refused),
        "settled_after": round(time.monotonic() - began, 1),
        "memory_mb": memory,
        "broken": bool(any(lost.values()) or any(open_runs.values()) or alarms),
    }
