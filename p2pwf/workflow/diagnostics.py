"""Diagnostics: what is wrong with a workflow file, where, and what to do. Knows nothing of workflows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, Protocol
from unicodedata import combining, east_asian_width

import attrs

Severity = Literal["error", "warning"]
MAX_DIAGNOSTICS: Final = 100
"""Findings kept of one file: a person mends the first few and looks again; a hostile file must not fill memory."""
MAX_MESSAGE: Final = 500
"""Characters of one message: it may repeat text of the file, and stays a line."""
SHOWN: Final = 100
"""Characters shown of the line that a finding is on, and how many of them stand before its place at most."""
SHOWN_BEFORE: Final = 60


@attrs.frozen(slots=True)
class Place:
    """A position in a file: line and column, both from 1."""

    line: int = 1
    column: int = 1

    @property
    def place(self) -> Place:
        """Itself: a place is somewhere."""
        return self


class Somewhere(Protocol):
    """What has a place, which is worked out when it is asked for."""

    @property
    def place(self) -> Place: ...


@attrs.frozen(slots=True)
class Diagnostic:
    """One finding: where, how bad, a stable code in words, one line of message, and a hint where there is one."""

    line: int
    column: int
    severity: Severity
    code: str
    message: str
    hint: str | None = None

    def to_json(self) -> dict[str, object]:
        """The finding as `--json` prints it: {line, column, severity, code, message, hint}."""
        return attrs.asdict(self)

    def render(self, path: str, lines: Sequence[str]) -> list[str]:
        """The finding for a person: `path:line:column: severity: message`, the source line, a caret, the hint.

        `lines` are those of the file. What would act on a terminal is shown as a sign that does not.
        """
        shown = [printable(f"{path}:{self.line}:{self.column}: {self.severity}: {self.message} [{self.code}]")]
        if 0 < self.line <= len(lines) and lines[self.line - 1].strip():
            text = printable(lines[self.line - 1].rstrip("\r"))
            start = max(0, self.column - SHOWN_BEFORE)
            number = str(self.line)
            before = "".join(map(_blank, text[start : self.column - 1]))
            shown.append(f" {number} | {text[start : start + SHOWN]}")
            shown.append(f" {' ' * len(number)} | {before}{' ' * (self.column - 1 - start - len(before))}^")
        if self.hint:
            shown.append(printable(f"hint: {self.hint}"))
        return shown


_ACTS = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def printable(text: str) -> str:
    """A text of one line, as long as it was, without what moves a cursor or turns the direction of writing."""
    return _ACTS.sub(lambda found: " " if found[0] == "\t" else "\ufffd", text)


def _blank(character: str) -> str:
    """The blanks that are as wide as a character on a terminal."""
    if character.isascii():
        return " "
    return "" if combining(character) else "  " if east_asian_width(character) in "WF" else " "


def render(findings: Iterable[Diagnostic], path: str, source: str) -> Iterator[list[str]]:
    """The lines of each finding of a file, for a person."""
    lines = source.split("\n")
    for finding in findings:
        yield finding.render(path, lines)


class Findings:
    """Collects diagnostics, at most MAX_DIAGNOSTICS of them; what is dropped is counted and told."""

    def __init__(self) -> None:
        self._found: list[Diagnostic] = []
        self._seen: set[tuple[int, int, str, str]] = set()
        self._errors: set[tuple[int, int, str]] = set()
        self._dropped = 0
        self._failed = False

    def error(self, at: Somewhere, code: str, message: str, hint: str | None = None) -> None:
        """Record an error: the file does not check. Where it is, is asked for only if it is kept."""
        self._failed = True
        if self.full:
            self._dropped += 1
            return
        place = at.place
        self._errors.add((place.line, place.column, code))
        self._add(place, "error", code, message, hint)

    def has(self, place: Place, *codes: str) -> bool:
        """Whether an error of one of these codes stands at a place: what follows from it need not be told as well."""
        return any((place.line, place.column, code) in self._errors for code in codes)

    def warning(self, at: Somewhere, code: str, message: str, hint: str | None = None) -> None:
        """Record a warning: legal, and surely or probably not what was meant."""
        if self.full:
            self._dropped += 1
            return
        self._add(at.place, "warning", code, message, hint)

    def too_complex(self) -> None:
        """Record that the file was not judged to its end, however many findings there are."""
        message = "The file is too complex to be checked: it has too many mappings, expressions or values of a matrix"
        hint = "split it: a reusable workflow holds jobs of its own"
        self._failed = True
        self._found.append(Diagnostic(1, 1, "error", "too-complex", message, hint))

    def _add(self, place: Place, severity: Severity, code: str, message: str, hint: str | None) -> None:
        message = " ".join(message.split())
        if len(message) > MAX_MESSAGE:
            message = message[: MAX_MESSAGE - 1] + "…"
        key = (place.line, place.column, code, message)
        if key in self._seen:  # an alias shows the same text twice
            return
        self._seen.add(key)
        self._found.append(Diagnostic(place.line, place.column, severity, code, message, hint))

    @property
    def full(self) -> bool:
        """Whether what is found from now on is only counted: nobody will read its hint."""
        return len(self._found) >= MAX_DIAGNOSTICS

    @property
    def failed(self) -> bool:
        """Whether any error was recorded."""
        return self._failed

    def result(self) -> tuple[Diagnostic, ...]:
        """All findings in file order."""
        found = sorted(self._found, key=lambda finding: (finding.line, finding.column))
        if self._dropped:
            last = found[-1]
            severity: Severity = "error" if self._failed else "warning"
            text = f"{self._dropped} more findings are not shown"
            found.append(Diagnostic(last.line, last.column, severity, "more-findings", text))
        return tuple(found)


def errors_of(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The errors among some findings."""
    return tuple(finding for finding in diagnostics if finding.severity == "error")
