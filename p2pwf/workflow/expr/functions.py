"""The functions of the language that need no context of a run. Knows nothing of syntax trees.

Each takes values and a `Budget`; `format` gets its arguments lazily, because those that its text does not use are
never evaluated. `case` is the evaluator's own: it decides what is evaluated at all.
Source: GitHub's expression documentation and the open runner's `Sdk/Functions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from p2pwf.workflow.expr.errors import ExpressionError, shown
from p2pwf.workflow.expr.jsonread import read_json
from p2pwf.workflow.expr.jsontext import JsonError, write_json
from p2pwf.workflow.expr.values import Value, equal, fold, is_primitive, to_string

MAX_MEMORY: Final = 10 * 1024 * 1024
"""Bytes that one evaluation may make, GitHub's bound for a template."""
PIECE: Final = 26
"""Bytes that GitHub counts for a string besides two for each character."""
MAX_STEPS: Final = 250_000
"""Nodes visited and items looked at in one evaluation: a quarter of a second at most. A value made of a whole file of
JSON, 256 KiB, is looked at item by item with half of it."""


class Budget:
    """What one evaluation may still spend; running out raises ExpressionError of kind evaluation."""

    __slots__ = ("memory", "steps")

    def __init__(self) -> None:
        self.memory = MAX_MEMORY
        self.steps = MAX_STEPS

    def characters(self, count: int) -> None:
        """Account for a string of `count` characters."""
        self.memory -= PIECE + 2 * count
        if self.memory < 0:
            raise ExpressionError("evaluation", "The maximum allowed memory size was exceeded")

    def step(self, count: int = 1) -> None:
        """Account for `count` nodes or items looked at."""
        self.steps -= count
        if self.steps < 0:
            raise ExpressionError("evaluation", f"The expression takes more than {MAX_STEPS} steps")


def contains(left: Value, right: Callable[[], Value], budget: Budget) -> bool:
    """Whether a string holds another, without case, or an array an equal item."""
    if is_primitive(left):
        sought = right()
        return is_primitive(sought) and fold(to_string(sought)) in fold(to_string(left))
    if isinstance(left, Mapping) or not isinstance(left, Sequence) or not left:
        return False
    sought = right()
    folded = fold(sought) if isinstance(sought, str) else None
    for item in left:
        budget.step()
        if folded is not None and isinstance(item, str):
            if len(item) == len(folded) and fold(item) == folded:
                return True
        elif equal(sought, item):
            return True
    return False


def starts_with(left: Value, right: Value) -> bool:
    """Whether a string starts with another, without case."""
    return is_primitive(left) and is_primitive(right) and fold(to_string(left)).startswith(fold(to_string(right)))


def ends_with(left: Value, right: Value) -> bool:
    """Whether a string ends with another, without case."""
    return is_primitive(left) and is_primitive(right) and fold(to_string(left)).endswith(fold(to_string(right)))


def join(items: Value, separator: Callable[[], Value] | None, budget: Budget) -> str:
    """The items of an array as strings with a separator, by default a comma, between them."""
    if is_primitive(items):
        return to_string(items)
    if isinstance(items, Mapping) or not isinstance(items, Sequence) or not items:
        return ""
    between = ","
    if len(items) > 1 and separator is not None:
        given = separator()
        between = to_string(given) if is_primitive(given) else between
    pieces: list[str] = []
    for item in items:
        budget.step()
        piece = to_string(item)
        budget.characters(len(piece) + len(between))
        pieces.append(piece)
    return between.join(pieces)


def to_json(value: Value, budget: Budget) -> str:
    """A value as indented JSON."""

    def spend(count: int) -> None:
        budget.step()
        budget.characters(count)

    return write_json(value, spend)


def from_json(value: Value, budget: Budget) -> Value:
    """The value of a text of what GitHub takes for JSON."""
    text = to_string(value)
    budget.characters(4 * len(text))  # objects of many small parts weigh several times their text
    try:
        return read_json(text, budget.step)
    except JsonError as error:
        hint = f"the text: {shown(text)}"
        raise ExpressionError("evaluation", f"Error parsing fromJson: {error}", hint=hint) from None


def format_text(template: str, arguments: Sequence[Callable[[], Value]], budget: Budget) -> str:
    """`template` with `{0}` and so on replaced by arguments; `{{` and `}}` are braces."""
    made: dict[int, str] = {}
    pieces: list[str] = []
    for segment in _segments(template, len(arguments)):
        budget.step()
        if isinstance(segment, str):
            piece = segment
        else:
            if segment not in made:
                made[segment] = to_string(arguments[segment]())
            piece = made[segment]
        budget.characters(len(piece))
        pieces.append(piece)
    return "".join(pieces)


def check_format(template: str, count: int) -> None:
    """Refuse a text that `format` would refuse with so many arguments after it; raises ExpressionError."""
    _segments(template, count)


def _invalid(template: str, hint: str) -> ExpressionError:
    return ExpressionError("evaluation", f"The following format string is invalid: {shown(template)}", hint=hint)


def _segments(template: str, count: int) -> list[str | int]:
    segments: list[str | int] = []
    index = 0
    left = template.find("{")
    right = template.find("}")
    while True:
        if 0 <= left < index:
            left = template.find("{", index)
        if 0 <= right < index:
            right = template.find("}", index)
        if left >= 0 and (right < 0 or right > left):
            if template[left + 1 : left + 2] == "{":
                segments.append(template[index : left + 1])
                index = left + 2
                continue
            number = template[left + 1 : right] if right >= 0 else ""
            digits, colon, _ = number.partition(":")
            if not (digits.isascii() and digits.isdigit()) or len(digits.lstrip("0")) > 3 or int(digits) > 255:
                raise _invalid(template, "write {0} for the first argument, {{ for a brace")
            if colon:
                hint = "formats after a colon are not supported"
                raise ExpressionError("evaluation", f"The format specifiers of '{{{number}}}' are not valid", hint=hint)
            if int(digits) >= count:
                what = "The following format string references more arguments than were supplied"
                raise ExpressionError("evaluation", f"{what}: {shown(template)}")
            segments.extend((template[index:left], int(digits)))
            index = right + 1
        elif right >= 0:
            if template[right + 1 : right + 2] != "}":
                raise _invalid(template, "write }} for a closing brace")
            segments.append(template[index : right + 1])
            index = right + 2
        else:
            segments.append(template[index:])
            return segments
