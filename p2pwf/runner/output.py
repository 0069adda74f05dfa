"""A step's output: bytes to lines, lines to log and workflow commands. Knows nothing of processes.

Lines end at \\n, \\r\\n or \\r, as on GitHub. A line longer than the bound is logged in pieces, cut so that a hidden
value across the cut is still found; only a whole line can be a command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from json.encoder import encode_basestring
from typing import Final

import attrs

from p2pwf.errors import P2pwfError
from p2pwf.runner.log import LogLine, LogSink, Stream
from p2pwf.runner.masking import Masker
from p2pwf.runner.matchers import Matchers
from p2pwf.runner.values import MAX_ANNOTATIONS, MAX_OF_STEP, Annotation, AnnotationLevel
from p2pwf.workflow import BLOCKED, Command, CommandReader
from p2pwf.workflow.commands import MAX_LINE

MAX_MESSAGE: Final = 4096
"""Characters of an annotation that are kept."""
MAX_VALUES: Final = 1024 * 1024
"""Characters of the outputs or states that one step may set by commands: as much as their files may hold."""
LINE_FIELDS: Final = 60
"""Bytes of a line in a log file beside its text, about."""
MARKERS: Final = (b"::", b"##[")
LEVELS: Final[Mapping[str, AnnotationLevel]] = {"notice": "notice", "warning": "warning", "error": "error"}


class LineSplitter:
    """Cuts a stream of bytes into lines of bounded length. A line comes with whether it is whole."""

    def __init__(self, bound: int, overlap: Callable[[], int], mask: Callable[[str], str]) -> None:
        self._bound = bound
        self._overlap = overlap
        self._mask = mask
        self._rest = b""
        self._cut = False

    def feed(self, data: bytes) -> Iterator[tuple[str, bool]]:
        """The lines that `data` completes, and pieces of one that outgrew the bound."""
        data = self._rest + data
        if b"\r" in data:
            held = data.endswith(b"\r")  # perhaps half of a \r\n
            data = (data[:-1] if held else data).replace(b"\r\n", b"\n").replace(b"\r", b"\n") + (
                b"\r" if held else b""
            )
        *whole, self._rest = data.split(b"\n")
        for line in whole:
            yield self._line(line)
        bound = MAX_LINE if self._rest.lstrip().startswith(MARKERS) and not self._cut else self._bound
        if len(self._rest) > bound + self._overlap():
            yield self._piece()

    def may_command(self, data: bytes) -> bool:
        """Whether `data` may hold, or complete, a line that is a command."""
        edge = self._rest[-2:] + data[:2]
        return any(marker in data or marker in edge or marker in self._rest for marker in MARKERS)

    def skip(self, data: bytes) -> None:
        """Take in bytes whose lines nobody wants."""
        _, newline, rest = data.rpartition(b"\n")
        self._rest = rest if newline else self._rest + rest
        self._cut = self._cut and not newline
        if len(self._rest) > self._bound:
            self._rest, self._cut = b"", True

    def finish(self) -> Iterator[tuple[str, bool]]:
        """The line that had no end when the stream ended."""
        rest, self._rest = self._rest.removesuffix(b"\r"), b""
        if rest:
            yield self._line(rest)

    def _line(self, line: bytes) -> tuple[str, bool]:
        whole = not self._cut
        self._cut = False
        return line.decode("utf-8", "replace"), whole

    def _piece(self) -> tuple[str, bool]:
        text = self._mask(self._rest.decode("utf-8", "surrogateescape"))
        keep = max(self._overlap() - 1, 4)  # four: a character cut in half stays whole
        self._cut = True
        self._rest = text[-keep:].encode("utf-8", "surrogateescape")
        return text[:-keep].encode("utf-8", "surrogateescape").decode("utf-8", "replace"), False


class JobLog:
    """The log of a job: masks every line, stamps it, bounds the whole, and counts what the bound cut off."""

    def __init__(self, sink: LogSink, masker: Masker, now_ms: Callable[[], int], line_bytes: int, bound: int) -> None:
        self._sink = sink
        self._masker = masker
        self._now_ms = now_ms
        self._line = line_bytes
        self._left = bound
        self._bound = bound
        self.dropped = 0
        """Characters that were not logged because of the bound."""
        self.broken: OSError | None = None
        """Why the sink takes no lines any more: a log with a hole must not look whole, so nothing follows."""
        self.now = now_ms()

    @property
    def full(self) -> bool:
        """Whether the bound is reached: what is written from now on is dropped."""
        return self._left <= 0

    def stamp(self) -> None:
        """Take the time for the lines that follow: once per chunk of output is exact enough."""
        self.now = self._now_ms()

    def write(self, step: int, stream: Stream, text: str) -> None:
        """Log a line; one that is too long is logged in pieces."""
        text = self._masker.mask(text)
        if self._left <= 0:
            self.dropped += len(text)
            return
        # As long as it will be in the file: a NUL takes six bytes there, an empty line as many as its other fields.
        self._left -= LINE_FIELDS + (len(text) if text.isascii() and text.isprintable() else _size(text))
        for start in range(0, len(text), self._line) if len(text) > self._line else (0,):
            self._put(LogLine(self.now, step, stream, text[start : start + self._line]))
        if self._left <= 0:
            limit = f"{self._bound // (1024 * 1024)} MiB" if self._bound >= 1024 * 1024 else f"{self._bound} bytes"
            notice = f"##[warning]The log is cut off here: it reached its bound of {limit}. The job goes on."
            self._put(LogLine(self.now, step, "system", notice))

    def _put(self, line: LogLine) -> None:
        if self.broken is None:
            try:
                self._sink.write(line)
            except OSError as error:
                self.broken = error

    def say(self, step: int, *lines: str) -> None:
        """Log lines of the runner's own."""
        self.stamp()
        for line in "\n".join(lines).split("\n"):
            self.write(step, "system", line)
        self.flush()

    def flush(self) -> None:
        """Show readers what was logged."""
        if self.broken is None:
            try:
                self._sink.flush()
            except OSError as error:
                self.broken = error


