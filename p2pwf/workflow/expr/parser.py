"""From tokens to a tree. Knows which names and functions are allowed only by what the caller passes in.

A precedence parser on two stacks, without recursion, so that input never decides the depth of our own stack.
Depth counts as GitHub counts it: chained `&&` and chained `||` are one level, each index, call and `!` is one more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Final, TypeAlias, cast

import attrs

from p2pwf.workflow.expr.errors import ExpressionError, located
from p2pwf.workflow.expr.lexer import Token, tokenize
from p2pwf.workflow.expr.tree import Call, Constant, Index, Name, Node, Operation, Parsed, Wildcard
from p2pwf.workflow.expr.values import fold

MAX_DEPTH: Final = 50
"""Levels of an expression tree, GitHub's bound; the evaluator recurses by it."""

Arity: TypeAlias = tuple[int, int]
MANY: Final = 255

BUILT_IN: Final[Mapping[str, Arity]] = {
    "CASE": (3, MANY),
    "CONTAINS": (2, 2),
    "ENDSWITH": (2, 2),
    "FORMAT": (1, MANY),
    "FROMJSON": (1, 1),
    "JOIN": (1, 2),
    "STARTSWITH": (2, 2),
    "TOJSON": (1, 1),
}
"""Functions of the language itself, names folded, and the least and most arguments of each."""

_PRECEDENCE: Final[Mapping[str, int]] = {
    **dict.fromkeys((".", "["), 20),
    "!": 16,
    **dict.fromkeys((">", ">=", "<", "<="), 11),
    **dict.fromkeys(("==", "!="), 10),
    "&&": 6,
    "||": 5,
}
_OPERAND_END: Final = frozenset((")", "]", "*", "literal", "property", "name"))
_OPERAND_START: Final = frozenset((None, ",", "(", "[", "operator"))


@lru_cache(2048)  # a step's expressions are read when the file is checked, planned and run
def parse_whole(source: str) -> Parsed:
    """An expression with what it looks up; raises ExpressionError of kind lexing or parsing."""
    return _way(source) if len(source) <= MAX_WAY and _WAY.fullmatch(source) else _Parser(source).run()


MAX_WAY: Final = 1000
"""Characters of such an expression; a longer one goes the ordinary way, with all its bounds."""
_WAY = re.compile(
    r"(?!(?:null|true|false|NaN|Infinity)(?:\.|$))[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*){0,40}"
)
"""What nine of ten expressions are: `name.key.key`. They need no more than to be cut at their points."""


def _way(source: str) -> Parsed:
    start, *keys = source.split(".")
    name = Name(start, fold(start), 0)
    node: Name | Index = name
    offset = len(start)
    for depth, key in enumerate(keys, 2):
        node = Index(node, Constant(key, offset + 1), offset, depth)
        offset += 1 + len(key)
    return Parsed(node, (name,), (), (node,) if isinstance(node, Index) else (), tokens=1 + 2 * len(keys))


def parse(source: str) -> Node | None:
    """The tree of an expression, None for a blank one; raises ExpressionError of kind lexing or parsing.

    Names and functions are not looked up: see `parse_known`.
    """
    return parse_whole(source).tree


def parse_known(source: str, contexts: AbstractSet[str], functions: Mapping[str, Arity]) -> Parsed:
    """As `parse`, and every name and function must be known, every call have the right number of arguments.

    `contexts` and the keys of `functions` are folded; the built-in functions need not be listed. Raises
    ExpressionError, kind parsing: of several faults the first in reading order is told.
    """
    try:
        parsed = parse_whole(source)
    except ExpressionError as error:
        if error.kind == "parsing":
            before = [token for token in tokenize(source) if token.offset < error.offset]
            _check_names([(token.raw, token.offset) for token in before if token.kind == "name"], source, contexts)
            _check_calls([(token.raw, token.offset) for token in before if token.kind == "function"], source, functions)
        raise
    if any(name.key not in contexts for name in parsed.names):
        _check_names([(name.name, name.offset) for name in parsed.names], source, contexts)
    if parsed.calls:
        _check_calls([(call.name, call.offset) for call in parsed.calls], source, functions)
        for call in parsed.calls:
            _check_arity(call, BUILT_IN.get(call.key) or functions[call.key], source)
    return parsed


def _check_names(names: Iterable[tuple[str, int]], source: str, contexts: AbstractSet[str]) -> None:
    for raw, offset in names:
        if fold(raw) not in contexts:
            known = ", ".join(sorted(name.lower() for name in contexts))
            hint = f"known here: {known}" if known else "no context is known here"
            raise located("parsing", "Unrecognized named-value", raw, offset, source, hint=hint)


def _check_calls(calls: Iterable[tuple[str, int]], source: str, functions: Mapping[str, Arity]) -> None:
    for raw, offset in calls:
        if fold(raw) not in BUILT_IN and fold(raw) not in functions:
            raise located("parsing", "Unrecognized function", raw, offset, source)


def _check_arity(call: Call, arity: Arity, source: str) -> None:
    count = len(call.arguments)
    if count < arity[0]:
        raise located("parsing", "Too few parameters supplied", call.name, call.offset, source)
    if count > arity[1]:
        raise located("parsing", "Too many parameters supplied", call.name, call.offset, source)
    if call.key == "CASE" and count % 2 == 0:
        what = "Even number of parameters supplied, requires an odd number of parameters"
        raise located("parsing", what, call.name, call.offset, source)


def _offset(node: Node) -> int:
    return node.offset


