"""Durable commits a second: EventStore beside raw sqlite3 (WAL, synchronous=FULL, one table, one index).

    python scripts/bench/store_commit.py

Prints one JSON line {name, ours, reference, ratio, unit, n} for each size of commit. The two take turns on one disk,
and the median of their rounds counts, because a disk's speed changes by the minute.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from p2pwf.core.ids import PeerId, block_cid
from p2pwf.store.events import Commit, EventStore, StoredEvent

RUN_EVENTS = 16
BLOCK = 600
"""Bytes of an event such as job.start; a submission is larger."""
ROUNDS = 7
COMMITS = {1: 300, 16: 150, 256: 30}
"""Commits a round for each number of events in one: about 0.1 to 0.3 s."""


def events(numbers: Iterator[int], size: int) -> tuple[StoredEvent, ...]:
    """Events that no store has seen, their lamports rising, RUN_EVENTS about each run."""
    author = PeerId("12D3KooW" + "x" * 44)
    made = []
    for number in islice(numbers, size):
        block = os.urandom(BLOCK)
        run = block_cid(b"%d" % (number // RUN_EVENTS))
        made.append(StoredEvent(block_cid(block), block, os.urandom(64), author, number, number, "job.start", run))
    return tuple(made)


def raw(path: Path) -> sqlite3.Connection:
    """A database with the least that could hold an event."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE event (cid BLOB NOT NULL UNIQUE, block BLOB, signature BLOB)")
    return connection


def raw_commit(connection: sqlite3.Connection, batch: Sequence[StoredEvent]) -> None:
    """What `EventStore.commit` is held against."""
    connection.execute("BEGIN IMMEDIATE")
    rows = [(bytes(e.cid), e.block, e.signature) for e in batch]
    connection.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?)", rows)
    connection.execute("COMMIT")


def rate(commit: Callable[[tuple[StoredEvent, ...]], None], numbers: Iterator[int], size: int, commits: int) -> float:
    """Commits a second of `commits` commits of `size` events."""
    batches = [events(numbers, size) for _ in range(commits)]
    start = time.perf_counter()
    for batch in batches:
        commit(batch)
    return commits / (time.perf_counter() - start)


def measure(folder: Path) -> Iterator[dict[str, object]]:
    """One line for each size of commit."""
    store = EventStore.open(folder / "events.db")
    connection = raw(folder / "raw.db")
    numbers = count(1)
    for size, commits in COMMITS.items():
        ours, reference = [], []
        for _ in range(ROUNDS):
            reference.append(rate(lambda batch: raw_commit(connection, batch), numbers, size, commits))
            ours.append(rate(lambda batch: store.commit(Commit(batch)), numbers, size, commits))
        mine, theirs = median(ours), median(reference)
        yield {
            "name": f"store_commit_{size}",
            "ours": round(mine, 1),
            "reference": round(theirs, 1),
            "ratio": round(mine / theirs, 3),
            "unit": f"commits/s of {size} events",
            "n": ROUNDS * commits,
        }
    connection.close()
    store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="p2pwf-bench-") as name:
        for line in measure(Path(name)):
            print(json.dumps(line))
