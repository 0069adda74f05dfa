"""A gzipped tar of plain files under relative names: written, and read back strictly.

Knows bytes and names; must not know what the files are. Nothing is written to disk by reading.
Theory of operation. Any tar program reads what is written here; what is read here is what was written here and no more:
headers of regular files with names that fit into them. There are no links, folders, devices, or records that rename
what follows, so an archive of a stranger has no word for a place outside, and no record that must be held in memory
to be understood. Source: POSIX.1-2017, pax, "ustar Interchange Format"; sizes from 8 GiB on in base 256, as GNU tar.
"""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from hashlib import sha256
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

import attrs

from p2pwf.errors import Refused, TryAgain

BLOCK: Final = 512
RECORD: Final = 20 * BLOCK
"""What tar programs fill up their output to."""
CHUNK: Final = 1024 * 1024
LEVEL: Final = 3
"""Of compression: logs and databases shrink to within a tenth of what level 9 gives, several times as fast."""
MAX_NAME: Final = 100
MAX_OCTAL: Final = 8**11 - 1
FILE_MODE: Final = 0o600
_MAGIC: Final = b"ustar\x0000"


@attrs.frozen(slots=True)
class Written:
    """One file of an archive: its size in bytes and the SHA-256 of its content, in hex."""

    size: int
    sha256: str


class Readable(Protocol):
    """An open file, or what reads like one."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""


class ArchiveWriter:
    """Writes files one after the other into `out`, in a `with`: what an error breaks off has no end, and is none."""

    def __init__(self, out: BinaryIO) -> None:
        self._gzip = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=LEVEL)
        self._time = int(time.time())

    def add(self, name: str, size: int, content: Readable) -> Written:
        """Write `size` bytes of an open file as `name`; raises TryAgain if it holds fewer."""
        self._gzip.write(_header(name, size, self._time))
        digest, left = sha256(), size
        while left:
            chunk = content.read(min(left, CHUNK))
            if not chunk:
                raise TryAgain(f"{name} became shorter while it was read", "try again")
            digest.update(chunk)
            self._gzip.write(chunk)
            left -= len(chunk)
        self._gzip.write(bytes(-size % BLOCK))
        return Written(size, digest.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the archive; `out` stays open."""
        try:
            if kind is None:
                self._gzip.write(bytes(2 * BLOCK))
        finally:
            self._gzip.close()


class Entry:
    """One file while an archive is read: `chunks` gives its content, once."""

    def __init__(self, name: str, size: int, source: _Source) -> None:
        self.name = name
        self.size = size
        self._source = source
        self._left = size

    def chunks(self) -> Iterator[bytes]:
        """What is left of the content."""
        while self._left:
            chunk = self._source.exactly(min(self._left, CHUNK))
            self._left -= len(chunk)
            yield chunk
        self._source.exactly(-self.size % BLOCK)


def read_archive(file: BinaryIO) -> Iterator[Entry]:
    """The files of an archive in order; the content of each has to be read before the next one.

    Raises Refused for anything that `ArchiveWriter` does not write, and for an archive that is cut off or damaged.
    """
    source = _Source(file)
    while any(header := source.exactly(BLOCK)):
        yield Entry(*_parse(header), source)
    # Reading on to the very end is also what checks the sum of the whole.
    rest = source.upto(RECORD + 1)
    if len(rest) > RECORD or any(rest):
        raise _bad("there is something behind its end")


class _Source:
    """The bytes inside a gzip file."""

    def __init__(self, file: BinaryIO) -> None:
        self._gzip = gzip.GzipFile(fileobj=file, mode="rb")

    def exactly(self, size: int) -> bytes:
        found = self.upto(size) if size else b""
        if len(found) < size:
            raise _bad("it is cut off")
        return found

    def upto(self, size: int) -> bytes:
        try:
            return self._gzip.read(size)
        except EOFError:
            raise _bad("it is cut off") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise _bad(str(error)) from error


def _bad(why: str) -> Refused:
    return Refused(f"this is no whole backup: {why}", "`p2pwf backup FILE` makes one; take another copy of this one")


def _header(name: str, size: int, when: int) -> bytes:
    path = name.encode()
    if not 0 < len(path) <= MAX_NAME:
        raise ValueError(f"a name of {len(path)} bytes")
    length = b"%011o\0" % size if size <= MAX_OCTAL else b"\x80" + size.to_bytes(11)
    fields = (
        path.ljust(MAX_NAME, b"\0"), b"%07o\0" % FILE_MODE, b"%07o\0" % 0, b"%07o\0" % 0, length, b"%011o\0" % when,
        b" " * 8, b"0", bytes(100), _MAGIC, bytes(64), b"%07o\0" % 0, b"%07o\0" % 0,
    )  # fmt: skip
    header = b"".join(fields).ljust(BLOCK, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _parse(header: bytes) -> tuple[str, int]:
    """Name and size of a regular file; raises Refused for any other header."""
    if header[257:265] != _MAGIC or header[148:156] != b"%06o\0 " % (
        sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    ):
        raise _bad("it has a header of another kind")
    if header[156:157] != b"0" or any(header[157:257]) or any(header[345:]):
        raise _bad("it holds something that is not a plain file")
    name, _, rest = header[:MAX_NAME].partition(b"\0")
    if any(rest) or not name.isascii() or not name.decode("ascii").isprintable():
        raise _bad("it holds a file with an odd name")
    field = header[124:136]
    if field[:1] == b"\x80":
        return name.decode("ascii"), int.from_bytes(field[1:])
    digits = field[:11]
    if field[11:] != b"\0" or not digits.isdigit() or set(digits) & set(b"89"):
        raise _bad("it holds a file of no size")
    return name.decode("ascii"), int(digits, 8)
