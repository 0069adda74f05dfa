"""Power cuts on real files: what a program did to its folder, and what a disk may be left with wherever it is cut off.

`record` runs a program under strace and reads what it did to the files of one folder. `cuts` replays that up to a cut
and makes what may then lie on the disk: of all that was not synced, sectors of 512 bytes are kept or lost one by one,
and of new, renamed and removed names those up to some moment. What was synced is kept: the disk is an honest one.

Method: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), and SQLite's own crash tests
(https://www.sqlite.org/testing.html, part 3.3).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

import attrs

SECTOR: Final = 512
CALLS: Final = (
    "openat,write,pwrite64,lseek,fsync,fdatasync,ftruncate,rename,renameat,renameat2,link,linkat,unlink,unlinkat"
)
_LINE: Final = re.compile(r"^(\d+)\s+(.*)$")
_RESUMED: Final = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_CALL: Final = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_HANDLE: Final = re.compile(r"^(\d+)<")
LONGEST: Final = 1 << 20
"""Bytes of one write that strace prints."""


@attrs.frozen(slots=True)
class Op:
    """One thing that was done. `kind`: create, write, truncate, sync, name, unname, sync_names, said."""

    kind: str
    file: int = 0
    """A file, by number; names come and go."""
    path: str = ""
    offset: int = 0
    data: bytes = b""
    begun: int = 0
    """Of a sync: how many things had been done when it began, which it covers."""


def has_strace() -> bool:
    """Whether programs can be recorded on this machine."""
    program = shutil.which("strace")
    return program is not None and subprocess.run([program, "-o", "/dev/null", "true"], check=False).returncode == 0


def record(folder: Path, code: str, *arguments: str, environ: dict[str, str]) -> list[Op]:
    """Run a Python program that works in `folder`, with its path as first argument; returns what it did there, and
    what it said on its standard output, in order."""
    trace = folder.with_name(f"{folder.name}.trace")
    line = ["strace", "-f", "-y", "-xx", "-s", str(LONGEST), "-e", f"trace={CALLS}", "-o", str(trace)]
    program = [sys.executable, "-c", code, str(folder), *arguments]
    done = subprocess.run([*line, *program], env=environ, check=False, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return _Reader(folder).read(trace)


class _Reader:
    """Turns a trace into operations on the files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._ops: list[Op] = []
        self._files: dict[str, int] = {}
        self._handles: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        self._count = 0

    def read(self, trace: Path) -> list[Op]:
        """All operations, in the order in which they ended."""
        begun: dict[str, tuple[str, int]] = {}
        for line in trace.read_text(errors="replace").splitlines():
            found = _LINE.match(line)
            if found is None:
                continue
            thread, text = found.groups()
            if text.endswith("<unfinished ...>"):
                begun[thread] = text.removesuffix("<unfinished ...>"), len(self._ops)
                continue
            since = len(self._ops)
            resumed = _RESUMED.match(text)
            if resumed is not None:
                head, since = begun.pop(thread, ("", since))
                text = head + resumed.group(1).lstrip()
            call = _CALL.match(text)
            if call is not None and int(call.group(3)) >= 0:
                self._take(call.group(1), call.group(2), int(call.group(3)), since)
        return self._ops

    def _take(self, name: str, arguments: str, result: int, since: int) -> None:
        texts = [bytes.fromhex(text.replace("\\x", "")) for text, _ in _TEXT.findall(arguments)]
        held = _HANDLE.match(arguments)
        handle = -1 if held is None else int(held.group(1))
        if name == "openat":
            self._open(texts[0].decode(), arguments, result)
        elif name in ("rename", "renameat", "renameat2"):
            self._rename(texts[0].decode(), texts[1].decode())
        elif name in ("link", "linkat"):
            source, target = texts[0].decode(), texts[1].decode()
            if source in self._files:
                self._name(target, self._files[source])
        elif name in ("unlink", "unlinkat"):
            if texts[0].decode() in self._files:
                self._ops.append(Op("unname", self._files.pop(texts[0].decode()), texts[0].decode()))
        elif name == "write" and handle == 1:
            self._ops.append(Op("said", data=texts[0]))
        elif handle in self._handles:
            self._about(name, arguments, texts, handle, result, since)

    def _open(self, path: str, arguments: str, handle: int) -> None:
        self._handles.pop(handle, None)
        if path != self._folder and not path.startswith(self._folder + "/"):
            return
        if Path(path).is_dir():
            self._handles[handle] = 0
            return
        if path not in self._files:
            if "O_CREAT" not in arguments:
                return
            self._count += 1
            self._ops.append(Op("create", self._count))
            self._name(path, self._count)
        self._handles[handle] = file = self._files[path]
        self._positions[handle] = 0
        if "O_TRUNC" in arguments:
            self._ops.append(Op("truncate", file))

    def _about(self, name: str, arguments: str, texts: Sequence[bytes], handle: int, result: int, since: int) -> None:
        file = self._handles[handle]
        if name in ("fsync", "fdatasync"):
            self._ops.append(Op("sync" if file else "sync_names", file, begun=since))
        elif name == "pwrite64":
            self._ops.append(Op("write", file, offset=int(arguments.rsplit(", ", 1)[1]), data=texts[-1][:result]))
        elif name == "write":
            self._ops.append(Op("write", file, offset=self._positions[handle], data=texts[-1][:result]))
            self._positions[handle] += result
        elif name == "lseek":
            self._positions[handle] = result
        elif name == "ftruncate":
            self._ops.append(Op("truncate", file, offset=int(arguments.rsplit(", ", 1)[1])))

    def _name(self, path: str, file: int) -> None:
        self._files[path] = file
        self._ops.append(Op("name", file, path))

    def _rename(self, source: str, target: str) -> None:
        if source in self._files:
            file = self._files.pop(source)
            self._files[target] = file
            self._ops.append(Op("name", file, target))
            self._ops.append(Op("unname", file, source))


