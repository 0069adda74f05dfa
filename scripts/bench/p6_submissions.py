"""P6: durable submissions through the engine's loop with group commit, beside one SQLite commit after the other.

64 clients submit at once over the loop (parsing and HTTP are left out); `ours` and `reference` per second, with the
99th percentile of the time until a submission is acknowledged, on disk.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path

import trio

from p2pwf.core.events import Event
from p2pwf.core.sign import Signer
from p2pwf.engine import Engine, EngineConfig, found
from p2pwf.engine.inputs import Submit
from p2pwf.engine.outputs import Output
from p2pwf.node.loop import EngineLoop, now, stored_event
from p2pwf.store.events import Commit, EventStore, StoredEvent
from p2pwf.testing import SimPlanner, make_submission

CLIENTS = 64
EACH = 40


class Deaf:
    """A shell that does nothing: no network, no jobs."""

    async def perform(self, outputs: list[Output]) -> None:
        del outputs


def refuse(_: Event, __: object) -> str:
    return "the bench runs nothing"


async def ours(folder: Path) -> tuple[float, list[float], list[StoredEvent]]:
    """Seconds for all, and for each; and the events, for the reference."""
    signer = Signer(b"\1" * 32)
    founder = {"name": "bench", "labels": ["linux"], "slots": 0}
    genesis = found(signer, now(), nonce=b"n" * 16, name="bench", private=False, founder=founder)
    store = EventStore.open(folder / "events.db")
    store.commit(Commit((stored_event(genesis),)))
    engine = Engine(signer, genesis.cid, EngineConfig(b"boot" * 2, "bench", 0, SimPlanner(), refuse), now())
    engine.load([genesis.signed], {})
    loop = EngineLoop(engine, store, Deaf())
    body = make_submission({"build": []})
    taken: list[float] = []

    async def client() -> None:
        for _ in range(EACH):
            began = time.perf_counter()
            await loop.ask(partial(Submit, body=body))
            taken.append(time.perf_counter() - began)

    async with trio.open_nursery() as outer:
        outer.start_soon(loop.run)
        began = time.perf_counter()
        async with trio.open_nursery() as clients:
            for _ in range(CLIENTS):
                clients.start_soon(client)
        whole = time.perf_counter() - began
        outer.cancel_scope.cancel()
    events = list(store.load())
    store.close()
    return whole, taken, events


def one_by_one(folder: Path, events: list[StoredEvent]) -> float:
    """Seconds to commit the same events one after the other."""
    store = EventStore.open(folder / "single.db")
    began = time.perf_counter()
    for event in events:
        store.commit(Commit((event,)))
    seconds = time.perf_counter() - began
    store.close()
    return seconds


def main() -> None:
    """Measure both on one disk."""
    with tempfile.TemporaryDirectory() as name:
        whole, taken, events = trio.run(ours, Path(name))
        floor = one_by_one(Path(name), events)
    count = CLIENTS * EACH
    rate, reference = count / whole, len(events) / floor
    p99 = sorted(taken)[int(len(taken) * 0.99)] * 1000
    figures = {"ours": round(rate), "reference": round(reference), "ratio": round(rate / reference, 2)}
    print(
        json.dumps(
            {
                "name": "P6 acknowledged submissions / single commits",
                **figures,
                "unit": "per second",
                "n": count,
                "p99_ms": round(p99, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
