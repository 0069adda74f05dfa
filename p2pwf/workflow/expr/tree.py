"""The tree of an expression, and what can be asked of one. Knows no text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import attrs

STATUS_FUNCTIONS: Final = frozenset(("SUCCESS", "FAILURE", "ALWAYS", "CANCELLED"))


@attrs.define(slots=True, eq=False)  # never changed: see Token
class Constant:
    """A constant."""

    value: bool | float | str | None
    offset: int
    depth: int = 1


@attrs.define(slots=True, eq=False)  # never changed: see Token
class Name:
    """A context, such as `github`; `key` is its folded name."""

    name: str
    key: str
    offset: int
    depth: int = 1


@attrs.frozen(slots=True, eq=False)
class Wildcard:
    """The `*` of `.*` and `[*]`."""

    offset: int
    depth: int = 1


@attrs.define(slots=True, eq=False)  # never changed: see Token
class Index:
    """`target.name`, `target[key]`, `target.*`."""

    target: Node
    key: Node
    offset: int
    depth: int


@attrs.frozen(slots=True, eq=False)
class Call:
    """A function call; `key` is the folded name."""

    name: str
    key: str
    arguments: tuple[Node, ...]
    offset: int
    depth: int


@attrs.define(slots=True, eq=False)  # never changed, but where it grows: see _Parser
class Operation:
    """`!` with one operand, a comparison with two, `&&` or `||` with two or more."""

    operator: str
    operands: Sequence[Node]
    offset: int
    depth: int


Node: TypeAlias = Constant | Name | Wildcard | Index | Call | Operation


def children(node: Node) -> Sequence[Node]:
    """The nodes right below one."""
    if isinstance(node, Index):
        return node.target, node.key
    if isinstance(node, Call):
        return node.arguments
    return node.operands if isinstance(node, Operation) else ()


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def uses_status_function(node: Node) -> bool:
    """Whether success, failure, always or cancelled is called anywhere: then no implicit success() is added."""
    return any(isinstance(part, Call) and part.key in STATUS_FUNCTIONS for part in walk(node))


def names_used(node: Node) -> frozenset[str]:
    """The folded names of all contexts that an expression mentions."""
    return frozenset(part.key for part in walk(node) if isinstance(part, Name))


@attrs.define(slots=True, eq=False)  # never changed: see Token
class Parsed:
    """An expression that parses: its tree, None for a blank one, and the parts that are looked up, in reading order."""

    tree: Node | None
    names: tuple[Name, ...] = ()
    calls: tuple[Call, ...] = ()
    chains: tuple[Index, ...] = ()
    """Whole ways into contexts, such as `a.b.c` and `a['b'].*.d`; see `way_of`."""
    equalities: tuple[Operation, ...] = ()
    """All `==` and `!=`."""
    tokens: int = 0
    """How many it is made of."""


def way_of(index: Index) -> tuple[Name | None, list[tuple[str | None, int]]]:
    """The context that a chain of indexes starts from, if it does, and each key with its offset.

    A key that is not written out, a wildcard among them, is None.
    """
    keys: list[tuple[str | None, int]] = []
    node: Node = index
    while isinstance(node, Index):
        value = node.key.value if isinstance(node.key, Constant) else None
        keys.append((value if isinstance(value, str) else None, node.key.offset))
        node = node.target
    keys.reverse()
    return (node if isinstance(node, Name) else None), keys
