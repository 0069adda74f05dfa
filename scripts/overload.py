"""More than real nodes can take: scripts/overload burst|queue|artifact. One JSON line of figures each.

`burst`: so many submissions at once, of runs that nobody can run yet; the door has to say when there are too many, and
all that was acknowledged has to end once somebody can. `queue`: so many jobs for one peer with two slots. `artifact`: a
file of so many MB goes through a job, the store and another peer. Exit code 1 if a promise was broken: something
acknowledged was lost, did not end, or a node died; not for being slow, which depends on the machine, whose load average
stands in the line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from p2pwf.errors import Overloaded, P2pwfError, TryAgain
from scripts.chaos_nodes import Cluster, Node, end_nodes_at_sigterm, figures, load, say, wait_until

CLIENTS: Final = 96
"""Threads that submit at once: more than a node prepares at a time, so that the door is met."""
BACK_OFF: Final = 1.0
"""Seconds until a client that was told to wait comes again, as `Retry-After` says."""
STUCK: Final = 15.0
"""Seconds without an acknowledgement after which the door counts as closed."""
SMALL_EVERY: Final = 2.0
"""Seconds between two runs of somebody else, who is to get on meanwhile."""
SETTLED: Final = 3600.0
LATER: Final = """labels: p2p-workflow
on: workflow_dispatch
jobs:
  later: {runs-on: later, if: false, steps: [{run: "true"}]}
"""
SMALL: Final = """labels: p2p-workflow
on: workflow_dispatch
jobs:
  small: {runs-on: linux, steps: [{run: "true"}]}
"""
LARGE: Final = """labels: p2p-workflow
on: workflow_dispatch
jobs:
  large:
    runs-on: first
    steps:
      - run: head -c SIZEM /dev/urandom > large.bin
      - uses: actions/upload-artifact@v4
        with: {name: large, path: large.bin, compression-level: 0}
  after:
    needs: large
    runs-on: second
    steps:
      - uses: actions/download-artifact@v4
        with: {name: large}
      - run: test "$(stat -c %s large.bin)" = SIZE
