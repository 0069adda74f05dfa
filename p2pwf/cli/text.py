"""Text for people: tables, times, durations, shortened ids, colour. Draws with plain strings; knows no command.

What comes from other peers is cleaned before it reaches a terminal: a name must not move the cursor.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence

import click

SHORT = 8
"""Characters kept of an id, from its end: the beginnings of ids are all alike."""
GAP = "  "
MIN_COLUMN = 12
"""Columns that the widest column of a table keeps on a narrow terminal."""

# Bytes that act on a terminal: C0 but tab, DEL, C1; and what reorders the text around it. Patterns as texts: `re` keeps
# what it has compiled, and a command that draws nothing compiles nothing.
_CONTROLS = "[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
_ESCAPES = "\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\-_])"
_COLOUR = "(\x1b\\[[0-9;:]*m)"

GLYPHS = {
    "success": ("✓", "+", "green"), "completed": ("✓", "+", "green"),
    "failure": ("✗", "x", "red"), "failed": ("✗", "x", "red"),
    "cancelled": ("⊘", "-", "yellow"), "skipped": ("»", "-", "bright_black"),
    "in_progress": ("●", "*", "cyan"), "queued": ("○", "o", "bright_black"),
    "assigned": ("○", "o", "bright_black"), "pending": ("○", "o", "bright_black"),
    "waiting": ("·", ".", "bright_black"),
}  # fmt: skip


def clean(text: str) -> str:
    """A text of one line with nothing in it that acts on a terminal."""
    return re.sub(_CONTROLS, "", re.sub(_ESCAPES, "", text.replace("\n", " ")))


def clean_log(text: str) -> str:
    """A log line with its colours, where we print in colour, and nothing else that acts on a terminal."""
    parts = re.split(_COLOUR, text)
    coloured = len(parts) > 1 and has_colour()
    kept = "".join((part if coloured else "") if index % 2 else clean(part) for index, part in enumerate(parts))
    return kept + "\x1b[0m" if coloured else kept


def short(id_: str | None) -> str:
    """An id, shortened to its end."""
    if not id_:
        return "-"
    return id_ if len(id_) <= SHORT + 1 else dots() + id_[-SHORT:]


def dots() -> str:
    """The sign for left-out text, as far as the output can show it."""
    return "…" if has_unicode() else ".."


def has_unicode() -> bool:
    """Whether stdout takes more than ASCII."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def glyph(word: str) -> str:
    """The coloured sign of a status or conclusion."""
    return style(sign_of(word), colour_of(word))


def sign_of(word: str) -> str:
    """The sign of a status or conclusion, as far as the output can show it."""
    sign, plain, _ = GLYPHS.get(word, ("?", "?", "white"))
    return sign if has_unicode() else plain


def colour_of(word: str) -> str:
    """The colour of a status or conclusion."""
    return GLYPHS.get(word, ("?", "?", "white"))[2]


def style(text: str, colour: str | None = None, bold: bool = False) -> str:
    """Coloured where stdout is a terminal that wants it."""
    return click.style(text, fg=colour, bold=bold or None) if has_colour() else text


def has_colour() -> bool:
    """Whether to print in colour: on a terminal, unless NO_COLOR (https://no-color.org) or TERM=dumb forbid it."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def dim(text: str) -> str:
    """Less important, where stdout is a terminal."""
    return style(text, "bright_black")


def moment(ms: float | None, now: float | None = None) -> str:
    """A wall time in local time: the time of a day within a day, else the date too."""
    if ms is None:
        return "-"
    now = time.time() if now is None else now
    local = time.localtime(ms / 1000)
    return time.strftime("%H:%M:%S" if abs(now - ms / 1000) < 12 * 3600 else "%Y-%m-%d %H:%M", local)


def duration(seconds: float | None) -> str:
    """A span of time as a person says it."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size}{unit} {rest:02}{next_unit}"
    return f"{whole}s"


def size_text(count: int) -> str:
    """Bytes as people read them: 512 B, 1.5 KiB, 20 MiB."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def span(start_ms: float | None, end_ms: float | None) -> str:
    """From one wall time to another, or to now; "-" if it has not begun."""
    if start_ms is None:
        return "-"
    return duration(((time.time() * 1000 if end_ms is None else end_ms) - start_ms) / 1000)


def width(text: str) -> int:
    """Columns that a text takes on a terminal, colour not counted."""
    plain = re.sub(_COLOUR, "", text)
    if plain.isascii():
        return len(plain)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(one) else 2 if east_asian_width(one) in "WF" else 1 for one in plain)


def cut(text: str, columns: int) -> str:
    """A plain text of at most so many columns."""
    if width(text) <= columns:
        return text
    kept = text[: max(0, columns - 1)]
    while kept and width(kept) > columns - 1:
        kept = kept[:-1]
    return kept + dots()[:1]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], flexible: int = 0, indent: str = "") -> None:
    """Print an aligned table; on a terminal too narrow for it the `flexible` column is cut."""
    widths = [max(width(head), *(width(row[index]) for row in rows), 0) for index, head in enumerate(heads)]
    if sys.stdout.isatty():
        from shutil import get_terminal_size  # imports every compressor that there is

        spare = get_terminal_size().columns - len(indent) - sum(widths) - len(GAP) * (len(widths) - 1)
        if spare < 0:
            widths[flexible] = max(MIN_COLUMN, widths[flexible] + spare)
    if any(heads):
        click.echo(indent + dim(_line(heads, widths).rstrip()))
    for row in rows:
        cells = [cut(cell, widths[index]) if index == flexible else cell for index, cell in enumerate(row)]
        click.echo(indent + _line(cells, widths).rstrip())


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(cell + " " * (widths[index] - width(cell)) for index, cell in enumerate(cells))


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values, aligned."""
    wide = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        click.echo(f"{dim(name.ljust(wide))}{GAP}{value}")
