"""Problem matchers: patterns that turn lines of output into annotations. Reads their files; knows no steps.

Source: GitHub's documentation of problem matchers and the open runner's `IssueMatcher` and `OutputManager`: several
patterns match lines in a row, the last of them again and again with `loop`; a match of one matcher resets the others;
files that are not there are dropped.

Patterns come from the job, and one that takes exponential time would stop the node with it. So each look at a line
has a deadline, and so has each matcher in a chunk of output; whoever misses one is removed, with a warning.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Final, cast

import attrs

from p2pwf.errors import UsageError
from p2pwf.runner.hand import Hand
from p2pwf.runner.jobfiles import read_file
from p2pwf.runner.values import Annotation, AnnotationLevel

MAX_FILE: Final = 256 * 1024
"""Bytes of a matcher file; the largest that tools publish are a few KiB."""
MAX_MATCHERS: Final = 64
"""Matchers that one job may add over its life, so that the time they may waste is bounded."""
MAX_READ: Final = 256
"""Files that one job may have read for them: the event loop waits meanwhile, about a millisecond each."""
MAX_PATTERNS: Final = 32
LINE_S: Final = 0.05
"""Seconds of CPU for one matcher and one line; an honest one takes microseconds."""
CHUNK_S: Final = 0.1
"""Seconds of CPU for one matcher and one chunk of output."""
MAX_SOURCE: Final = 8192
"""Characters of one pattern."""
MAX_LINE: Final = 16 * 1024
"""Characters of a line that are looked at."""
LEVELS: Final[Mapping[str, AnnotationLevel]] = {"": "error", "error": "error", "warning": "warning", "notice": "notice"}
FIELDS: Final = ("file", "line", "column", "severity", "code", "message", "fromPath")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m?")
_NAMED = re.compile(r"\(\?<(?=[A-Za-z_])")


class _TooSlow(Exception):
    """A pattern missed its deadline."""


@attrs.frozen(slots=True)
class Pattern:
    """One line of a matcher: an expression, which group holds what, and whether it repeats."""

    expression: re.Pattern[str]
    groups: Mapping[str, int]
    loop: bool


@attrs.define(slots=True, eq=False)
class Matcher:
    """One matcher, and how far it has come. `spent`: seconds in this chunk of output."""

    owner: str
    severity: str
    from_path: str
    patterns: tuple[Pattern, ...]
    state: list[dict[str, str] | None] = attrs.field(factory=list)
    spent: float = 0.0

    def reset(self) -> None:
        """Forget the lines so far."""
        self.state = [None] * (len(self.patterns) - 1)

    def match(self, line: str) -> dict[str, str] | None:
        """What a line completes: values by field, or None."""
        last = len(self.patterns) - 1
        for index in range(last, -1, -1):
            running = self.state[index - 1] if index else {}
            if running is None:
                continue
            pattern = self.patterns[index]
            found = pattern.expression.search(line)
            if found is None:
                if index < last:
                    self.state[index] = None
                elif index:
                    self.state[index - 1] = None
                continue
            values = {name: found.group(group) or "" for name, group in pattern.groups.items()}
            values |= running  # what an earlier line said stands
            if index < last:
                self.state[index] = values
                continue
            self.reset()
            if pattern.loop:
                self.state[index - 1] = running
            return values
        return None


class Matchers:
    """The matchers of one job, the newest first. `warn` is told of those that were removed."""

    def __init__(self, workspace: Path, warn: Callable[[int, str], None], hand: Hand | None = None) -> None:
        self._workspace = workspace
        self._hand = hand
        self._warn = warn
        self._matchers: list[Matcher] = []
        self._added = self._read = 0
        self.to_host: Callable[[str], str] = str
        """From a path as the job's container has it to this machine's."""

    def __bool__(self) -> bool:
        return bool(self._matchers)

    def add_file(self, name: str) -> None:
        """Take the matchers of a file, relative to the workspace; raises UsageError, OSError."""
        self._add(self._in_file(name))

    def add(self, name: str, data: bytes) -> None:
        """Take matchers as a file called `name` would hold them; raises UsageError."""
        self._add(parse_matchers(Path(name), data))

    def _add(self, matchers: Iterator[Matcher]) -> None:
        if not _has_alarm():
            raise UsageError("problem matchers cannot be used here", "the runner is not in its program's main thread")
        for matcher in matchers:
            if self._added >= MAX_MATCHERS:
                raise UsageError(f"more than {MAX_MATCHERS} problem matchers in one job", "add each of them once")
            self._added += 1
            self.remove(matcher.owner)
            matcher.reset()
            self._matchers.insert(0, matcher)

    def remove(self, owner: str) -> None:
        """Drop the matcher of an owner, whatever the case of its name."""
        self._matchers = [known for known in self._matchers if known.owner.lower() != owner.lower()]

    def remove_file(self, name: str) -> None:
        """Drop the matchers that a file names; raises UsageError, OSError."""
        for matcher in self._in_file(name):
            self.remove(matcher.owner)

    def _in_file(self, name: str) -> Iterator[Matcher]:
        self._read += 1
        if self._read > MAX_READ:
            raise UsageError(f"more than {MAX_READ} files of problem matchers in one job", "name each of them once")
        path = self._workspace / self.to_host(name)
        return parse_matchers(path, _read(path) if self._hand is None else self._hand.do(_read, path))

    def begin(self) -> None:
        """A new chunk of output: everybody has all the time again."""
        for matcher in self._matchers:
            matcher.spent = 0.0

    def look(self, step: int, line: str) -> tuple[str, Annotation] | None:
        """What a line comes to: itself without colours, and the annotation."""
        line = (_COLOURS.sub("", line) if "\x1b[" in line else line)[:MAX_LINE]
        for matcher in list(self._matchers):
            try:
                with _deadline(matcher):
                    values = matcher.match(line)
            except _TooSlow:
                self._matchers.remove(matcher)
                self._warn(step, f"Removing issue matcher '{matcher.owner}': its patterns take too long")
                continue
            if values is None:
                continue
            for other in self._matchers:
                if other is not matcher:
                    other.reset()
            annotation = self._annotation(step, matcher, values)
            if annotation is not None:
                return line, annotation
        return None

    def _annotation(self, step: int, matcher: Matcher, values: Mapping[str, str]) -> Annotation | None:
        level = LEVELS.get((values.get("severity") or matcher.severity).lower())
        message = values.get("message", "")
        if level is None or not message.strip():
            return None
        return Annotation(
            level=level,
            message=message,
            step=step,
            file=self._file(values.get("file", ""), values.get("fromPath") or matcher.from_path),
            line=_number(values.get("line", "")),
            column=_number(values.get("column", "")),
        )

    def _file(self, name: str, from_path: str) -> str:
        """A file's path in the workspace, empty if it is not there."""
        if not name.strip() or "\0" in name + from_path:
            return ""
        path = os.path.normpath(self._workspace / self.to_host(str(Path(from_path).parent / name)))
        root = f"{self._workspace}/"
        return path.removeprefix(root) if path.startswith(root) and os.path.isfile(path) else ""  # noqa: PTH113


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _read(path: Path) -> bytes:
    """What a file holds, as far as it may be matchers; raises UsageError, OSError."""
    data = read_file(path, MAX_FILE + 1)
    if data is None:
        raise UsageError(f"no such problem matcher file: {path}", "does a step before this one make it?")
    return data


