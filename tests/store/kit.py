"""Events and corruption for the tests of the store: what an event means does not matter to it, so any bytes will do."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from p2pwf.core.ids import Cid, PeerId, block_cid
from p2pwf.store.events import StoredEvent

ROOT = Path(__file__).parents[2]


def event(number: int, *, run: Cid | None = None, size: int = 500) -> StoredEvent:
    """The event of that number: always the same one."""
    seed = sha256(b"%d" % number).digest()
    block = (b"%d:" % number + seed * (size // 32 + 1))[:size]
    return StoredEvent(
        cid=block_cid(block),
        block=block,
        signature=(seed * 2)[:64],
        author=PeerId("12D3KooWExample"),
        seq=number,
        lamport=number // 3 + 1,
        type="run.submit",
        run=run,
    )


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that runs `script`, its output piped and line-buffered."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def flip(path: Path, offset: int, length: int = 1) -> None:
    """Damage a file: invert `length` bytes at `offset`."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(length)
        assert len(old) == length
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in old))


def contents(folder: Path) -> dict[str, bytes]:
    """What each file in a folder holds; SQLite's shared-memory index is no content."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
