"""A job's log: lines as values, written to an NDJSON file, read back and followed. Knows nothing of steps or masks.

One line of the file is one JSON object: {"time": ms, "step": int, "stream": str, "text": str}.
Lines are buffered until `flush`, which the runner calls once per chunk of output, not once per line.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args

import attrs
import trio

Stream = Literal["stdout", "stderr", "command", "system"]
"""`command`: a workflow command as it shows (a group, an annotation); `system`: what the runner itself says."""
STREAMS: Final[frozenset[str]] = frozenset(get_args(Stream))
READ_SIZE: Final = 1 << 16
MAX_NUMBER: Final = 1 << 53
"""What any reader of JSON takes as an integer."""


@attrs.frozen(slots=True)
class LogLine:
    """One line: wall time in ms, the step's number (0 for the job itself), where it came from, its text."""

    time_ms: int
    step: int
    stream: Stream
    text: str

    def to_json(self) -> str:
        """The line as one JSON object, without a newline."""
        # Not json.dumps: a log has millions of lines, and of their fields only the text needs care.
        text = encode_basestring(self.text)
        return f'{{"time":{self.time_ms},"step":{self.step},"stream":"{self.stream}","text":{text}}}'


def read_fields(raw: bytes) -> dict[str, Any]:
    """What one line of a log file says, {time, step, stream, text} and no more; raises ValueError if it is not one."""
    try:
        fields = json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deep") from None
    match fields:
        case {"time": int(time), "step": int(step), "stream": str(stream), "text": str(text)} if (
            {type(time), type(step)} == {int}
            and 0 <= time <= MAX_NUMBER
            and 0 <= step <= MAX_NUMBER
            and stream in STREAMS
        ):
            return {"time": time, "step": step, "stream": stream, "text": text}
    raise ValueError("not a line of a log")


def read_line(raw: bytes) -> LogLine:
    """The line that one line of a log file says; raises ValueError if it is not one."""
    fields = read_fields(raw)
    return LogLine(fields["time"], fields["step"], fields["stream"], fields["text"])


class LogSink(Protocol):
    """Where the lines of a job go."""

    def write(self, line: LogLine) -> None:
        """Take a line; never blocks for long."""

    def flush(self) -> None:
        """Make the lines so far visible to readers."""


class FileLog:
    """A log in a file, which any number of readers in this process can follow while it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._file = path.open("xb")
        self._grown = trio.lowlevel.ParkingLot()

    def write(self, line: LogLine) -> None:
        """Append a line; raises OSError when the disk refuses."""
        # A lone surrogate (half a pair that came through JSON) is no UTF-8: it shows as a question mark.
        self._file.write(line.to_json().encode("utf-8", "replace") + b"\n")
        self.lines += 1

    def flush(self) -> None:
        """Show readers what was written; raises OSError when the disk refuses."""
        self._file.flush()
        self._grown.unpark_all()

    def close(self) -> None:
        """No more lines come: readers end. Closing twice is fine."""
        self._file.close()
        self._grown.unpark_all()

    async def follow(self, from_line: int = 0) -> AsyncIterator[LogLine]:
        """The lines from number `from_line` (0 is the first) until the log is closed, as they come."""
        skip = from_line
        rest = b""
        with self.path.open("rb") as file:
            while True:
                closed = self._file.closed
                while chunk := file.read(READ_SIZE):
                    *whole, rest = (rest + chunk).split(b"\n")
                    for raw in whole[skip:]:
                        yield read_line(raw)
                    skip = max(0, skip - len(whole))
                    await trio.lowlevel.checkpoint()
                if closed:
                    return
                if not self._file.closed:
                    await self._grown.park()


def read_log(path: Path, from_line: int = 0) -> Iterator[LogLine]:
    """The lines of a finished log from number `from_line` (0 is the first)."""
    with path.open("rb") as file:
        for number, raw in enumerate(file):
            if number >= from_line and raw.endswith(b"\n"):
                yield read_line(raw)
