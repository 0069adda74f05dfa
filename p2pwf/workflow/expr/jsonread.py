"""JSON as `fromJSON` reads it, which is more than JSON. Knows nothing of expressions.

GitHub reads with Newtonsoft.Json as that is out of the box, so this takes what that takes: text in single quotes or
with line ends in it, keys without quotes, comments, a comma too many, NaN and Infinity, hexadecimal and octal numbers;
and what follows the first value is not looked at. Strict JSON goes to the standard library's reader, which is faster.
No recursion, and the work is linear in the text.
Source: Newtonsoft.Json's `JsonTextReader` and `JToken.ReadFrom`, the open runner's `FromJson` and `JTokenExtensions`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from p2pwf.workflow.expr.jsontext import JsonError, check_depth
from p2pwf.workflow.expr.values import WHITESPACE, Value, fold

MAX_JSON_DEPTH: Final = 64
"""Nesting of what `fromJSON` reads, Newtonsoft's bound."""
MAX_INTEGER: Final = 380
"""Characters of a whole number, Newtonsoft's bound."""
_SPACE: Final = WHITESPACE + "\0"  # it passes over NUL as over a blank
_BLANKS = re.compile(f"[{_SPACE}]*+")
_GAP = re.compile(rf"(?:[{_SPACE}]++|//[^\r\n]*+|/\*.*?\*/)*+", re.DOTALL)
_COMMENT = re.compile(r"//([^\r\n]*+)|/\*(.*?)\*/", re.DOTALL)
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"' + r"|'[^'\\]*+(?:\\.[^'\\]*+)*+'"
_VALUE = re.compile(
    rf"(?P<open>[\[{{])|(?P<string>{_STRING})"
    rf"|(?P<word>true|false|null|undefined|NaN|-?Infinity)(?=[{_SPACE},}}\]]|/[/*]|\Z)"
    rf"|(?P<number>[-.0-9][-+a-fA-FxX.0-9]*+)(?=[{_SPACE},}}\])/]|\Z)",
    re.DOTALL,
)
_KEY = re.compile(rf"(?P<string>{_STRING})|(?P<bare>[\w$]++)(?=[{_SPACE}:])", re.DOTALL)
_WORDS: Final[dict[str, Value]] = {"true": True, "false": False, "null": None, "undefined": ""}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([btnfr\\\"'/])|)")
_SHORT: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_DECIMAL = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_OTHER_BASE = re.compile(r"0[^.eE]")
_HEX = re.compile(r"0[xX]0*([0-9a-fA-F]{1,16})", re.ASCII)
_OCTAL = re.compile(r"0+([0-7]{0,21}|1[0-7]{21})", re.ASCII)


def read_json(text: str, spend: Callable[[int], None]) -> Value:
    """The value that a text begins with; raises JsonError, with the place, where Newtonsoft refuses it.

    Of keys that differ only in case the last value counts. What is left out (`[1,,2]`) and `undefined` are empty
    strings, and a text that begins with a comment is that comment: so the runner has them. `spend` is told how many
    microseconds, about, the work takes, before it is done, and stops it by raising.
    """
    spend(len(text) // 8)
    try:
        check_depth(text, MAX_JSON_DEPTH)
        return _whole(json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_float=float))
    except (json.JSONDecodeError, JsonError):
        return _Reader(text, spend).read()


def _integer(text: str) -> float:
    if len(text) > MAX_INTEGER:
        raise JsonError("an integer is too large")
    return float(text)


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    result: dict[str, Value] = {}
    names: dict[str, str] = {}
    for key, value in dict(pairs).items():
        name = names.setdefault(fold(key), _text(key))
        result[name] = _whole(value)
    return result


def _whole(value: Value) -> Value:
    if isinstance(value, list):
        value[:] = [_whole(item) for item in value]  # as deep as nested arrays go, which is bounded
        return value
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    # A lone surrogate cannot be written as UTF-8 anywhere later; .NET replaces it.
    return _SURROGATE.sub("\ufffd", text)


class _Reader:
    """Reads what is not strict JSON."""

    def __init__(self, text: str, spend: Callable[[int], None]) -> None:
        self._source = text
        self._spend = spend
        self._at = 0

    def read(self) -> Value:
        """The first value of the text."""
        self._pass(_BLANKS)
        comment = _COMMENT.match(self._source, self._at)
        if comment is not None:
            return _text(comment[1] if comment[2] is None else comment[2])
        opened: list[list[Any]] = []  # the items, or pairs, of each array and object that the place is inside of
        keys: list[str | None] = []  # for each the key that a value is due for; None in an array
        while True:
            value: Value = self._value(opened, keys)
            if value is _OPENED:
                continue
            while opened:
                key = keys[-1]
                opened[-1].append(value if key is None else (key, value))
                if self._goes_on(keys):
                    break
                keys.pop()
                value = opened.pop() if key is None else _object(opened.pop())
            else:
                return value

    def _value(self, opened: list[list[Any]], keys: list[str | None]) -> Any:  # noqa: ANN401 - a value, or a sign
        """The next value; `_OPENED` where one begins that has others inside."""
        self._spend(2)
        self._pass(_GAP)
        found = _VALUE.match(self._source, self._at)
        if found is None:
            mark = self._source[self._at : self._at + 1]
            if mark == ",":
                return ""  # the comma is read once more, after this
            if mark == "]" and keys and keys[-1] is None:
                self._at += 1
                keys.pop()
                return opened.pop()
            raise self._error("a value")
        if found.lastgroup != "open":
            value = self._scalar(found[0], str(found.lastgroup))
            self._at = found.end()
            return value
        if len(opened) == MAX_JSON_DEPTH:
            raise JsonError(f"nested deeper than {MAX_JSON_DEPTH}")
        self._at = found.end()
        if found[0] == "[":
            opened.append([])
            keys.append(None)
            return _OPENED
        key = self._key()
        if key is None:
            return {}
        opened.append([])
        keys.append(key)
        return _OPENED

    def _goes_on(self, keys: list[str | None]) -> bool:
        """After a value: whether another one may follow in the same array or object; else that has been closed."""
        self._pass(_GAP)
        mark = self._source[self._at : self._at + 1]
        end = "]" if keys[-1] is None else "}"
        if mark not in (",", end) or not mark:
            raise self._error(f"',' or '{end}'")
        self._at += 1
        if mark == end:
            return False
        if keys[-1] is None:
            return True
        key = self._key()
        if key is not None:
            keys[-1] = key
        return key is not None

    def _key(self) -> str | None:
        """The next key and its colon; None where the object ends instead."""
        self._pass(_GAP)
        if self._source.startswith("}", self._at):
            self._at += 1
            return None
        found = _KEY.match(self._source, self._at)
        if found is None or not all(map(_may_be_bare, found["bare"] or "")):
            raise self._error("a key")
        key = found["bare"] or self._string(found[0])
        self._at = found.end()
        self._pass(_BLANKS)
        if not self._source.startswith(":", self._at):
            raise self._error("':'")
        self._at += 1
        return key

    def _scalar(self, text: str, kind: str) -> Value:
        if kind == "string":
            return self._string(text)
        if kind == "word":
            return _WORDS[text] if text in _WORDS else float(text)
        if _OTHER_BASE.match(text):
            hexadecimal, octal = _HEX.fullmatch(text), _OCTAL.fullmatch(text)
            if hexadecimal is not None or octal is not None:
                number = int(hexadecimal[1], 16) if hexadecimal is not None else int(text, 8)
                return float(number - 2**64 if number >= 2**63 else number)
        elif _DECIMAL.fullmatch(text) and (len(text) <= MAX_INTEGER or not text.lstrip("-").isdigit()):
            return float(text)
        raise self._error("a number")

    def _string(self, quoted: str) -> str:
        text = quoted[1:-1]
        if "\\" in text:
            # The halves of a character that are escaped one by one come together in UTF-16.
            text = _ESCAPE.sub(self._unescape, text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return _text(text)

    def _unescape(self, found: re.Match[str]) -> str:
        if found[1] is not None:
            return chr(int(found[1], 16))
        if found[2] is None:
            raise self._error("a known escape sequence in the text")
        return _SHORT.get(found[2], found[2])

    def _pass(self, what: re.Pattern[str]) -> None:
        found = what.match(self._source, self._at)
        if found is not None:
            self._at = found.end()

    def _error(self, wanted: str) -> JsonError:
        line = self._source.count("\n", 0, self._at) + 1
        column = self._at - self._source.rfind("\n", 0, self._at)
        return JsonError(f"{wanted} was expected at line {line} column {column}")


_OPENED: Final = object()


def _may_be_bare(character: str) -> bool:
    """Whether a key without quotes may hold a character: .NET's letters and digits, which lie below U+10000."""
    return character in "_$" or (character <= "\uffff" and (character.isalpha() or character.isdecimal()))
