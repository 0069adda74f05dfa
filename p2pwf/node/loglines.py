"""The lines of a log that may be another peer's, read with distrust. Knows bytes and files; no network, no runs.

The owner of a job may say anything in its log's place: what is no line of a log is an error of that peer's, and neither
a line nor a file is held whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import trio

from p2pwf.errors import RemoteError
from p2pwf.runner.log import read_fields
from p2pwf.workflow.commands import MAX_LINE

MAX_BYTES: Final = 8 * MAX_LINE
"""Of one line: JSON may take six bytes for one of what a job wrote, and its other fields take some."""
AT_ONCE: Final = 1024
"""Lines read by one visit of a thread."""


class LogLines:
    """Lines out of pieces of a log, as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """The lines that `piece` completes, {time, step, stream, text}; raises RemoteError for what is none."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_BYTES:
            raise RemoteError(f"a line of a log of over {MAX_BYTES:,} bytes")
        return [_fields(line) for line in whole]


async def lines_in(path: Path, first: int = 0) -> AsyncGenerator[dict[str, Any], None]:
    """The lines of a finished log from number `first` (0 is the first); raises RemoteError for what is none."""
    with path.open("rb") as file:
        number = 0
        while lines := await trio.to_thread.run_sync(_some, file):
            for line in islice(lines, max(0, first - number), None):
                yield line
            number += len(lines)


def _some(file: BinaryIO) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    while len(lines) < AT_ONCE and (line := file.readline(MAX_BYTES + 1)).endswith(b"\n"):
        lines.append(_fields(line))
    if len(line) > MAX_BYTES:
        raise RemoteError(f"a line of a log of over {MAX_BYTES:,} bytes")
    return lines


def _fields(line: bytes) -> dict[str, Any]:
    try:
        return read_fields(line)
    except ValueError as error:
        raise RemoteError(
            f"a malformed line in a log: {error}", "the peer that wrote it is not to be trusted"
        ) from error
