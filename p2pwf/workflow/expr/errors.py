"""The one error of expressions. Knows nothing of files: who evaluates a text of a file adds line and column."""

from __future__ import annotations

from typing import Literal

from p2pwf.errors import UsageError

ErrorKind = Literal["lexing", "parsing", "evaluation"]
MAX_SHOWN = 200
"""Characters of an expression or a token that an error repeats: an error stays one readable line."""


class ExpressionError(UsageError):
    """An expression that cannot be read, or whose evaluation failed.

    `kind` says at which stage; `offset` is the 0-based character offset in the expression where the trouble starts
    (0 when the trouble has no place, as for too deep nesting).
    """

    def __init__(self, kind: ErrorKind, message: str, offset: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.kind: ErrorKind = kind
        self.offset = offset


def shown(text: str) -> str:
    """`text` cut to a length fit for an error message."""
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def located(
    kind: ErrorKind, what: str, raw: str, offset: int, source: str, *, hint: str | None = None
) -> ExpressionError:
    """An error about the token `raw` at `offset` of `source`, worded as GitHub words it."""
    where = f"Located at position {offset + 1} within expression: {shown(source)}"
    return ExpressionError(kind, f"{what}: '{shown(raw)}'. {where}", offset, hint)
