"""Whether SQLite's write-ahead log lost commits in its middle: SQLite itself would not say.

Knows the file format of the log; must not know what the database holds, and never writes.
Theory of operation. SQLite replays a log up to the last commit whose running checksum holds and takes the rest for an
unfinished transaction. That is right after a crash; after damage to the log it silently drops commits that were
acknowledged. A frame that continues the running checksum of a commit frame was written only once that commit had been
synced. So one such pair beyond the point that SQLite replayed to proves damage. Damage to the very last commit looks
like an unfinished one: it cannot be told.
Source: https://www.sqlite.org/fileformat2.html#walformat and https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path
from typing import Final, cast

import attrs

HEADER: Final = struct.Struct(">8I")
"""magic, version, page size, checkpoint number, two salts, two checksum words."""
FRAME: Final = struct.Struct(">6I")
"""page number, pages of the database after a commit (else 0), two salts, two checksum words."""
BIG_ENDIAN_MAGIC: Final = 0x377F0683
LAST_FRAME: Final = struct.Struct("=I")
LAST_FRAME_OFFSET: Final = 16
"""Where the log's index (`-shm`, in the byte order of this machine) keeps the last frame that is replayed."""
WORD: Final = 0xFFFFFFFF


@attrs.frozen(slots=True)
class _Frame:
    head: bytes
    commit: bool
    salts: tuple[int, int]
    sums: tuple[int, int]
    page: bytes


def lost_commits(database: Path, connection: sqlite3.Connection) -> int:
    """The number of commits that damage to the log of `database` cut off; 0 for a log that is whole or just torn.

    `connection` must have read from the database: it keeps the log's index up to date.
    """
    log = database.with_name(database.name + "-wal")
    if not log.exists() or log.stat().st_size <= HEADER.size:
        return 0
    page_size = cast("tuple[int]", connection.execute("PRAGMA page_size").fetchone())[0]
    index = database.with_name(database.name + "-shm").read_bytes()
    (replayed,) = LAST_FRAME.unpack_from(index, LAST_FRAME_OFFSET)
    with log.open("rb") as file:
        header = file.read(HEADER.size)
        magic, _, _, _, salt1, salt2, *sums = HEADER.unpack(header)
        order = ">" if magic == BIG_ENDIAN_MAGIC else "<"
        whole = _sums((0, 0), header[:-8], order) == tuple(sums)
        file.seek(HEADER.size + replayed * (FRAME.size + page_size))
        lost = 0
        last: _Frame | None = None
        while (frame := _next_frame(file.read(FRAME.size + page_size), page_size)) is not None:
            # Frames of an earlier round of the log carry other salts: a power cut may leave them behind a new header.
            # If the header is what is damaged, the salts of the frames have to do.
            current = not whole or frame.salts == (salt1, salt2)
            if last is not None and last.commit and current and _continues(last, frame, order):
                lost += 1
            last = frame
        return lost


def _next_frame(data: bytes, page_size: int) -> _Frame | None:
    if len(data) < FRAME.size + page_size:
        return None
    _, pages, salt1, salt2, sum1, sum2 = FRAME.unpack_from(data)
    return _Frame(data[:8], pages != 0, (salt1, salt2), (sum1, sum2), data[FRAME.size :])


def _continues(last: _Frame, frame: _Frame, order: str) -> bool:
    return last.salts == frame.salts and _sums(last.sums, frame.head + frame.page, order) == frame.sums


def _sums(before: tuple[int, int], content: bytes, order: str) -> tuple[int, int]:
    """The running checksum of the log, `content` further on."""
    first, second = before
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & WORD
        second = (second + odd + first) & WORD
    return first, second
