"""Tokens of an expression. Knows nothing of grammar beyond what is needed to tell `.5` from `.name`.

Source: the lexical rules of the open runner's `LexicalAnalyzer`. Linear in the text: each character is read once.
"""

from __future__ import annotations

import math
import re
from typing import Final, Literal

import attrs

from p2pwf.workflow.expr.errors import ExpressionError, located
from p2pwf.workflow.expr.values import INFINITY, NAN, WHITESPACE, parse_number

MAX_LENGTH: Final = 21_000
"""Characters of one expression, GitHub's bound."""

TokenKind = Literal["literal", "property", "function", "name", "operator", "(", ")", "[", "]", ",", ".", "*"]

_PUNCTUATION: Final = frozenset("()[],*")
_TWO: Final = frozenset(("!=", ">=", "<=", "==", "&&", "||"))
_ONE: Final = frozenset("!><")
_BLANKS = re.compile(f"[{WHITESPACE}]*")
_RUN = re.compile(f"[^{re.escape('()[],.!><=&|' + WHITESPACE)}]*")
_RUN_WITH_DOTS = re.compile(f"[^{re.escape('()[],!><=&|' + WHITESPACE)}]*")
_KEYWORD = re.compile("[A-Za-z_][A-Za-z0-9_-]*")
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
    blanks = _BLANKS.match
    index, end = 0, len(source)
    while True:
        index = blanks(source, index).end()  # type: ignore[union-attr]  # it matches nothing, too
        if index >= end:
            return tokens
        character = source[index]
        if character in _PUNCTUATION:
            token = Token(character, character, index)  # type: ignore[arg-type]  # one of the six kinds named alike
        elif character == "'":
            token = _string(source, index)
        elif character in "!><=&|":
            token = _operator(source, index)
        elif character == "." and last is not None and last not in _NUMBER_MAY_FOLLOW:
            token = Token(".", ".", index)
        elif character in ".+-0123456789":
            token = _number(source, index)
        else:
            token = _word(source, index, after_dot=last == ".")
        tokens.append(token)
        last = token.kind
        index += len(token.raw)


def _unexpected(raw: str, offset: int, source: str, hint: str | None = None) -> ExpressionError:
    return located("lexing", "Unexpected symbol", raw, offset, source, hint=hint)


def _run(source: str, index: int, pattern: re.Pattern[str] = _RUN) -> str:
    found = pattern.match(source, index + 1)
    return source[index : found.end() if found else index + 1]


def _string(source: str, start: int) -> Token:
    index = start + 1
    while True:
        quote = source.find("'", index)
        if quote < 0:
            raise _unexpected(source[start:], start, source, "the string is not closed: add a single quote")
        if source[quote + 1 : quote + 2] != "'":
            break
        index = quote + 2
    return Token("literal", source[start : quote + 1], start, source[start + 1 : quote].replace("''", "'"))


def _operator(source: str, start: int) -> Token:
    if source[start : start + 2] in _TWO:
        return Token("operator", source[start : start + 2], start)
    if source[start] in _ONE:
        return Token("operator", source[start], start)
    hints = {"=": "equality is written ==", "&": "and is written &&", "|": "or is written ||"}
    raise _unexpected(_run(source, start), start, source, hints.get(source[start]))


def _number(source: str, start: int) -> Token:
    raw = _run(source, start, _RUN_WITH_DOTS)
    number = parse_number(raw)
    if math.isnan(number):
        raise _unexpected(raw, start, source)
    return Token("literal", raw, start, number)


def _word(source: str, start: int, after_dot: bool) -> Token:
    raw = _run(source, start)
    if not is_keyword(raw):
        hint = "strings are written in single quotes" if raw.startswith('"') else None
        raise _unexpected(raw, start, source, hint)
    if after_dot:
        return Token("property", raw, start)
    if raw in _CONSTANTS:
        return Token("literal", raw, start, _CONSTANTS[raw])
    rest = _BLANKS.match(source, start + len(raw))
    return Token("function" if rest and source[rest.end() : rest.end() + 1] == "(" else "name", raw, start)