class Annotations:
    """The annotations of a job, bounded as GitHub's are; `dropped` counts those beyond. The same one counts once."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._seen: set[Annotation] = set()
        self._of_step: Counter[tuple[int, str]] = Counter()
        self.kept: list[Annotation] = []
        self.dropped = 0

    def add(self, annotation: Annotation) -> None:
        """Keep one, masked and cut to its bound; an error takes the place of what is none, if there is no room."""
        if annotation in self._seen:
            return
        kind = annotation.step, annotation.level
        if self._of_step[kind] >= MAX_OF_STEP:
            self.dropped += 1
            return
        if len(self.kept) >= MAX_ANNOTATIONS:
            self.dropped += 1
            last = next((one for one in reversed(self.kept) if one.level != "error"), None)
            if annotation.level != "error" or last is None:
                return
            self.kept.remove(last)
        self._seen.add(annotation)
        self._of_step[kind] += 1
        message = self._masker.mask(annotation.message)[:MAX_MESSAGE]
        title = self._masker.mask(annotation.title)[:MAX_MESSAGE]
        file = self._masker.mask(annotation.file)[:MAX_MESSAGE]
        self.kept.append(attrs.evolve(annotation, message=message, title=title, file=file))


def warn(log: JobLog, annotations: Annotations, step: int, message: str) -> None:
    """Log a warning of the runner's own and keep it as annotation."""
    log.say(step, *(f"##[warning]{line}" for line in message.splitlines() or [""]))
    annotations.add(Annotation(level="warning", message=message, step=step))


