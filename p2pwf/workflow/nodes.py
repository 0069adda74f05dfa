"""The tree of a YAML file: scalars, sequences and mappings, each with its place. Knows nothing of workflows.

A file may hold tens of thousands of nodes, and each is made once and then only read: so they keep the loader's own
mark and make a `Place` of it when one is asked for, and are not frozen, which would triple what making one costs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Protocol, TypeAlias

import attrs

from p2pwf.workflow.diagnostics import Place
from p2pwf.workflow.expr.values import Value, fold, format_number

Plain: TypeAlias = bool | float | str | None
_folded = lru_cache(512)(fold)  # of the keys that are asked for: those of the language


class Mark(Protocol):
    """A position as the YAML parser gives it, all from 0."""

    index: int
    line: int
    column: int


@attrs.define(slots=True, eq=False)
class Scalar:
    """A scalar: its value by the YAML 1.2 core schema (numbers are floats) and `raw`, its source text as written.

    `raw` starts at `place`; it is kept only where the value holds `${{`, to find an expression's own place.
    """

    mark: Mark
    value: Plain
    raw: str = ""

    @property
    def place(self) -> Place:
        """Where it starts."""
        return Place(self.mark.line + 1, self.mark.column + 1)

    @property
    def text(self) -> str:
        """The value as GitHub turns it into a string: `3.10` is 3.1, null is empty."""
        value = self.value
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return format_number(value)

    def place_of(self, offset: int) -> Place:
        """The place of the character at `offset` of a string value, as near as quoting and folding let it be found."""
        if not self.raw or not isinstance(self.value, str):
            return self.place
        marks = _marks(self.value, self.raw)
        number = bisect_right(marks.in_value, offset) - 1
        if not 0 <= number < len(marks.in_raw):
            return self.place
        index = marks.in_raw[number]
        inner = self.value[marks.in_value[number] : offset]
        if self.raw.startswith(inner, index):
            index += len(inner)
        newlines = bisect_right(marks.newlines, index - 1)
        if not newlines:
            return Place(self.place.line, self.place.column + index)
        return Place(self.place.line + newlines, index - marks.newlines[newlines - 1])


@attrs.define(slots=True)
class Inside:
    """A character of a string value, by its offset."""

    node: Scalar
    offset: int

    @property
    def place(self) -> Place:
        """Where it stands in the file."""
        return self.node.place_of(self.offset)


@attrs.frozen(slots=True)
class _Marks:
    """Where expressions start in a value and in its source text, and where that has line ends."""

    in_value: list[int]
    in_raw: list[int]
    newlines: list[int]


@lru_cache(4)  # a file may hold thousands of faults in one long scalar
def _marks(value: str, raw: str) -> _Marks:
    return _Marks(_all(value, "${{"), _all(raw, "${{"), _all(raw, "\n"))


def _all(text: str, part: str) -> list[int]:
    found: list[int] = []
    index = text.find(part)
    while index >= 0:
        found.append(index)
        index = text.find(part, index + 1)
    return found


@attrs.define(slots=True, eq=False)
class SequenceNode:
    """A sequence."""

    mark: Mark
    items: tuple[Node, ...]

    @property
    def place(self) -> Place:
        """Where it starts."""
        return Place(self.mark.line + 1, self.mark.column + 1)


@attrs.define(slots=True, eq=False)
class MappingNode:
    """A mapping; keys are scalars, in file order, and `by_name` finds an entry by its folded key."""

    mark: Mark
    entries: tuple[tuple[Scalar, Node], ...]
    by_name: Mapping[object, tuple[Scalar, Node]]

    @property
    def place(self) -> Place:
        """Where it starts."""
        return Place(self.mark.line + 1, self.mark.column + 1)

    def get(self, key: str) -> Node | None:
        """The value of a key, or None."""
        entry = self.by_name.get(_folded(key))
        if entry is None:
            return None
        return entry[1] if entry[0].value == key or entry[0].text == key else None


Node: TypeAlias = Scalar | SequenceNode | MappingNode


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it, keys included."""
    stack: list[Node] = [node]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, SequenceNode):
            stack.extend(reversed(node.items))
        elif isinstance(node, MappingNode):
            for key, value in reversed(node.entries):
                stack.extend((value, key))


def scalars(node: Node | None) -> Iterator[Scalar]:
    """A scalar, or the scalars of a sequence; those that hold no text are passed over."""
    items = node.items if isinstance(node, SequenceNode) else (node,)
    for item in items:
        if isinstance(item, Scalar) and item.text:
            yield item


def to_value(node: Node) -> Value:
    """A tree without expressions as a value of the expression language; as deep as the loader let it be."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, SequenceNode):
        return [to_value(item) for item in node.items]
    return {key.text: to_value(value) for key, value in node.entries}
