"""Tokens of an expression. Knows nothing of grammar beyond what is needed to tell `.5` from `.name`.

Source: the lexical rules of the open runner's `LexicalAnalyzer`. Linear in the text: each character is read once.
"""

from __future__ import annotations

import math
import re
from typing import Final, Literal, cast

import attrs

from p2pwf.workflow.expr.errors import ExpressionError, located
from p2pwf.workflow.expr.values import INFINITY, NAN, WHITESPACE, parse_number

MAX_LENGTH: Final = 21_000
"""Characters of one expression, GitHub's bound."""

TokenKind = Literal["literal", "property", "function", "name", "operator", "(", ")", "[", "]", ",", ".", "*"]

_BLANKS = re.compile(f"[{WHITESPACE}]*")
_CALLED = re.compile(rf"[{WHITESPACE}]*\(")
_RUN = re.compile(f"[^{re.escape('()[],.!><=&|' + WHITESPACE)}]*")
_RUN_WITH_DOTS = re.compile(f"[^{re.escape('()[],!><=&|' + WHITESPACE)}]*")
_KEYWORD = re.compile("[A-Za-z_][A-Za-z0-9_-]*")
_SIMPLE = re.compile(
    f"[{WHITESPACE}]*(?:"
    rf"(?P<word>[A-Za-z_][A-Za-z0-9_-]*+)(?=[{re.escape('()[],.!><=&|' + WHITESPACE)}]|\Z)"
    r"|(?P<operator>[!><=]=|&&|\|\||[!><])"
    r"|(?P<string>'[^']*+(?:''[^']*+)*+')"
    r"|(?P<sign>[()\[\],*]))"
)
"""What nearly all tokens are: each is told by one match. Numbers, points and what is wrong go the long way."""
_NUMBER_MAY_FOLLOW: Final = frozenset((",", "(", "[", "operator"))
_CONSTANTS: Final[dict[str, bool | float | None]] = {
    "null": None,
    "true": True,
    "false": False,
    "NaN": NAN,
    "Infinity": INFINITY,
}


@attrs.define(slots=True)  # never changed, and made in great number: a frozen one takes three times as long
class Token:
    """One token: `raw` as written, `offset` from 0, `value` of a literal."""

    kind: TokenKind
    raw: str
    offset: int
    value: bool | float | str | None = None


def is_keyword(text: str) -> bool:
    """Whether `text` can be a name: a letter or `_`, then letters, digits, `_` and `-`."""
    return _KEYWORD.fullmatch(text) is not None


def tokenize(source: str) -> list[Token]:
    """All tokens of an expression; raises ExpressionError of kind lexing."""
    if len(source) > MAX_LENGTH:
        raise ExpressionError("lexing", f"Exceeded max expression length {MAX_LENGTH}")
    tokens: list[Token] = []
    last: TokenKind | None = None
    simple, blanks = _SIMPLE.match, _BLANKS.match
    index, end = 0, len(source)
    while True:
        found = simple(source, index)
        if found is not None:
            group = cast(str, found.lastgroup)
            raw, start = found[group], found.start(group)
            if group == "operator":
                token = Token("operator", raw, start)
            elif group == "word":
                token = _word(source, raw, start, after_dot=last == ".")
            elif group == "sign":
                token = Token(cast(TokenKind, raw), raw, start)
            else:
                token = Token("literal", raw, start, raw[1:-1].replace("''", "'"))
        else:
            start = blanks(source, index).end()  # type: ignore[union-attr]  # it matches nothing, too
            if start >= end:
                return tokens
            if source[start] == "." and last is not None and last not in _NUMBER_MAY_FOLLOW:
                token = Token(".", ".", start)
            elif source[start] in ".+-0123456789":
                token = _number(source, start)
            else:
                raise _fault(source, start)
        tokens.append(token)
        last = token.kind
        index = start + len(token.raw)


def _unexpected(raw: str, offset: int, source: str, hint: str | None = None) -> ExpressionError:
    return located("lexing", "Unexpected symbol", raw, offset, source, hint=hint)


def _run(source: str, index: int, pattern: re.Pattern[str] = _RUN) -> str:
    found = pattern.match(source, index + 1)
    return source[index : found.end() if found else index + 1]


def _fault(source: str, start: int) -> ExpressionError:
    """What is to be said of something that begins no token."""
    first = source[start]
    if first == "'":
        return _unexpected(source[start:], start, source, "the string is not closed: add a single quote")
    raw = _run(source, start)
    hints = {
        "=": "equality is written ==",
        "&": "and is written &&",
        "|": "or is written ||",
        '"': "strings are written in single quotes",
    }
    return _unexpected(raw, start, source, hints.get(first))


def _number(source: str, start: int) -> Token:
    raw = _run(source, start, _RUN_WITH_DOTS)
    number = parse_number(raw)
    if math.isnan(number):
        raise _unexpected(raw, start, source)
    return Token("literal", raw, start, number)


def _word(source: str, raw: str, start: int, after_dot: bool) -> Token:
    if after_dot:
        return Token("property", raw, start)
    if raw in _CONSTANTS:
        return Token("literal", raw, start, _CONSTANTS[raw])
    return Token("function" if _CALLED.match(source, start + len(raw)) else "name", raw, start)
