"""Text with `${{ … }}` in it: where the expressions are. Knows nothing of evaluation.

Source: the open runner's `TemplateReader`: an expression ends at the first `}}` outside single quotes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

import attrs

from p2pwf.workflow.expr.errors import ExpressionError
from p2pwf.workflow.expr.values import WHITESPACE

OPEN: Final = "${{"
INSERT: Final = "insert"
"""The one directive: as a key of a mapping, `${{ insert }}` merges its value into that mapping."""


@attrs.define(slots=True)  # never changed; a text may hold tens of thousands
class Part:
    """One expression in a text: its source without surrounding blanks, and the offset of that source."""

    source: str
    offset: int


Segment: TypeAlias = str | Part


def has_expression(text: str) -> bool:
    """Whether a text holds an expression (or the start of one)."""
    return OPEN in text


@lru_cache(2048)
def split(text: str) -> tuple[Segment, ...]:
    """The literal and expression segments of a text, in order; raises ExpressionError (lexing) if one is not closed.

    The error's offset, like that of a Part, counts from the start of the text.
    """
    segments: list[Segment] = []
    index = 0
    while True:
        start = text.find(OPEN, index)
        if start < 0:
            if index < len(text):
                segments.append(text[index:])
            return tuple(segments)
        if start > index:
            segments.append(text[index:start])
        end = _end(text, start)
        inner = text[start + len(OPEN) : end]
        blanks = len(inner) - len(inner.lstrip(WHITESPACE))
        source = inner.strip(WHITESPACE)
        if not source:
            raise ExpressionError("lexing", "An expression was expected", start, "write ${{ <expression> }}")
        segments.append(Part(source, start + len(OPEN) + blanks))
        index = end + 2


def _end(text: str, start: int) -> int:
    index = start + len(OPEN)
    close = text.find("}}", index)
    while close >= 0:
        quote = text.find("'", index, close)
        if quote < 0:
            return close
        index = text.find("'", quote + 1) + 1
        if index == 0:
            break
        if close < index:
            close = text.find("}}", index)
    what = "The expression is not closed. An unescaped ${{ sequence was found, but the closing }} sequence was not"
    raise ExpressionError("lexing", f"{what} found.", start, "close it with }}")