class StepOutput:
    """What one step says: logs it and obeys its commands. Both its streams end here."""

    def __init__(
        self,
        step: int,
        log: JobLog,
        masker: Masker,
        annotations: Annotations,
        matchers: Matchers,
        *,
        debug: bool,
        insecure: bool,
        line: int,
    ) -> None:
        self._step = step
        self._log = log
        self._masker = masker
        self._annotations = annotations
        self._matchers = matchers
        self._debug = debug
        self._insecure = insecure
        self._echo = debug
        self._reader = CommandReader()
        self._size = 0
        self._splitters = {
            name: LineSplitter(line, lambda: masker.longest, masker.mask) for name in ("stdout", "stderr")
        }
        self.outputs: dict[str, str] = {}
        self.state: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.paths: list[str] = []
        self.refused: str | None = None
        """Why a command made the step fail."""
        self.over = False
        """Set once the step has ended: what a process it left behind still says is logged, and obeyed only in masks."""

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take a chunk of output; an empty one is the stream's end."""
        self._log.stamp()
        splitter = self._splitters[stream]
        if self._log.full and not splitter.may_command(data):
            self._log.dropped += len(data)
            splitter.skip(data)
            return
        if self._matchers:
            self._matchers.begin()
        for text, whole in splitter.feed(data) if data else splitter.finish():
            if whole and ("::" in text or "##[" in text):
                self._judge(stream, text)
            elif self._matchers and whole:
                self._plain(stream, text)
            else:
                self._log.write(self._step, stream, text)
        self._log.flush()

    def _plain(self, stream: Stream, text: str) -> None:
        """A line that is no command: perhaps one that a problem matcher waits for."""
        seen = self._matchers.look(self._step, text)
        if seen is None:
            self._log.write(self._step, stream, text)
            return
        line, annotation = seen
        self._show(f"##[{annotation.level}]{line}")
        self._annotations.add(annotation)

    def _judge(self, stream: Stream, text: str) -> None:
        reaction, command = self._reader.feed(text)
        if command is None:
            self._plain(stream, text)
        elif reaction == "refused":
            self._log.write(self._step, stream, text)
            self._fail(
                f"Invalid stop-commands token '{command.data[:80]}': it may be neither empty nor a command's name"
            )
        elif reaction in ("stopped", "resumed") or (self.over and command.name != "add-mask"):
            self._log.write(self._step, stream, text)
        else:
            self._obey(command, text)

    def _show(self, text: str) -> None:
        self._log.write(self._step, "command", text)

    def _fail(self, message: str) -> None:
        self._show(f"##[error]{message}")
        self._annotations.add(Annotation(level="error", message=message, step=self._step))
        self.refused = self.refused or message

    def _obey(self, command: Command, text: str) -> None:
        name, data = command.name, command.data
        if name == "add-mask":
            self._mask(data)
            if self._echo:
                self._show("::add-mask::***")
        elif name in LEVELS:
            for line in data.split("\n") or [""]:
                self._show(f"##[{name}]{line}")
            self._annotations.add(_annotation(LEVELS[name], command, self._step))
        elif name == "debug":
            if self._debug:
                self._show(f"##[debug]{data}")
        elif name in ("group", "endgroup"):
            self._show(f"##[{name}]{data}" if name == "group" else "##[endgroup]")
        elif name == "echo":
            if data.lower() in ("on", "off"):
                self._echo = data.lower() == "on"
            else:
                self._fail(f"Invalid echo command value '{data[:80]}': it is on or off")
        elif name in ("set-output", "save-state", "set-env"):
            self._set(command, text)
        elif name == "add-path":
            if self._allowed(command):
                self.paths.append(data)
        else:
            self._match(command)

    def _match(self, command: Command) -> None:
        """add-matcher, remove-matcher."""
        owner, file = command.property_("owner"), command.data
        try:
            if command.name == "add-matcher" and file:
                self._matchers.add_file(file)
            elif command.name == "add-matcher":
                self._show("##[warning]File path must be specified.")
            elif bool(owner) == bool(file):
                self._show("##[warning]Give either an owner or a file path in the ##[remove-matcher] command.")
            elif owner:
                self._matchers.remove(owner)
            else:
                self._matchers.remove_file(file)
        except (P2pwfError, OSError, ValueError) as error:
            self._fail(f"Unable to process command '{command.name}' successfully: {error}")

    def _mask(self, value: str) -> None:
        if value.strip():
            self._masker.add(value)
            if self._masker.overflow:
                self._fail("There is more to mask than can be looked for")
        else:
            self._show("##[warning]Can't add secret mask for empty string in ##[add-mask] command.")

    def _allowed(self, command: Command) -> bool:
        if self._insecure:
            return True
        file = "GITHUB_ENV" if command.name == "set-env" else "GITHUB_PATH"
        self._fail(f"The `{command.name}` command is disabled: write to the file ${file} instead")
        return False

    def _set(self, command: Command, text: str) -> None:
        target = {"set-output": self.outputs, "save-state": self.state, "set-env": self.variables}[command.name]
        name = command.property_("name")
        if not name:
            self._fail(f"Required field 'name' is missing in ##[{command.name}] command.")
            return
        if command.name == "set-env" and not self._allowed(command):
            return
        if command.name == "set-env" and name.upper() in BLOCKED:
            self._fail(f"Can't update {name} environment variable using ::set-env:: command.")
            return
        self._size += len(name) + len(command.data)
        if self._size > MAX_VALUES:
            self._fail(f"The step sets more than {MAX_VALUES} characters by commands")
            return
        target[name] = command.data
        if self._echo:
            self._show(text)


def _size(text: str) -> int:
    return len(encode_basestring(text).encode("utf-8", "replace"))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _annotation(level: AnnotationLevel, command: Command, step: int) -> Annotation:
    line, column = _number(command.property_("line")), _number(command.property_("col"))
    return Annotation(
        level=level,
        message=command.data,
        step=step,
        title=command.property_("title"),
        file=command.property_("file"),
        line=line,
        end_line=_number(command.property_("endline")),
        column=column,
        end_column=_number(command.property_("endcolumn")),
    )
