"""P5: verified ingest of events on one core, without the store, beside bare Ed25519 verification of the same events.

Prints one JSON line; `ours` and `reference` in events per second.
"""

from __future__ import annotations

import json
import time

from nacl.bindings import crypto_sign_open

from p2pwf.clock import Accepted, Clock
from p2pwf.core.events import Event, SignedBlock, parse
from p2pwf.core.ids import public_key_of
from p2pwf.core.sign import DOMAIN, Signer
from p2pwf.engine import EngineConfig, found
from p2pwf.engine.desk import Desk
from p2pwf.engine.inputs import Now
from p2pwf.testing import SimPlanner, make_submission

EVENTS = 4000
ROUNDS = 9


def history(count: int) -> tuple[Desk, list[SignedBlock]]:
    """A clock of one author with many runs of one job; see `add_runs`."""
    signer, now = Signer(b"\1" * 32), Now(0.0, 1_700_000_000_000)
    founder = {"name": "bench", "labels": ["linux"], "slots": 2}
    genesis = found(signer, now, nonce=b"n" * 16, name="bench", private=False, founder=founder)
    desk = desk_with(signer, [genesis], now)
    return desk, [genesis.signed, *add_runs(desk, count - 1)]


def desk_with(signer: Signer, events: list[Event], now: Now) -> Desk:
    """A desk that writes as `signer` on top of these events, the first of them a network's first."""
    config = EngineConfig(b"boot" * 2, "bench", 2, SimPlanner())
    desk = Desk(signer, events[0].cid, config, now, lambda *_: True)
    for event in events:
        accepted = desk.clock.accept(event, trusted=True)
        assert isinstance(accepted, Accepted)
        desk.take(event, accepted)
    return desk


def add_runs(desk: Desk, count: int) -> list[SignedBlock]:
    """At least so many events of runs of one job: a submission, a start, a finish and an end each."""
    blocks: list[SignedBlock] = []
    while len(blocks) < count:
        submission = desk.write("run.submit", {**make_submission({"build": []}), "absent": []})
        run = desk.runs[submission.cid]
        about = {"run": run.id, "job": "build", "leg": 0, "attempt": 1, "uses": []}
        start = desk.write("job.start", about, run)
        finish = {
            "conclusion": "success",
            "outcome": "success",
            "outputs": {"v": "1"},
            "log": run.id,
            "report": run.id,
            "artifacts": [],
            "caches": [],
            "error": None,
        }
        finished = desk.write("job.finish", {**about, **finish}, run)
        end = desk.write("run.end", {"run": run.id, "conclusion": "success", "finishes": [finished.cid]}, run)
        blocks += [submission.signed, start.signed, finished.signed, end.signed]
    return blocks


def bare(blocks: list[SignedBlock], author: str) -> float:
    """Seconds to verify the signatures alone."""
    key = public_key_of(author)
    began = time.process_time()
    for signed in blocks:
        crypto_sign_open(signed.signature + DOMAIN + signed.block, key)
    return time.process_time() - began


def ingest(blocks: list[SignedBlock], network: bytes) -> float:
    """Seconds to decode, check, verify and index."""
    clock = Clock(type(parse(blocks[0]).cid)(network))
    began = time.process_time()
    for signed in blocks:
        assert isinstance(clock.accept(parse(signed)), Accepted)
    return time.process_time() - began


def main() -> None:
    """Measure both in turns and take the best of each: CPU time, as the machine may have more to do."""
    desk, blocks = history(EVENTS)
    floors, times = [], []
    for _ in range(ROUNDS):
        floors.append(bare(blocks, desk.me))
        times.append(ingest(blocks, desk.network))
    ours, reference = len(blocks) / min(times), len(blocks) / min(floors)
    figures = {"ours": round(ours), "reference": round(reference), "ratio": round(ours / reference, 3)}
    print(json.dumps({"name": "P5 verified ingest / bare verify", **figures, "unit": "events/s", "n": len(blocks)}))


if __name__ == "__main__":
    main()
