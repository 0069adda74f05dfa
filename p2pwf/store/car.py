"""CAR v1, the archive of IPLD blocks: written, and read strictly, a section at a time.

Knows CIDs, lengths and hashes; must not know what a block means. Nothing is written to disk by reading.
A CAR is a header, {roots, version: 1} in DAG-CBOR, and sections, each a CID and the bytes it names; before each of both
stands its length as an unsigned LEB128. Any IPLD tool can list and check one. Source: the CARv1 specification of IPLD.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import BinaryIO, Final

from p2pwf.core.dagcbor import DagCborError, decode, encode
from p2pwf.core.ids import CID_LENGTH, DAG_CBOR_PREFIX, Cid, is_cid
from p2pwf.errors import Refused

CHUNK: Final = 1024 * 1024
"""Bytes read at a time: a section may be larger than memory."""
MAX_HEADER: Final = 4096
"""Bytes of a header: one root takes 59."""
MAX_VARINT: Final = 9
"""Bytes of a length: 63 bits, as multiformats bound it."""


def bad(why: str) -> Refused:
    """A file that no `clock export` wrote, or not all of one."""
    return Refused(
        f"this is no whole archive of a clock: {why}",
        "nothing of it was taken; take another copy, or make one: `p2pwf clock export FILE`",
    )


class CarWriter:
    """Writes a header with one root, and then sections."""

    def __init__(self, out: BinaryIO, root: Cid) -> None:
        self._out = out
        self.written = 0
        header = encode({"roots": [root], "version": 1})
        self._write(varint(len(header)) + header)

    def add(self, cid: Cid, content: bytes) -> None:
        """Write one section."""
        self.begin(cid, len(content))
        self._write(content)

    def begin(self, cid: Cid, size: int) -> None:
        """Write what stands before `size` bytes, which go to `more`."""
        self._write(varint(len(cid) + size) + cid)

    def more(self, chunk: bytes) -> None:
        """Write a part of a section that was begun."""
        self._write(chunk)

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self.written += len(data)


class Section:
    """One block while an archive is read: `content` or `chunks` gives its bytes, once, checked against `cid`."""

    def __init__(self, cid: Cid, size: int, source: _Source) -> None:
        self.cid = cid
        self.size = size
        self._source = source

    def content(self, limit: int) -> bytes:
        """All of it; raises Refused for more than `limit` bytes."""
        if self.size > limit:
            raise bad(f"{self.cid} has {self.size} bytes, where {limit} is the bound")
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Its bytes; raises Refused at the end if they are not what the CID names."""
        digest, left = sha256(), self.size
        while left:
            chunk = self._source.exactly(min(left, CHUNK))
            left -= len(chunk)
            digest.update(chunk)
            yield chunk
        if digest.digest() != self.cid[len(DAG_CBOR_PREFIX) :]:
            raise bad(f"{self.cid} is not what it holds")


def read_car(file: BinaryIO) -> tuple[Cid, Iterator[Section]]:
    """The root and the sections of a CAR with one root; each has to be read before the next one.

    Raises Refused for anything else, and for one that is cut off within a section. One that is cut off between two
    cannot be told from a whole one: whoever knows what belongs into it has to see to that.
    """
    source = _Source(file)
    length = source.varint()
    if length is None or not 0 < length <= MAX_HEADER:
        raise bad("it has no header")
    try:
        header = decode(source.exactly(length), MAX_HEADER)
    except DagCborError:
        raise bad("it has no header") from None
    if not isinstance(header, dict) or header.keys() != {"roots", "version"} or header["version"] != 1:
        raise bad("it is no CAR of version 1")
    roots = header["roots"]
    if not isinstance(roots, list) or len(roots) != 1 or not isinstance(roots[0], Cid):
        raise bad("it has not one root")
    return roots[0], _sections(source)


def _sections(source: _Source) -> Iterator[Section]:
    while (length := source.varint()) is not None:
        cid = source.exactly(CID_LENGTH) if length >= CID_LENGTH else b""
        if not is_cid(cid):
            raise bad(f"at byte {source.at} there is no CID of a kind used here")
        yield Section(Cid(cid), length - CID_LENGTH, source)


class _Source:
    """The bytes of a file, from its start."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.at = 0

    def exactly(self, size: int) -> bytes:
        found = self._file.read(size)
        self.at += len(found)
        if len(found) < size:
            raise bad(f"it is cut off at byte {self.at}")
        return found

    def varint(self) -> int | None:
        """A length in its one, shortest form; None at the end of the file."""
        found = 0
        for place in range(MAX_VARINT):
            byte = self._file.read(1)
            if not byte and not place:
                return None
            if not byte:
                raise bad(f"it is cut off at byte {self.at}")
            self.at += 1
            found |= (byte[0] & 0x7F) << (7 * place)
            if byte[0] < 0x80:
                if byte[0] or not place:
                    return found
                break
        raise bad(f"at byte {self.at} there is no length")


def varint(number: int) -> bytes:
    """An unsigned LEB128."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
