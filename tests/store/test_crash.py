"""Kill -9 of a real writer process under load: what it acknowledged is there, whole, at the next start."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from p2pwf.core.ids import Cid, parse_cid
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import Commit, EventStore
from tests.store.kit import event, python

WRITE_EVENTS = """
import sys
from pathlib import Path
from p2pwf.store.events import Commit, EventStore
from tests.store.kit import event

store = EventStore.open(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    size = number % 7 + 1
    store.commit(Commit(tuple(event(n) for n in range(number, number + size)), {"next": b"%d" % (number + size)}))
    number += size
    print(number, flush=True)
"""

WRITE_BLOBS = """
import sys
from pathlib import Path
from p2pwf.store.blobs import BlobStore

store = BlobStore(Path(sys.argv[1]), 10**9)
number = int(sys.argv[2])
while True:
    cid = store.put_bytes(b"%d " % number * (1 + number % 5000))
    store.pin(cid, "run", None)
    number += 1
    print(number, cid, flush=True)
"""


def _kill_writers(path: Path, kills: int, commits: int, seed: int) -> int:
    chance = random.Random(seed)
    acknowledged = 0
    for _ in range(kills):
        writer = python(WRITE_EVENTS, path, acknowledged)
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, commits)):
            acknowledged = int(writer.stdout.readline())
        writer.kill()
        for line in writer.stdout:
            acknowledged = int(line)  # told before it died, read after
        writer.wait()
        writer.__exit__(None, None, None)
        store = EventStore.open(path)
        held = {e.seq for e in store.load() if e == event(e.seq)}
        assert held >= set(range(acknowledged))
        assert len(held) == store.count() == int(store.meta_all()["next"])
        acknowledged = store.count()  # a commit whose acknowledgement was lost is whole too
        store.close()
    return acknowledged


def test_no_acknowledged_event_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    assert _kill_writers(tmp_path / "events.db", kills=6, commits=150, seed=1) > 6


@pytest.mark.long
def test_no_acknowledged_event_is_lost_over_two_hundred_kills(tmp_path: Path) -> None:
    assert _kill_writers(tmp_path / "events.db", kills=200, commits=30, seed=2) > 200


def test_no_acknowledged_blob_or_pin_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    chance = random.Random(3)
    number = 0
    told: set[Cid] = set()
    for _ in range(4):
        writer = python(WRITE_BLOBS, tmp_path, number)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(chance.randrange(1, 60))]
        writer.kill()
        lines += writer.stdout
        writer.wait()
        writer.__exit__(None, None, None)
        for line in lines:
            count, text = line.split()
            number = int(count)
            told.add(parse_cid(text))
        store = BlobStore(tmp_path, 0)
        store.collect(2**60)  # nothing fits the quota: pins alone keep
        for cid in told:
            store.open(cid).close()
        assert list((tmp_path / "tmp").iterdir()) == []
        store.close()


def test_a_store_that_was_killed_while_it_was_made_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "events.db.new").write_bytes(b"half a file")
    (tmp_path / "events.db.new-journal").write_bytes(b"of a dead process")
    store = EventStore.open(tmp_path / "events.db")
    store.commit(Commit((event(1),)))
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["events.db"]
