"""JSON as `toJSON` writes it, and what bounds the depth of a JSON text. Knows nothing of expressions.

It is what GitHub prints: two spaces of indent, numbers in the expression language's own format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Final

from p2pwf.workflow.expr.values import Value, format_number, is_primitive

_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_ESCAPE = re.compile('["\\\\\x00-\x1f\x85\u2028\u2029]')
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class JsonError(ValueError):
    """The text is not JSON, or is nested too deep."""


def check_depth(text: str, bound: int) -> None:
    """Refuse a strict JSON text that would make a reader recurse deeper than `bound`; raises JsonError."""
    if text.count("[") + text.count("{") <= bound:
        return
    depth = 0
    for match in _STRUCTURE.finditer(text):
        mark = match[0][0]
        depth += (mark in "[{") - (mark in "]}")
        if depth > bound:
            raise JsonError(f"nested deeper than {bound}")


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
