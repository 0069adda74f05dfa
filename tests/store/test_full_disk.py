"""A disk that is full in real: a file size limit (which any user can set), and a small file system where allowed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from p2pwf.core.ids import parse_cid
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import EventStore
from tests.store.kit import ROOT, event

FILL_EVENTS = """
import json, resource, sys
from pathlib import Path
from p2pwf.errors import StorageError
from p2pwf.store.events import Commit, EventStore
from tests.store.kit import event

path = Path(sys.argv[1])
store = EventStore.open(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
acknowledged = 0
try:
    while True:
        store.commit(Commit(tuple(event(n) for n in range(acknowledged, acknowledged + 20))))
        acknowledged += 20
except StorageError as error:
    told = [error.message, error.hint]
seen = sorted(e.seq for e in store.load())
failures = store.statistics()["failures"]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.commit(Commit((event(10**6),)))
print(json.dumps({"acknowledged": acknowledged, "told": told, "seen": seen, "failures": failures}))
store.close()
"""

FILL_BLOBS = """
import json, resource, sys
from pathlib import Path
from p2pwf.core.ids import blob_cid
from p2pwf.errors import StorageError
from p2pwf.store.blobs import BlobStore

store = BlobStore(Path(sys.argv[1]), 10**9)
small = store.put_bytes(b"small")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
large = b"x" * 250_000
told = []

def attempt(action):
    try:
        action()
    except StorageError as error:
        told.append(error.message)

def write():
    with store.writer() as writer:
        for start in range(0, len(large), 50_000):
            writer.write(large[start:start + 50_000])
        writer.commit()

attempt(lambda: store.put_bytes(large))
attempt(write)
download = store.partial(blob_cid(large))
download.append(large[:90_000])
attempt(lambda: download.append(large[90_000:]))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
held = store.has(blob_cid(large))
offset = download.offset
on_disk = next((Path(sys.argv[1]) / "partial").iterdir()).stat().st_size
download.append(large[offset:])
print(json.dumps({
    "told": told, "held": held, "offset": offset, "on_disk": on_disk,
    "small": small.text, "large": download.finish().text,
    "left": len(list((Path(sys.argv[1]) / "tmp").iterdir())),
}))
store.close()
"""

FILL_FILE_SYSTEM = """
import sys
from pathlib import Path
from p2pwf.errors import StorageError
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import Commit, EventStore
from tests.store.kit import event

folder = Path(sys.argv[1])
store = EventStore.open(folder / "events.db")
blobs = BlobStore(folder / "blobs", 0, clock=lambda: 0)
cache = [blobs.put_bytes(bytes([n]) * 100_000) for n in range(5)]
kept = blobs.put_bytes(b"kept" * 1000)
blobs.pin(kept, "run", None)
acknowledged = 0
try:
    while True:
        store.commit(Commit(tuple(event(n) for n in range(acknowledged, acknowledged + 50))))
        acknowledged += 50
except StorageError as error:
    assert "no room" in error.message, error.message
try:
    blobs.put_bytes(b"y" * 2_000_000)
except StorageError as error:
    assert "no room" in error.message, error.message
else:
    raise AssertionError("two megabytes fitted")
assert acknowledged > 100
assert [e.seq for e in store.load() if e == event(e.seq)] and store.count() == acknowledged
for cid in [*cache, kept]:
    blobs.open(cid).close()
try:
    blobs.collect(10**12)
except StorageError:  # the index may find no room until the files are gone
    blobs.collect(10**12)
assert [blobs.has(cid) for cid in cache] == [False] * 5 and blobs.has(kept)
store.commit(Commit(tuple(event(n) for n in range(acknowledged, acknowledged + 50))))
store.close()
store = EventStore.open(folder / "events.db")
assert store.count() == acknowledged + 50
store.close()
blobs.close()
print("done")
"""


def _run(script: str, folder: Path) -> dict[str, object]:
    command = [sys.executable, "-W", "error", "-c", script, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_a_commit_that_finds_no_room_is_told_and_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    result = _run(FILL_EVENTS, tmp_path / "events.db")
    acknowledged = result["acknowledged"]
    assert isinstance(acknowledged, int)
    assert acknowledged > 20
    told = result["told"]
    assert isinstance(told, list)
    assert "events.db" in told[0]
    assert told[1]
    assert result["seen"] == list(range(acknowledged))
    assert result["failures"] == 1
    store = EventStore.open(tmp_path / "events.db")
    assert sorted(e.seq for e in store.load()) == [*range(acknowledged), 10**6]
    assert all(e == event(e.seq) for e in store.load())
    store.close()


def test_a_blob_that_finds_no_room_is_told_and_nothing_of_it_is_held(tmp_path: Path) -> None:
    result = _run(FILL_BLOBS, tmp_path)
    told = result["told"]
    assert isinstance(told, list)
    assert len(told) == 3
    assert all("no room to write" in message for message in told)
    assert (result["held"], result["left"]) == (False, 0)
    assert result["offset"] == result["on_disk"] == 90_000
    store = BlobStore(tmp_path, 10**9)
    with store.open(parse_cid(str(result["large"]))) as file:
        assert file.read() == b"x" * 250_000
    assert store.has(parse_cid(str(result["small"])))
    store.close()


def test_a_full_file_system_is_told_and_collection_makes_room_on_it(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = 'mount -t tmpfs -o size=2500k,mode=700 none "$1" || exit 77; exec "$2" -W error -c "$3" "$1"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    try:
        done = subprocess.run(
            [*command, str(folder), sys.executable, FILL_FILE_SYSTEM],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this user may not mount a file system")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("name", ["events.db", "blobs"])
def test_a_folder_that_cannot_be_made_or_written_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    script = f"""
import json, sys
from pathlib import Path
from p2pwf.errors import StorageError
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import EventStore
path = Path(sys.argv[1]) / "file" / "{name}"
try:
    EventStore.open(path) if path.suffix else BlobStore(path, 10)
except StorageError as error:
    print(json.dumps({{"message": error.message, "hint": error.hint}}))
"""
    result = _run(script, tmp_path)
    assert name in str(result["message"])
    assert result["hint"]