def parse_matchers(path: Path, data: bytes) -> Iterator[Matcher]:
    """The matchers in what a file holds; raises UsageError for one that cannot be."""
    if len(data) > MAX_FILE:
        raise UsageError(f"the problem matcher file {path} is too large", f"the bound is {MAX_FILE} bytes")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the problem matcher file {path} is not JSON: {error}") from error
    listed = content.get("problemMatcher") if isinstance(content, dict) else None
    owners: set[str] = set()
    for item in listed if isinstance(listed, list) else ():
        matcher = _matcher(item)
        if matcher.owner.lower() in owners:
            raise UsageError(f"Duplicate owner name '{matcher.owner}'", "each matcher of a file has its own owner")
        owners.add(matcher.owner.lower())
        yield matcher


def _matcher(item: object) -> Matcher:
    fields = cast("dict[str, object]", item) if isinstance(item, dict) else {}
    owner, severity, from_path = (str(fields.get(name) or "") for name in ("owner", "severity", "fromPath"))
    if not owner:
        raise UsageError("Owner must not be empty", "a problem matcher has an 'owner'")
    if severity.lower() not in LEVELS:
        raise UsageError(f"Matcher '{owner}' contains unexpected default severity '{severity}'")
    listed = fields.get("pattern")
    patterns = listed if isinstance(listed, list) else []
    if not 0 < len(patterns) <= MAX_PATTERNS:
        raise UsageError(f"Matcher '{owner}' does not contain any patterns", f"or more than {MAX_PATTERNS} of them")
    seen: set[str] = set()
    built = tuple(_pattern(pattern, index, len(patterns), seen) for index, pattern in enumerate(patterns))
    if "message" not in seen:
        raise UsageError("At least one pattern must set 'message'", f"the matcher is '{owner}'")
    return Matcher(owner, severity, from_path, built)


