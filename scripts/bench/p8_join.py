"""P8: a new member takes in a history of 100,000 events; real nodes on loopback.

`ours`: seconds from the start of `p2pwf up --join` until the new node has all that the old one has, less `empty`, which
is what that takes in a network without a history. The reference is reading, verifying and storing the same events on
one core, without a network. Then the old node prunes all of it, and the next one joins from the checkpoint; `ours` is
told beside the target.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from p5_ingest import add_runs, desk_with  # noqa: E402

from p2pwf import connect  # noqa: E402
from p2pwf.clock import Clock  # noqa: E402
from p2pwf.core.events import SignedBlock, parse  # noqa: E402
from p2pwf.core.ids import Cid  # noqa: E402
from p2pwf.core.sign import Signer  # noqa: E402
from p2pwf.engine.inputs import Now  # noqa: E402
from p2pwf.net.identity import load  # noqa: E402
from p2pwf.node.facts import IDENTITY  # noqa: E402
from p2pwf.node.loop import stored_event  # noqa: E402
from p2pwf.store.events import Commit, EventStore  # noqa: E402
from tests.e2e.kit import Node  # noqa: E402

EVENTS = 100_000
BATCH = 1000
TARGET_S = 0.5
"""Seconds, when the history starts from a checkpoint."""
PATIENCE_S = 300.0
"""Seconds that a join may take before the bench gives up."""


def fill(folder: Path) -> list[SignedBlock]:
    """Write EVENTS events of ended runs into a stopped node's store, as this node."""
    store = EventStore.open(folder / "events.db")
    before = [SignedBlock(row.block, row.signature) for row in store.load()]
    wall = int(time.time() * 1000) - 86_400_000
    desk = desk_with(Signer(load(folder / IDENTITY)), [parse(signed) for signed in before], Now(0.0, wall))
    blocks = add_runs(desk, EVENTS)
    commit(store, blocks)
    store.close()
    return [*before, *blocks]


def commit(store: EventStore, blocks: list[SignedBlock]) -> None:
    for start in range(0, len(blocks), BATCH):
        store.commit(Commit(tuple(stored_event(parse(signed)) for signed in blocks[start : start + BATCH])))


def alone(blocks: list[SignedBlock], folder: Path) -> float:
    """Seconds to read, verify and store the events, with nothing else about."""
    store = EventStore.open(folder / "alone.db")
    began = time.perf_counter()
    clock = Clock(Cid(bytes(parse(blocks[0]).cid)))
    for signed in blocks:
        clock.accept(parse(signed))
    commit(store, blocks)
    taken = time.perf_counter() - began
    store.close()
    return taken


def joined(old: Node, folder: Path) -> tuple[float, int]:
    """Seconds from the start of a new node's process until it has what the old one has; the events on its disk."""
    ticket = old.ticket()
    with connect(old.folder) as client:
        height = client.get_stats()["merkle_clock_height"] + 1  # the event that lets the new one in
    began = time.monotonic()
    with Node(folder, "--slots", "0") as new:
        new.start("--join", ticket).ready()
        with connect(folder) as client:
            while client.get_stats()["merkle_clock_height"] < height:
                assert time.monotonic() - began < PATIENCE_S
                time.sleep(0.02)
        taken = time.monotonic() - began
        new.kill()
    store = EventStore.open(folder / "events.db")
    count = sum(1 for _ in store.load())
    store.close()
    return taken, count


def prune(old: Node) -> None:
    """Have a node prune all that ended; the others are gone, and would hold it up."""
    for peer in old.ask("peer", "list"):
        if peer["peer_id"] != old.info["peer_id"]:
            old.ask("peer", "remove", peer["peer_id"])
    old.ask("clock", "checkpoint", "--days", "0")
    end = time.monotonic() + PATIENCE_S
    while not old.ask("clock", "prune")["applied"]:
        assert time.monotonic() < end
        time.sleep(0.5)


def say(name: str, taken: float, empty: float, reference: float, **more: float) -> None:
    ours = taken - empty
    figures = {"ours": round(ours, 2), "reference": round(reference, 2), "ratio": round(ours / reference, 2)}
    print(json.dumps({"name": f"P8 {name}", **figures, "unit": "s", **more, "empty": round(empty, 2)}), flush=True)


def main() -> None:
    """Measure all and print one JSON line for each."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        with Node(base / "old", "--slots", "2") as old:
            old.start().ready()
            empty, _ = joined(old, base / "empty")
            old.stop()
            blocks = fill(old.folder)
            floor = alone(blocks, base)
            old.start().ready()
            taken, count = joined(old, base / "whole")
            say("cold join of 100,000 events / verify and store them", taken, empty, floor, n=count)
            prune(old)
            taken, count = joined(old, base / "pruned")
            say("cold join from a checkpoint of them / target", taken, empty, TARGET_S, n=count)


if __name__ == "__main__":
    main()