"""


class Burst:
    """Clients of one node that submit `count` runs of a file between them, and come again when told to wait."""

    def __init__(self, node: Node, file: Path, count: int, clients: int = CLIENTS) -> None:
        self.acknowledged: list[str] = []
        self.told: Counter[str] = Counter()
        self.took: list[float] = []
        self._node = node
        self._file = file
        self._left = count
        self._lock = threading.Lock()
        self._began = self._ended = 0.0
        self._given_up = False
        self._threads = [threading.Thread(target=self._submit) for _ in range(min(clients, count))]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._given_up = kind is not None
        for thread in self._threads:
            thread.join()

    @property
    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def seconds(self) -> float:
        """From the first submission to the last acknowledgement until now."""
        return self._ended - self._began

    def wait(self) -> None:
        """Until all is acknowledged, or nothing more has been for a while."""
        while not self.is_over and time.monotonic() - max(self._began, self._ended) < STUCK:
            time.sleep(0.5)

    def _submit(self) -> None:
        while True:
            with self._lock:
                if self._left <= 0:
                    return
                self._left -= 1
            began = time.monotonic()
            while True:
                try:
                    run = self._node.submit(self._file)
                    break
                except TryAgain as error:
                    if self._given_up:
                        return
                    self.told[error.code] += 1
                    time.sleep(BACK_OFF)
            self._ended = time.monotonic()
            self.took.append(self._ended - began)
            self.acknowledged.append(run)


class Meanwhile:
    """Somebody else at another node, whose runs are to get on; and how much memory the nodes take."""

    def __init__(self, node: Node, file: Path, watched: list[Node]) -> None:
        self.took: list[float] = []
        self.peak: dict[str, float] = {}
        self._node = node
        self._file = file
        self._watched = watched
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work), threading.Thread(target=self._watch)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._over.wait(SMALL_EVERY):
            began = time.monotonic()
            run = self._node.submit(self._file)
            wait_until("a small run", self._node.is_final, run)
            self.took.append(time.monotonic() - began)

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            for node in self._watched:
                self.peak[node.folder.name] = max(self.peak.get(node.folder.name, 0.0), round(node.memory(), 1))


def burst(base: Path, count: int) -> dict[str, Any]:
    """`count` submissions at once that stay open; then somebody comes who ends them."""
    later, small = base / "later.yml", base / "small.yml"
    later.write_text(LATER)
    small.write_text(SMALL)
    nodes = [Node(base / name) for name in ("front", "other")]
    helper = Node(base / "helper", options=("--label", "later"))
    with Cluster(nodes) as cluster:
        front, other = nodes
        time.sleep(8)  # past the first lease
        before = {node.folder.name: round(node.memory(), 1) for node in nodes}
        with Meanwhile(other, small, nodes) as meanwhile, Burst(front, later, count) as submitted:
            submitted.wait()
            at_once, seconds = len(submitted.acknowledged), submitted.seconds()
            say(f"{at_once} acknowledged in {seconds:.0f} s, {dict(submitted.told)} told to wait")
            one_more = _one_more(front, later)
            alive = [node.up for node in nodes]
            began = time.monotonic()
            cluster.nodes.append(helper)
            helper.start("--join", str(front.client.call("POST", "invites", body={})["ticket"]))
            wait_until("all acknowledged", lambda: submitted.is_over, seconds=SETTLED, look=1)
            wait_until("the end of all", helper.has_ended_all, seconds=SETTLED, look=1)
            ended = time.monotonic() - began
        promised = set(submitted.acknowledged)
        lost, unended = {}, {}
        for node in cluster.nodes:
            wait_until("the end of all runs", node.has_ended_all, seconds=SETTLED, look=1)
            known = {row["workflow_id"]: row["status"] for row in node.ask("runs")}
            lost[node.folder.name] = len(promised - known.keys())
            unended[node.folder.name] = sum(known.get(run) != "completed" for run in promised)
        alarms = [alarm for node in cluster.nodes for alarm in node.ask("status")["alarms"]]
    return {
        "name": "burst of submissions",
        "acknowledged": len(promised),
        "at_once": at_once,
        "a_second": round(at_once / seconds, 1),
        "to_acknowledgement": figures(submitted.took),
        "told_to_wait": dict(submitted.told),
        "one_more": one_more,
        "others_meanwhile": figures(meanwhile.took),
        "mb_before": before,
        "mb_peak": meanwhile.peak,
        "ended_in": round(ended, 1),
        "lost": lost,
        "not_completed": unended,
        "alarms": alarms,
        "broken": bool(any(lost.values()) or any(unended.values()) or alarms or not all(alive)),
    }


def _one_more(node: Node, file: Path) -> str:
    """What the door says to one more."""
    try:
        node.submit(file)
    except Overloaded as error:
        return error.message
    return "it was taken"


def queue(base: Path, count: int) -> dict[str, Any]:
    """`count` runs of one step that only one peer fits."""
    file, small = base / "queued.yml", base / "small.yml"
    file.write_text(SMALL.replace("linux", "busy"))
    small.write_text(SMALL.replace("linux", "free"))
    nodes = [Node(base / "front", options=("--label", "free")), Node(base / "busy", options=("--label", "busy"))]
    with Cluster(nodes):
        front, busy = nodes
        time.sleep(8)
        before = {node.folder.name: round(node.memory(), 1) for node in nodes}
        answers: list[float] = []
        with Meanwhile(front, small, nodes) as meanwhile:
            with Burst(front, file, count, clients=8) as submitted:
                submitted.wait()
            seconds = submitted.seconds()
            began = time.monotonic()
            while not busy.has_ended_all():
                asked = time.monotonic()
                busy.ask("stats")
                answers.append(time.monotonic() - asked)
                if asked - began > SETTLED:
                    break
                time.sleep(0.2)
            drained = time.monotonic() - began
        statuses = Counter(front.ask("runs", run)["status"] for run in submitted.acknowledged)
    return {
        "name": "queued jobs of one peer",
        "submitted_in": round(seconds, 1),
        "told_to_wait": dict(submitted.told),
        "drained_in": round(drained, 1),
        "jobs_a_second": round(count / (seconds + drained), 1),
        "answers_meanwhile": figures(answers, 3),
        "others_meanwhile": figures(meanwhile.took),
        "mb_before": before,
        "mb_peak": meanwhile.peak,
        "statuses": dict(statuses),
        "broken": statuses != {"completed": count},
    }


def artifact(base: Path, count: int) -> dict[str, Any]:
    """A file of `count` MB, through a job, the store, another peer, and a job there."""
    file = base / "large.yml"
    file.write_text(LARGE.replace("SIZEM", f"{count}M").replace("SIZE", str(count << 20)))
    nodes = [Node(base / name, options=("--label", name)) for name in ("first", "second")]
    with Cluster(nodes):
        time.sleep(8)
        before = {node.folder.name: round(node.memory(), 1) for node in nodes}
        began = time.monotonic()
        run = nodes[0].submit(file)
        wait_until("the end of the run", nodes[0].is_final, run, seconds=SETTLED, look=0.5)
        took = time.monotonic() - began
        told = nodes[0].ask("runs", run)
        peak = {node.folder.name: round(node.memory("VmHWM"), 1) for node in nodes}
    return {
        "name": "an artifact larger than memory",
        "mb": count,
        "seconds_in_all": round(took, 1),
        "mb_before": before,
        "mb_peak": peak,
        "grown_by": {name: round(peak[name] - before[name], 1) for name in peak},
        "status": told["status"],
        "errors": [job.get("error") for job in told["jobs"] if job.get("error")],
        "broken": told["status"] != "completed",
    }


LANES: Final[dict[str, tuple[Callable[[Path, int], dict[str, Any]], int]]] = {
    "burst": (burst, 10_000),
    "queue": (queue, 1000),
    "artifact": (artifact, 600),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/overload", description=__doc__)
    parser.add_argument("lane", choices=LANES)
    parser.add_argument("--count", type=int, help="of runs, or MB")
    given = parser.parse_args()
    lane, count = LANES[given.lane]
    before, began = load(), time.monotonic()
    end_nodes_at_sigterm()
    with tempfile.TemporaryDirectory(prefix="p2pwf-overload-") as folder:
        try:
            found = lane(Path(folder), given.count or count)
        except P2pwfError as error:
            found = {"broken": True, "error": error.message}
    found |= {"seconds": round(time.monotonic() - began), "load": [before, load()]}
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