def _pattern(item: object, index: int, count: int, seen: set[str]) -> Pattern:
    fields = cast("dict[str, object]", item) if isinstance(item, dict) else {}
    loop = fields.get("loop") is True
    if loop and (index == 0 or index < count - 1):
        raise UsageError("Only the last pattern in a multiline matcher may set 'loop'")
    if loop and fields.get("message") is None:
        raise UsageError("The loop pattern must set 'message'")
    source = str(fields.get("regexp") or "")
    if len(source) > MAX_SOURCE:
        raise UsageError(f"a pattern of {len(source)} characters", f"the bound is {MAX_SOURCE}")
    try:
        # ECMAScript's ways to write a named group; its classes are ASCII.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what later versions of Python may read in another way
            expression = re.compile(_NAMED.sub("(?P<", source), re.ASCII)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"Invalid pattern '{source[:80]}': {error}") from error
    groups: dict[str, int] = {}
    for name in FIELDS:
        group = fields.get(name)
        if group is None:
            continue
        if name in seen:
            raise UsageError(f"The property '{name}' is set twice")
        if not isinstance(group, int) or isinstance(group, bool) or not 0 <= group <= expression.groups:
            raise UsageError(f"The property '{name}' is set to {group} which is out of range")
        seen.add(name)
        groups[name] = group
    return Pattern(expression, groups, loop)


class _deadline:  # noqa: N801 - used as a statement
    """Ends the block with _TooSlow when the matcher's time is over. Python looks for signals while it matches."""

    armed = False

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._start = 0.0

    def __enter__(self) -> None:
        left = min(LINE_S, CHUNK_S - self._matcher.spent)
        if left <= 0:
            raise _TooSlow
        self._start = time.thread_time()
        _deadline.armed = True
        signal.setitimer(signal.ITIMER_VIRTUAL, left)

    def __exit__(self, *_: object) -> None:
        _deadline.armed = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        self._matcher.spent += time.thread_time() - self._start


def _ring(_number: int, _frame: FrameType | None) -> None:
    if _deadline.armed:
        raise _TooSlow


def _has_alarm() -> bool:
    """Set the alarm up; False in a thread that gets no signals, which only a program's main one does.

    It stays: a timer that had rung just before would end the program if nothing listened any more.
    """
    try:
        signal.signal(signal.SIGVTALRM, _ring)
    except ValueError:
        return False
    return True
