"""P6: durable submissions through the engine's loop with group commit, beside one SQLite commit after the other.

Parsing and HTTP are left out. `ours`: per second, from 64 clients that each wait for their answer before they go on.
`p99_ms`: the 99th percentile of the time until a submission is on disk and acknowledged, at 1,000 a second that come
when they come (exponential gaps), for this long: a closed loop of clients measures its own queue.
"""

from __future__ import annotations

import json
import random
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
from p2pwf.node.loop import EngineLoop, keep_history, now, stored_event
from p2pwf.store.events import Commit, EventStore, StoredEvent
from p2pwf.testing import SimPlanner, make_submission

CLIENTS = 64
EACH = 40
RATE = 1000
SECONDS = 5.0


class Deaf:
    """A shell that does nothing: no network, no jobs."""

    async def perform(self, outputs: list[Output]) -> None:
        del outputs


def refuse(_: Event, __: object) -> str:
    return "the bench runs nothing"


async def ours(folder: Path) -> tuple[float, list[float], list[StoredEvent]]:
    """Seconds for all of the clients, seconds for each at a given rate; and the events, for the reference."""
    signer = Signer(b"\1" * 32)
    founder = {"name": "bench", "labels": ["linux"], "slots": 0}
    genesis = found(signer, now(), nonce=b"n" * 16, name="bench", private=False, founder=founder)
    store = EventStore.open(folder / "events.db")
    store.commit(Commit((stored_event(genesis),)))
    engine = Engine(signer, genesis.cid, EngineConfig(b"boot" * 2, "bench", 0, SimPlanner(), refuse), now())
    engine.load([genesis.signed], {})
    loop = EngineLoop(engine, store, Deaf())
    keep_history()
    body = make_submission({"build": []})
    taken: list[float] = []

    async def client() -> None:
        for _ in range(EACH):
            await loop.ask(partial(Submit, body=body))

    async def single(due: float) -> None:
        await loop.ask(partial(Submit, body=body))
        taken.append(trio.current_time() - due)

    async with trio.open_nursery() as outer:
        outer.start_soon(loop.run)
        began = time.perf_counter()
        async with trio.open_nursery() as clients:
            for _ in range(CLIENTS):
                clients.start_soon(client)
        whole = time.perf_counter() - began
        events = list(store.load())
        due = trio.current_time()
        end = due + SECONDS
        gaps = random.Random(6)
        async with trio.open_nursery() as clients:
            while (due := due + gaps.expovariate(RATE)) < end:
                await trio.sleep_until(due)
                clients.start_soon(single, due)
        outer.cancel_scope.cancel()
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
