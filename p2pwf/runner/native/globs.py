"""Path patterns of the actions for artifacts and caches. Reads folders, no files.

Source of the rules: the public toolkit's `glob`. Each line is a pattern, `#` begins a comment, `!` takes out what
came before, `~` is the home, relative patterns start at the workspace, `..` is not allowed. `*` and `?` stay within
a name, also one that begins with a dot, `**` goes over folders, `[…]` is a set. Links are followed, unless they lead
into a circle or nowhere.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from p2pwf.errors import UsageError
from p2pwf.runner.hashfiles import MAX_PATTERNS
from p2pwf.runner.native.context import NativeContext
from p2pwf.runner.patterns import check_length, path_expression, segment_expression

MAX_SEEN: Final = 200_000
"""Entries looked at for one step: a tree this large is a mistake in the pattern."""
_SPECIAL: Final = re.compile(r"[*?\[]")


@attrs.frozen(slots=True)
class Pattern:
    """One pattern. `start`: the folder or file that all it can match is at or below. `folders`: it ends in `/`."""

    negated: bool
    start: str
    folders: bool
    whole: re.Pattern[str]
    below: re.Pattern[str]
    towards: re.Pattern[str]


@attrs.frozen(slots=True)
class Patterns:
    """The patterns of one input; the last that matches decides."""

    patterns: tuple[Pattern, ...]

    @property
    def starts(self) -> tuple[str, ...]:
        """Where to look: each start that is not below another one."""
        all_starts = list(dict.fromkeys(pattern.start for pattern in self.patterns if not pattern.negated))
        return tuple(
            one for one in all_starts if not any(other != one and is_below(one, other) for other in all_starts)
        )

    def covers(self, path: str) -> bool:
        """Whether a path, or a folder above it, is meant."""
        covered = False
        for pattern in self.patterns:
            if pattern.below.fullmatch(path) or pattern.whole.fullmatch(path):
                covered = not pattern.negated
        return covered

    def files(self, hidden: bool) -> list[str]:
        """The files meant, those below folders that are meant among them; `hidden`: those with a dot first as well."""
        return [path for path, is_folder in self._walk(descendants=True, hidden=hidden) if not is_folder]

    def tops(self) -> list[str]:
        """The files and folders meant themselves, none below another."""
        found: list[str] = []
        for path, _ in self._walk(descendants=False, hidden=True):
            if not any(is_below(path, top) for top in found[-1:]):
                found.append(path)
        return found

    def _walk(self, *, descendants: bool, hidden: bool) -> Iterator[tuple[str, bool]]:
        count = 0
        for start in sorted(self.starts):
            stack: list[tuple[str, tuple[tuple[int, int], ...]]] = [(start, ())]
            while stack:
                path, above = stack.pop()
                count += 1
                if count > MAX_SEEN:
                    raise UsageError(f"the paths name more than {MAX_SEEN} files", "name fewer, in a smaller folder")
                try:
                    status = os.stat(path)  # noqa: PTH116 - in a hot loop
                except OSError:
                    continue  # vanished, or a link to nowhere
                is_folder = stat.S_ISDIR(status.st_mode)
                if not hidden and os.path.basename(path).startswith("."):  # noqa: PTH119
                    continue
                if (is_folder or stat.S_ISREG(status.st_mode)) and self._means(path, is_folder, descendants):
                    yield path, is_folder
                if is_folder and self._leads(path, descendants) and (status.st_dev, status.st_ino) not in above:
                    chain = (*above, (status.st_dev, status.st_ino))
                    try:
                        names = sorted(os.listdir(path), reverse=True)  # noqa: PTH208
                    except OSError:
                        continue
                    stack.extend((f"{path.rstrip('/')}/{name}", chain) for name in names)

    def _means(self, path: str, is_folder: bool, descendants: bool) -> bool:
        meant = False
        for pattern in self.patterns:
            fits = (is_folder or not pattern.folders) and pattern.whole.fullmatch(path)
            if fits or (descendants and pattern.below.fullmatch(path)):
                meant = not pattern.negated
        return meant

    def _leads(self, path: str, descendants: bool) -> bool:
        return any(
            pattern.towards.fullmatch(path) or (descendants and pattern.below.fullmatch(path + "/"))
            for pattern in self.patterns
            if not pattern.negated
        )


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def read_patterns(context: NativeContext, lines: Sequence[str]) -> Patterns:
    """The patterns of an input's lines; raises UsageError for one that cannot be, or where all are negated."""
    patterns = [_pattern(context, line) for line in lines if not line.startswith("#")]
    if len(patterns) > MAX_PATTERNS:
        raise UsageError(f"over {MAX_PATTERNS} path patterns", "name folders")
    return Patterns(tuple(patterns))


def _pattern(context: NativeContext, line: str) -> Pattern:
    check_length(line)
    text = line.lstrip("!")
    negated = (len(line) - len(text)) % 2 == 1
    text = context.outside(text.strip())
    if not text or "\0" in text:
        raise UsageError(f"not a path: {line[:80]!r}", "a pattern needs a name")
    fixed, rest = context.workspace, text
    if text.startswith("/"):
        fixed, rest = Path("/"), text[1:]
    elif text == "~" or text.startswith("~/"):
        fixed, rest = context.home, text[2:]
    segments = [segment for segment in rest.split("/") if segment not in ("", ".")]
    if ".." in segments:
        raise UsageError(f"Invalid pattern '{text}'. Relative pathing '..' is not allowed.", "name the folder itself")
    start = [part for part in str(fixed).split("/") if part]
    count = 0
    while count < len(segments) and not _SPECIAL.search(segments[count].replace("[[]", "")):
        start.append(_plain(segments[count]))
        count += 1
    expression, towards = _expressions(start, segments[count:])
    return Pattern(
        negated=negated,
        start="/" + "/".join(start),
        folders=text.endswith("/"),
        whole=re.compile(expression, re.DOTALL),
        below=re.compile(expression + "/.*", re.DOTALL),
        towards=re.compile(towards, re.DOTALL),
    )


def _plain(segment: str) -> str:
    return re.sub(r"\\(.)", r"\1", segment.replace("[[]", "["))


def _expressions(start: Sequence[str], segments: Sequence[str]) -> tuple[str, str]:
    """What a pattern matches, and which folders are on the way to it."""
    fixed = "".join(f"/{re.escape(part)}" for part in start) or "/?"
    towards, closing = fixed, ""
    for segment in segments:
        if segment == "**":
            towards += "(?:/.*)?"
            break
        towards += "(?:/" + segment_expression(segment)
        closing += ")?"
    return fixed + path_expression(segments), towards + closing