@attrs.frozen(slots=True)
class Cut:
    """What a disk may hold after a power cut: files by their path in the folder; `said`: what was told before it."""

    files: dict[str, bytes]
    said: bytes

    def lay_out(self, folder: Path) -> None:
        """Write the files into a folder of their own."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def cuts(folder: Path, ops: Sequence[Op], count: int, chance: Random) -> Iterator[Cut]:
    """So many power cuts, each at a moment of its own choice."""
    for _ in range(count):
        yield _cut(str(folder), ops[: chance.randrange(len(ops) + 1)], chance)


def _cut(folder: str, ops: Sequence[Op], chance: Random) -> Cut:
    covered = _covered(ops)
    keep = chance.choice((0.0, 0.2, 0.5, 0.8, 1.0))
    names_until = chance.randrange(len(ops) + 1)
    names: dict[str, int] = {}
    contents: dict[int, bytearray] = {}
    said = b""
    for number, op in enumerate(ops):
        durable = covered[number]
        match op.kind:
            case "create":
                contents[op.file] = bytearray()
            case "write":
                _write(contents[op.file], op, 1.0 if durable else keep, chance)
            case "truncate" if durable or chance.random() < keep:
                held = contents[op.file]
                del held[op.offset :]
                held.extend(bytes(op.offset - len(held)))
            case "name" if durable or number < names_until:
                names[op.path] = op.file
            case "unname" if (durable or number < names_until) and names.get(op.path) == op.file:
                del names[op.path]
            case "said":
                said += op.data
            case _:
                pass  # lost, or a sync
    return Cut({path.removeprefix(folder + "/"): bytes(contents[file]) for path, file in names.items()}, said)


def _covered(ops: Sequence[Op]) -> list[bool]:
    """Of each operation, whether a sync has made it durable."""
    covered = [False] * len(ops)
    for op in ops:
        if op.kind == "sync":
            for number in range(op.begun):
                if ops[number].kind in ("write", "truncate") and ops[number].file == op.file:
                    covered[number] = True
        elif op.kind == "sync_names":
            for number in range(op.begun):
                if ops[number].kind in ("name", "unname"):
                    covered[number] = True
    return covered


def _write(held: bytearray, op: Op, keep: float, chance: Random) -> None:
    """Lay a write over a file, sector by sector."""
    end = op.offset + len(op.data)
    start = op.offset
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if keep == 1.0 or chance.random() < keep:
            if len(held) < stop:
                held.extend(bytes(stop - len(held)))
            held[start:stop] = op.data[start - op.offset : stop - op.offset]
        start = stop
