"""Power cuts: whatever a disk was left with, what was acknowledged is there, and nothing is torn or called damaged.

`scripts/power_cuts` makes thousands.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from p2pwf.core.ids import parse_cid
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import EventStore
from tests.store.kit import event
from tests.store.powercut import Cut, cuts, has_strace, record

pytestmark = pytest.mark.skipif(not has_strace(), reason="strace is not there, or may not trace")

COMMITS = 30
TRIALS = 80
SEED = 20
EVENTS = """
import sys
from pathlib import Path
from p2pwf.store.events import Commit, EventStore
from tests.store.kit import event

store = EventStore.open(Path(sys.argv[1]) / "events.db")
number = 0
for size in (1, 2, 7, 1, 40, 3) * (int(sys.argv[2]) // 6):
    store.commit(Commit(tuple(event(n) for n in range(number, number + size)), {"next": b"%d" % (number + size)}))
    number += size
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""
CHECKPOINTS = EVENTS.replace("number = 0", "store._connection.execute('PRAGMA wal_autocheckpoint = 16')\nnumber = 0")
BLOBS = """
import sys
from pathlib import Path
from p2pwf.store.blobs import BlobStore

store = BlobStore(Path(sys.argv[1]) / "blobs", 10**9)
for number in range(0, int(sys.argv[2]), 3):
    cids = [store.put_bytes(b"%d " % n * (1 + n * 997 % 5000)) for n in range(number, number + 3)]
    store.pin_all(cids, "run", None)
    sys.stdout.write("".join(f"{cid}\\n" for cid in cids))
    sys.stdout.flush()
"""


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def holds_events(cut: Cut, folder: Path) -> int:
    """Open what a power cut left; how many events it holds. All that was told is there, whole commits only."""
    cut.lay_out(folder)
    told = max(map(int, cut.said.split()), default=0)
    store = EventStore.open(folder / "events.db")
    try:
        held = list(store.load())
        meta = store.meta_all()
    finally:
        store.close()
    count = len(held)
    assert count >= told, f"{told} events were told, {count} are there"
    assert {one.seq for one in held} == set(range(count))
    assert all(one == event(one.seq) for one in held)
    assert meta.get("next", b"0") == b"%d" % count, "half a commit"
    return count


def holds_blobs(cut: Cut, folder: Path) -> int:
    """Open what a power cut left; how many blobs it has told of, each of which is there and whole."""
    cut.lay_out(folder)
    (folder / "blobs").mkdir(exist_ok=True)
    store = BlobStore(folder / "blobs", 10**9)
    told = re.findall(rb"[a-z0-9]{50,}\n", cut.said)
    size = 0
    try:
        for number, line in enumerate(told):
            content = b"%d " % number * (1 + number * 997 % 5000)
            size += len(content)
            assert store.path(parse_cid(line.decode().strip())).read_bytes() == content
        assert store.pinned_bytes("run") >= size
    finally:
        store.close()
    return len(told)


Holds = Callable[[Cut, Path], int]
PROGRAMS: dict[str, tuple[str, Holds]] = {
    "commits": (EVENTS, holds_events),
    "checkpoints": (CHECKPOINTS, holds_events),
    "blobs": (BLOBS, holds_blobs),
}


def play(work: Path, code: str, holds: Holds, trials: int = TRIALS, seed: int = SEED) -> set[int]:
    """Record a program once and cut the power `trials` times; how much was there, of every cut."""
    folder = work / "recorded"
    folder.mkdir()
    ops = record(folder, code, str(COMMITS), environ=environ())
    found = set()
    for number, cut in enumerate(cuts(folder, ops, trials, Random(seed))):
        place = work / f"cut{number}"
        place.mkdir()
        found.add(holds(cut, place))
        shutil.rmtree(place)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_acknowledged_is_lost_by_a_power_cut(tmp_path: Path, name: str) -> None:
    assert len(play(tmp_path, *PROGRAMS[name])) >= COMMITS // 3 - 2  # it was cut at many moments


@pytest.mark.parametrize(
    ("name", "skipped"),
    [
        ("commits", "store._connection.execute('PRAGMA synchronous = OFF')"),
        ("blobs", "import os; os.fsync = lambda handle: None"),
    ],
)
def test_without_the_sync_a_power_cut_loses(tmp_path: Path, name: str, skipped: str) -> None:
    code, holds = PROGRAMS[name]
    broken = code.replace("number = 0", f"{skipped}\nnumber = 0").replace("for number in", f"{skipped}\nfor number in")
    with pytest.raises(Exception, match=r"told|No such file|damaged|not held|half|assert"):
        play(tmp_path, broken, holds)
