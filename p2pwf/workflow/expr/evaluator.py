"""The evaluator: a tree, contexts and functions in, a value out. Knows nothing of text.

It recurses only as deep as a tree may be (`parser.MAX_DEPTH`), looks names up without case in linear time, and stops
when its budget of steps or memory is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

import attrs

from p2pwf.errors import InternalError
from p2pwf.workflow.expr import functions as built_in
from p2pwf.workflow.expr.errors import ExpressionError
from p2pwf.workflow.expr.functions import Budget
from p2pwf.workflow.expr.parser import Arity
from p2pwf.workflow.expr.tree import Call, Constant, Index, Name, Node, Operation, Wildcard
from p2pwf.workflow.expr.values import (
    MAX_INT32,
    CaseSensitive,
    Filtered,
    Value,
    compare,
    equal,
    fold,
    is_primitive,
    is_truthy,
    to_number,
    to_string,
)


@attrs.frozen(slots=True)
class Function:
    """A function that the caller provides: `call` gets the evaluated arguments, between `least` and `most` of them."""

    call: Callable[[Sequence[Value]], Value]
    least: int = 0
    most: int = 0

    @property
    def arity(self) -> Arity:
        """The least and the most arguments."""
        return self.least, self.most


_COMPARISONS: Final[Mapping[str, frozenset[int]]] = {
    ">": frozenset((1,)),
    ">=": frozenset((0, 1)),
    "<": frozenset((-1,)),
    "<=": frozenset((-1, 0)),
}


class Evaluator:
    """Evaluates trees over the same contexts; `contexts` and `functions` are keyed by folded names."""

    def __init__(self, contexts: Mapping[str, Value], functions: Mapping[str, Function]) -> None:
        self._contexts = contexts
        self._functions = functions
        self._budget = Budget()
        self._folded: dict[int, tuple[Mapping[str, Value], dict[str, Value]]] = {}

    def run(self, node: Node) -> Value:
        """The value of a tree; raises ExpressionError of kind evaluation."""
        self._budget.step()
        if isinstance(node, Constant):
            return node.value
        if isinstance(node, Name):
            return self._contexts[node.key]
        if isinstance(node, Wildcard):
            raise InternalError("a wildcard outside an index got past the parser")
        if isinstance(node, Index):
            return self._index(node)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Operation):
            return self._operation(node)
        assert_never(node)

    def _operation(self, node: Operation) -> Value:
        operator = node.operator
        if operator in ("&&", "||"):
            result: Value = None
            for operand in node.operands:
                result = self.run(operand)
                if is_truthy(result) == (operator == "||"):
                    break
            return result
        if operator == "!":
            return not is_truthy(self.run(node.operands[0]))
        left, right = self.run(node.operands[0]), self.run(node.operands[1])
        if isinstance(left, str) and isinstance(right, str):
            self._budget.step((len(left) + len(right)) // 64)
        if operator in ("==", "!="):
            return equal(left, right) == (operator == "==")
        order = compare(left, right)
        if order is None:
            # Two nulls, or the same collection: equal though without order, so `<=` and `>=` hold.
            return operator in ("<=", ">=") and equal(left, right)
        return order in _COMPARISONS[operator]

    def _index(self, node: Index) -> Value:
        target = self.run(node.target)
        if isinstance(node.key, Wildcard):
            return self._all_items(target)
        key = self.run(node.key)
        if isinstance(target, Filtered):
            found = Filtered()
            for item in target:
                self._budget.step()
                present, value = self._look_up(item, key)
                if present:
                    found.append(value)
            return found
        return self._look_up(target, key)[1]

    def _all_items(self, target: Value) -> Filtered:
        found = Filtered()
        for collection in target if isinstance(target, Filtered) else [target]:
            if is_primitive(collection):
                continue
            items = collection.values() if isinstance(collection, Mapping) else collection
            if isinstance(items, (str, bool, int, float)) or items is None:
                continue  # primitives were left out above; this tells the type checker
            found.extend(items)
            self._budget.step(1 + len(items))
            self._budget.characters(4 * len(items))
        return found

    def _look_up(self, target: Value, key: Value) -> tuple[bool, Value]:
        """Whether an array or object has the key or index, and the value there."""
        if isinstance(target, Mapping):
            if not is_primitive(key):
                return False, None
            name = to_string(key)
            if name in target:
                return True, target[name]
            if isinstance(target, CaseSensitive):
                return False, None
            folded = self._folded_keys(target)
            name = fold(name)
            return name in folded, folded.get(name)
        if isinstance(target, Sequence) and not isinstance(target, str):
            number = to_number(key)
            if number >= 0 and number < min(len(target), MAX_INT32):
                return True, target[int(number)]
        return False, None

    def _folded_keys(self, target: Mapping[str, Value]) -> dict[str, Value]:
        # Kept by identity, with the mapping itself so that the identity stays taken.
        kept = self._folded.get(id(target))
        if kept is None:
            self._budget.step(len(target))
            folded: dict[str, Value] = {}
            for name, value in target.items():
                folded.setdefault(fold(name), value)
            kept = self._folded[id(target)] = (target, folded)
        return kept[1]

    def _call(self, node: Call) -> Value:
        arguments = node.arguments
        key = node.key
        try:
            if key == "CASE":
                return self._case(arguments)
            if key == "CONTAINS":
                left = self.run(arguments[0])
                self._weigh(left)
                return built_in.contains(left, lambda: self.run(arguments[1]), self._budget)
            if key == "FORMAT":
                template = to_string(self.run(arguments[0]))
                lazy = [_Lazy(self, argument) for argument in arguments[1:]]
                return built_in.format_text(template, lazy, self._budget)
            if key == "JOIN":
                separator = _Lazy(self, arguments[1]) if len(arguments) > 1 else None
                return built_in.join(self.run(arguments[0]), separator, self._budget)
            values = [self.run(argument) for argument in arguments]
            if key in ("STARTSWITH", "ENDSWITH"):
                self._weigh(values[0])
                compared = built_in.starts_with if key == "STARTSWITH" else built_in.ends_with
                return compared(values[0], values[1])
            if key == "TOJSON":
                return built_in.to_json(values[0], self._budget)
            if key == "FROMJSON":
                return built_in.from_json(values[0], self._budget)
            return self._functions[key].call(values)
        except ExpressionError as error:
            if error.offset == 0:
                error.offset = node.offset
            raise

    def _weigh(self, value: Value) -> None:
        if isinstance(value, str):
            self._budget.step(len(value) // 64)

    def _case(self, arguments: Sequence[Node]) -> Value:
        for place in range(0, len(arguments) - 1, 2):
            predicate = self.run(arguments[place])
            if not isinstance(predicate, bool):
                raise ExpressionError("evaluation", "case predicate must evaluate to a boolean value")
            if predicate:
                return self.run(arguments[place + 1])
        return self.run(arguments[-1])


@attrs.frozen(slots=True)
class _Lazy:
    evaluator: Evaluator
    node: Node

    def __call__(self) -> Value:
        return self.evaluator.run(self.node)
