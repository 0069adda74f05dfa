"""Tokens of an expression. Knows nothing of grammar beyond what is needed to tell `.5` from `.name`.

Source: the lexical rules of the open runner's `LexicalAnalyzer`. Linear in the text: each character is read once.
"""

from __future__ import annotations

import math
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
_BOUNDARY: Final = frozenset("()[],.!><=&|" + WHITESPACE)
_NUMBER_MAY_FOLLOW: Final = frozenset((",", "(", "[", "operator"))
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_WORD: Final = _LETTERS | frozenset("0123456789-")
_CONSTANTS: Final[dict[str, bool | float | None]] = {
    "null": None,
    "true": True,
    "false": False,
    "NaN": NAN,
    "Infinity": INFINITY,
}


@attrs.frozen(slots=True)
class Token:
    """One token: `raw` as written, `offset` from 0, `value` of a literal."""

    kind: TokenKind
    raw: str
    offset: int
    value: bool | float | str | None = None


def is_keyword(text: str) -> bool:
    """Whether `text` can be a name: a letter or `_`, then letters, digits, `_` and `-`."""
    return bool(text) and text[0] in _LETTERS and all(character in _WORD for character in text)


def tokenize(source: str) -> list[Token]:
    """All tokens of an expression; raises ExpressionError of kind lexing."""
    if len(source) > MAX_LENGTH:
        raise ExpressionError("lexing", f"Exceeded max expression length {MAX_LENGTH}")
    tokens: list[Token] = []
    index, end = 0, len(source)
    while index < end:
        character = source[index]
        if character in WHITESPACE:
            index += 1
            continue
        last = tokens[-1].kind if tokens else None
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
        index = token.offset + len(token.raw)
    return tokens


def _unexpected(raw: str, offset: int, source: str, hint: str | None = None) -> ExpressionError:
    return located("lexing", "Unexpected symbol", raw, offset, source, hint=hint)


def _run(source: str, index: int, through_dots: bool = False) -> str:
    end = index + 1
    while end < len(source) and (source[end] not in _BOUNDARY or (through_dots and source[end] == ".")):
        end += 1
    return source[index:end]


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
    raw = _run(source, start, through_dots=True)
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
    rest = start + len(raw)
    while rest < len(source) and source[rest] in WHITESPACE:
        rest += 1
    return Token("function" if source[rest : rest + 1] == "(" else "name", raw, start)
