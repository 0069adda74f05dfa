"""Diagnostics: what is wrong with a workflow file, where, and what to do. Knows nothing of workflows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import attrs

Severity = Literal["error", "warning"]
MAX_DIAGNOSTICS: Final = 100
"""Findings kept of one file: a person mends the first few and looks again; a hostile file must not fill memory."""
MAX_MESSAGE: Final = 500
"""Characters of one message: it may repeat text of the file, and stays a line."""


@attrs.frozen(slots=True)
class Place:
    """A position in a file: line and column, both from 1."""

    line: int = 1
    column: int = 1


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

    def render(self, path: str, source: str) -> str:
        """The finding for a person: `path:line:column: severity: message`, the line, a caret, the hint."""
        lines = [f"{path}:{self.line}:{self.column}: {self.severity}: {self.message} [{self.code}]"]
        text = source.split("\n")
        if 0 < self.line <= len(text) and text[self.line - 1].strip():
            shown = text[self.line - 1].rstrip("\r").replace("\t", " ")
            start = max(0, self.column - 60)
            number = str(self.line)
            lines.append(f" {number} | {shown[start : start + 100]}")
            lines.append(f" {' ' * len(number)} | {' ' * (self.column - 1 - start)}^")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class Findings:
    """Collects diagnostics, at most MAX_DIAGNOSTICS of them; what is dropped is counted and told."""

    def __init__(self) -> None:
        self._found: list[Diagnostic] = []
        self._seen: set[tuple[int, int, str, str]] = set()
        self._dropped = 0
        self._failed = False

    def error(self, place: Place, code: str, message: str, hint: str | None = None) -> None:
        """Record an error: the file does not check."""
        self._failed = True
        self._add(place, "error", code, message, hint)

    def warning(self, place: Place, code: str, message: str, hint: str | None = None) -> None:
        """Record a warning: legal, and surely or probably not what was meant."""
        self._add(place, "warning", code, message, hint)

    def _add(self, place: Place, severity: Severity, code: str, message: str, hint: str | None) -> None:
        message = " ".join(message.split())
        if len(message) > MAX_MESSAGE:
            message = message[: MAX_MESSAGE - 1] + "…"
        key = (place.line, place.column, code, message)
        if key in self._seen:  # an alias shows the same text twice
            return
        if len(self._found) >= MAX_DIAGNOSTICS:
            self._dropped += 1
            return
        self._seen.add(key)
        self._found.append(Diagnostic(place.line, place.column, severity, code, message, hint))

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