@attrs.define(slots=True)
class _Open:
    """An unclosed `(` or `[`: where its operands start, and the function if it is a call."""

    token: Token
    function: Token | None
    base: int
    commas: int = 0


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokenize(source)
        self.operands: list[Node] = []
        self.operators: list[Token | _Open] = []
        self.open: list[_Open] = []
        self.names: list[Name] = []
        self.calls: list[Call] = []
        self.chains: list[Index] = []
        self.equalities: list[Operation] = []

    def run(self) -> Parsed:
        last: Token | None = None
        for token in self.tokens:
            self._check_place(token, last)
            self._take(token, last)
            last = token
        if last is None:
            return Parsed(None)
        if self.open or last.kind in ("operator", ".", "function"):
            raise located("parsing", "Unexpected end of expression", last.raw, last.offset, self.source)
        self._flush(-1)
        calls = sorted(self.calls, key=_offset)
        return Parsed(
            self.operands[0],
            tuple(self.names),
            tuple(calls),
            tuple(self.chains),
            tuple(self.equalities),
            len(self.tokens),
        )

    def _check_place(self, token: Token, last: Token | None) -> None:
        before = last.kind if last else None
        kind = token.kind
        if kind == "property":
            legal = before == "."
        elif kind in ("literal", "name", "function") or token.raw == "!":
            legal = before in _OPERAND_START
        elif kind == "(":
            legal = before == "function" or before in _OPERAND_START
        elif kind in ("[", "."):
            legal = before in _OPERAND_END and before != "literal"
        elif kind == "*":
            legal = before in ("[", ".")
        elif kind == ")":
            empty_call = before == "(" and bool(self.open) and self.open[-1].function is not None
            legal = (before in _OPERAND_END or empty_call) and bool(self.open) and self.open[-1].token.kind == "("
        elif kind == "]":
            legal = before in _OPERAND_END and bool(self.open) and self.open[-1].token.kind == "["
        elif kind == ",":
            legal = before in _OPERAND_END and bool(self.open) and self.open[-1].function is not None
        else:
            legal = before in _OPERAND_END
        if not legal:
            raise located("parsing", "Unexpected symbol", token.raw, token.offset, self.source)

    def _take(self, token: Token, last: Token | None) -> None:
        kind = token.kind
        if kind == "literal":
            self.operands.append(Constant(token.value, token.offset))
        elif kind == "property":
            self.operands.append(Constant(token.raw, token.offset))
        elif kind == "name":
            name = Name(token.raw, fold(token.raw), token.offset)
            self.names.append(name)
            self.operands.append(name)
        elif kind == "*":
            self.operands.append(Wildcard(token.offset))
        elif kind == "(":
            called = last if last is not None and last.kind == "function" else None
            self._push_open(_Open(token, called, len(self.operands)))
        elif kind == "[":
            self._flush(_PRECEDENCE["["])
            self._push_open(_Open(token, None, len(self.operands)))
        elif kind == ",":
            self._flush(-1)
            self.open[-1].commas += 1
        elif kind in (")", "]"):
            self._close(empty=last is not None and last.kind == "(")
        elif kind in ("operator", "."):
            if token.raw != "!":
                self._flush(_PRECEDENCE[token.raw])
            self.operators.append(token)

    def _push_open(self, bracket: _Open) -> None:
        self.open.append(bracket)
        self.operators.append(bracket)

    def _close(self, empty: bool) -> None:
        self._flush(-1)
        self.operators.pop()
        bracket = self.open.pop()
        if bracket.token.kind == "[":
            key = self.operands.pop()
            self._push_index(self.operands.pop(), key, bracket.token.offset)
        elif bracket.function is not None:
            arguments = () if empty else tuple(self.operands[bracket.base :])
            del self.operands[bracket.base :]
            depth = self._deeper(arguments)
            name = bracket.function.raw
            call = Call(name, fold(name), arguments, bracket.function.offset, depth)
            self.calls.append(call)
            self.operands.append(call)

    def _push_index(self, target: Node, key: Node, offset: int) -> None:
        index = Index(target, key, offset, self._deeper((target, key)))
        if self.chains and self.chains[-1] is target:
            self.chains[-1] = index
        else:
            self.chains.append(index)
        self.operands.append(index)

    def _deeper(self, nodes: tuple[Node, ...]) -> int:
        depth = 1 + max((node.depth for node in nodes), default=0)
        if depth > MAX_DEPTH:
            raise ExpressionError("parsing", f"Exceeded max expression depth {MAX_DEPTH}")
        return depth

    def _flush(self, precedence: int) -> None:
        """Apply the operators on top that bind at least as strongly, down to the innermost open bracket."""
        while self.operators:
            top = self.operators[-1]
            if isinstance(top, _Open) or _PRECEDENCE[top.raw] < precedence:
                return
            self.operators.pop()
            right = self.operands.pop()
            if top.raw == "!":
                self.operands.append(Operation("!", (right,), top.offset, self._deeper((right,))))
                continue
            left = self.operands.pop()
            if top.kind == ".":
                self._push_index(left, right, top.offset)
                continue
            self.operands.append(self._binary(top, left, right))

    def _binary(self, token: Token, left: Node, right: Node) -> Operation:
        pair = (left, right)
        if token.raw not in ("&&", "||"):
            compared = Operation(token.raw, pair, token.offset, self._deeper(pair))
            if token.raw in ("==", "!="):
                self.equalities.append(compared)
            return compared
        # A chain grows in place, or a long one would be copied at each of its links; nobody else holds it yet.
        depth = 0
        parts: list[list[Node]] = []
        for node in pair:
            if isinstance(node, Operation) and node.operator == token.raw:
                parts.append(cast(list[Node], node.operands))
                depth = max(depth, node.depth)
            else:
                parts.append([node])
                depth = max(depth, self._deeper((node,)))
        parts[0].extend(parts[1])
        return Operation(token.raw, parts[0], token.offset, depth)
