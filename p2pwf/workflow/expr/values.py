"""Values of the expression language and how they turn into one another. Knows nothing of syntax.

A value is None, a bool, a number (any Python int or float counts as a 64-bit float), a str, a list or tuple, or a
mapping with string keys. Rules: the coercion table of GitHub's expression documentation and the open runner's
`ExpressionUtility` and `EvaluationResult`: JavaScript's loose equality, but strings compare without case and
collections never turn into primitives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias

Value: TypeAlias = "bool | float | str | Sequence[Value] | Mapping[str, Value] | None"
Kind = Literal["Null", "Boolean", "Number", "String", "Array", "Object"]

WHITESPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What .NET's Char.IsWhiteSpace holds; Python's str.isspace has a few more."""
MAX_INT32: Final = 2**31 - 1
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_HEX = re.compile(r"0x([0-9a-fA-F]+)", re.ASCII)
_OCTAL = re.compile(r"0o([0-7]+)", re.ASCII)
NAN: Final = float("nan")
INFINITY: Final = float("inf")


class CaseSensitive(dict[str, Value]):
    """A mapping whose keys are looked up exactly: the `env` context on every system but Windows."""


class Filtered(list[Value]):
    """What `.*` gives: an index on it is applied to each of its items."""


def kind_of(value: Value) -> Kind:
    """The name of a value's kind, as GitHub names it."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, (int, float)):
        return "Number"
    if isinstance(value, str):
        return "String"
    return "Object" if isinstance(value, Mapping) else "Array"


def is_primitive(value: Value) -> bool:
    """Whether a value is null, a boolean, a number or a string."""
    return value is None or isinstance(value, (bool, int, float, str))


def parse_number(text: str) -> float:
    """The number a string stands for (decimal, `0x…`, `0o…`, Infinity), 0 for a blank one, else NaN.

    Hexadecimal and octal are 32-bit two's complement, as the runner reads them: 0xFFFFFFFF is -1.
    """
    text = text.strip(WHITESPACE)
    if not text:
        return 0.0
    if _DECIMAL.fullmatch(text):
        return float(text)
    for pattern, base in ((_HEX, 16), (_OCTAL, 8)):
        match = pattern.fullmatch(text)
        if match:
            digits = match[1].lstrip("0") or "0"
            if len(digits) > 11:  # eleven octal digits are the most that fit 32 bits
                return NAN
            number = int(digits, base)
            if number > 2**32 - 1:
                return NAN
            return float(number - 2**32 if number > MAX_INT32 else number)
    if text in ("Infinity", "+Infinity"):
        return INFINITY
    return -INFINITY if text == "-Infinity" else NAN


def as_float(number: float) -> float:
    """A number as 64-bit float; integers beyond its range become infinities."""
    try:
        return float(number)
    except OverflowError:
        return INFINITY if number > 0 else -INFINITY


def format_number(number: float) -> str:
    """A number as GitHub prints it: .NET's G15 format, so 15 significant digits, `1E+15`, `NaN`, `Infinity`."""
    value = as_float(number)
    if math.isnan(value):
        return "NaN"
    if value in (INFINITY, -INFINITY):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    return f"{value:.15G}"


def to_number(value: Value) -> float:
    """A value as number: null 0, booleans 0 and 1, strings by `parse_number`, collections NaN."""
    if value is None:
        return 0.0
    if isinstance(value, (bool, int, float)):
        return as_float(value)
    return parse_number(value) if isinstance(value, str) else NAN


def to_string(value: Value) -> str:
    """A value as string: null is empty, collections are the words `Array` and `Object`."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return format_number(value)
    return kind_of(value)


def is_truthy(value: Value) -> bool:
    """False for null, false, 0, -0, NaN and the empty string; true for all else."""
    if isinstance(value, (bool, str)) or value is None:
        return bool(value)
    if isinstance(value, (int, float)):
        return value != 0 and not math.isnan(value)
    return True


_INTO_ASCII: Final = re.compile("[\u0131\u017f]")
"""Characters whose upper case is an ASCII letter; .NET leaves them as they are."""


@lru_cache(4096)
def _fold_character(character: str) -> str:
    upper = character.upper()
    # The simple, invariant case mapping of .NET: one to one.
    return upper if len(upper) == 1 and not _INTO_ASCII.match(character) else character


def fold(text: str) -> str:
    """The form of a string under which strings and names that differ only in case are equal."""
    upper = text.upper()
    # Case mappings only ever lengthen, so an equal length says that each was one to one.
    if text.isascii() or (len(upper) == len(text) and not _INTO_ASCII.search(text)):
        return upper
    return "".join(map(_fold_character, text))


def _order_key(text: str) -> bytes:
    # Ordinal order is the order of UTF-16 code units, which differs from code points beyond U+FFFF.
    return fold(text).encode("utf-16-be", "surrogatepass")


def _coerced(left: Value, right: Value) -> tuple[Value, Value]:
    left_kind, right_kind = kind_of(left), kind_of(right)
    if left_kind == right_kind:
        return left, right
    if left_kind in ("Boolean", "Null") and right_kind in ("Boolean", "Null", "Number", "String"):
        left, left_kind = to_number(left), "Number"
    if right_kind in ("Boolean", "Null") and left_kind in ("Number", "String"):
        right, right_kind = to_number(right), "Number"
    if left_kind == "Number" and right_kind == "String":
        right = to_number(right)
    elif left_kind == "String" and right_kind == "Number":
        left = to_number(left)
    return left, right


def equal(left: Value, right: Value) -> bool:
    """`left == right`; arrays and objects are equal only to themselves."""
    left, right = _coerced(left, right)
    kind = kind_of(left)
    if kind != kind_of(right):
        return False
    if isinstance(left, str) and isinstance(right, str):
        return left == right or fold(left) == fold(right)
    if kind in ("Array", "Object"):
        return left is right
    return left == right


def compare(left: Value, right: Value) -> int | None:
    """-1, 0 or 1 for less, equal, greater; None where the values have no order (NaN, null, collections)."""
    left, right = _coerced(left, right)
    if isinstance(left, str) and isinstance(right, str):
        first, second = _order_key(left), _order_key(right)
        return (first > second) - (first < second)
    if isinstance(left, bool) != isinstance(right, bool):
        return None
    if isinstance(left, (bool, int, float)) and isinstance(right, (bool, int, float)):
        if math.isnan(left) or math.isnan(right):
            return None
        return (left > right) - (left < right)
    return None
