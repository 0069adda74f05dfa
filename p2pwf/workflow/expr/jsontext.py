"""JSON for `toJSON` and `fromJSON`. Knows nothing of expressions.

Reading is strict (RFC 8259), bounded in depth and free of recursion on hostile input; numbers become 64-bit floats.
Writing is what GitHub prints: two spaces of indent, numbers in the expression language's own format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Final, NoReturn

from p2pwf.workflow.expr.values import Value, fold, format_number, is_primitive

MAX_JSON_DEPTH: Final = 100
"""Nesting of a JSON text, the runner's bound."""
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile('["\\\\\x00-\x1f\x85\u2028\u2029]')
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class JsonError(ValueError):
    """The text is not JSON, or is nested too deep."""


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is not JSON")


def _scalar(value: Value) -> Value:
    # A lone surrogate cannot be written as UTF-8 anywhere later; .NET replaces it when it writes.
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    result: dict[str, Value] = {}
    names: dict[str, str] = {}
    for key, value in pairs:
        name = names.setdefault(fold(key), str(_scalar(key)))
        result[name] = _items(value)
    return result


def _items(value: Value) -> Value:
    if isinstance(value, list):
        value[:] = [_items(item) for item in value]  # as deep as nested arrays go, which is bounded
        return value
    return _scalar(value)


def check_depth(text: str) -> None:
    """Refuse a JSON text that would make the reader recurse too deep; raises JsonError."""
    depth = 0
    for match in _STRUCTURE.finditer(text):
        mark = match[0][0]
        depth += (mark in "[{") - (mark in "]}")
        if depth > MAX_JSON_DEPTH:
            raise JsonError(f"nested deeper than {MAX_JSON_DEPTH}")


def read_json(text: str) -> Value:
    """The value of a JSON text; raises JsonError. Of keys that differ only in case the last value counts."""
    check_depth(text)
    try:
        value: Value = json.loads(
            text, object_pairs_hook=_object, parse_int=float, parse_float=float, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    return _items(value)


def quote_json(text: str) -> str:
    """A string as JSON string: only what must be escaped is."""
    return '"' + _ESCAPE.sub(lambda m: _SHORT.get(m[0]) or f"\\u{ord(m[0]):04x}", text) + '"'


def write_json(value: Value, spend: Callable[[int], None]) -> str:
    """A value as indented JSON; `spend` is told of every piece's length and stops the work by raising."""
    if is_primitive(value) or not value:
        text = _write_scalar(value)
        spend(len(text))
        return text
    written = StringIO()  # not a list of pieces: each would weigh fifty bytes more than its text
    stack: list[tuple[Iterator[tuple[str | None, Value]], str]] = []
    before = ""
    item: Value = value
    while True:
        if is_primitive(item) or not item:
            piece, opened = before + _write_scalar(item), False
        elif isinstance(item, Mapping):
            piece, opened = before + "{", True
            stack.append((iter(item.items()), "}"))
        else:
            piece, opened = before + "[", True
            stack.append((((None, entry) for entry in _sequence(item)), "]"))
        spend(len(piece))
        written.write(piece)
        separator = "\n" if opened else ",\n"
        while (entry := next(stack[-1][0], None)) is None:
            end = "\n" + "  " * (len(stack) - 1) + stack.pop()[1]
            spend(len(end))
            written.write(end)
            if not stack:
                return written.getvalue()
            separator = ",\n"
        key, item = entry
        before = separator + "  " * len(stack) + ("" if key is None else quote_json(key) + ": ")


def _sequence(value: Value) -> Sequence[Value]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _write_scalar(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote_json(value)
    if isinstance(value, (int, float)):
        return format_number(value)
    return "{}" if isinstance(value, Mapping) else "[]"
