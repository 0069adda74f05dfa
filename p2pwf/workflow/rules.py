"""A small schema language and its checker: which nodes may stand where, and which names an expression may use there.

Knows nothing of GitHub's keys: those are the tables in `language` and `events`. The way a mapping is matched against
several shapes, and a scalar against several types, follows the open runner's `TemplateReader`: contexts add up from
the outside in, keys compare exactly, a number or boolean may stand where a string is wanted.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

import attrs

from p2pwf.workflow.diagnostics import Findings, Place
from p2pwf.workflow.expr import ExpressionError, Part, fold, has_expression, parse_known, split
from p2pwf.workflow.expr.parser import Arity
from p2pwf.workflow.expr.parser import Node as Tree
from p2pwf.workflow.expr.template import INSERT
from p2pwf.workflow.nodes import MappingNode, Node, Scalar, SequenceNode


@attrs.frozen(slots=True, eq=False)
class Scope:
    """What an expression may use at some place: context names and functions, folded."""

    contexts: frozenset[str] = frozenset()
    functions: Mapping[str, Arity] = attrs.field(factory=dict)

    def __or__(self, other: Scope) -> Scope:
        return _union(self, other)

    def __bool__(self) -> bool:
        return bool(self.contexts or self.functions)


NOTHING = Scope()


@lru_cache(1024)  # by identity: the tables hold a few dozen scopes, met again at every key
def _union(outer: Scope, inner: Scope) -> Scope:
    if not inner:
        return outer
    return Scope(outer.contexts | inner.contexts, {**outer.functions, **inner.functions})


@attrs.frozen(slots=True, eq=False)
class Text:
    """A string. With `values`, one of them; a `condition` is an expression even without `${{ }}`."""

    scope: Scope = NOTHING
    non_empty: bool = False
    values: tuple[str, ...] = ()
    condition: bool = False


@attrs.frozen(slots=True, eq=False)
class Number:
    """A number."""

    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class Boolean:
    """true or false."""

    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class Null:
    """Nothing."""

    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class ListOf:
    """A sequence of items of one rule."""

    item: Rule
    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class MapOf:
    """A mapping: known keys with their rules, which of them are required, and the rule of any other key."""

    keys: Mapping[str, Rule] = attrs.field(factory=dict)
    required: tuple[str, ...] = ()
    other: Rule | None = None
    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class OneOf:
    """One of several rules: at most one of them a sequence, any number of them mappings."""

    options: tuple[Rule, ...]
    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class Anything:
    """Any node."""

    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class Later:
    """A rule that is named before it exists: for rules that hold themselves."""

    get: Callable[[], Rule]
    scope: Scope = NOTHING


Rule: TypeAlias = Text | Number | Boolean | Null | ListOf | MapOf | OneOf | Anything | Later
Watcher: TypeAlias = Callable[[Tree, Scalar, int, tuple[str, ...]], None]


class Checker:
    """Checks a tree against a rule and records findings.

    `watch` is told of every expression that parses: its tree, its scalar, the offset of its source there, and the
    path of keys that leads to it.
    """

    def __init__(self, findings: Findings, watch: Watcher) -> None:
        self._findings = findings
        self._watch = watch
        self._path: list[str] = []

    def check(self, node: Node, rule: Rule, scope: Scope = NOTHING) -> None:
        """Check one node; recursion is bounded by the loader's bound on depth."""
        scope = scope | rule.scope
        options = _flat(rule)
        if isinstance(node, Scalar):
            self._scalar(node, options, scope)
        elif isinstance(node, SequenceNode):
            self._sequence(node, options, scope)
        else:
            self._mapping(node, options, scope)

    def _scalar(self, node: Scalar, options: tuple[Rule, ...], scope: Scope) -> None:
        condition = next((rule for rule in options if isinstance(rule, Text) and rule.condition), None)
        if condition is not None:
            self._condition(node, scope)
            return
        if isinstance(node.value, str) and has_expression(node.value):
            if not scope:
                hint = "this key takes a fixed value"
                self._findings.error(node.place, "expression-not-allowed", _NO_EXPRESSION, hint)
                return
            self.expressions(node, scope)
            return
        if any(_accepts(rule, node) for rule in options):
            return
        self._findings.error(node.place, "unexpected-value", f"Unexpected value '{node.text}'", _wanted(options))

    def _sequence(self, node: SequenceNode, options: tuple[Rule, ...], scope: Scope) -> None:
        rule = next((rule for rule in options if isinstance(rule, (ListOf, Anything))), None)
        if rule is None:
            wanted = _wanted(options)
            self._findings.error(node.place, "unexpected-sequence", "A sequence was not expected", wanted)
            return
        for index, item in enumerate(node.items):
            self._path.append(str(index))
            self.check(item, rule.item if isinstance(rule, ListOf) else rule, scope)
            self._path.pop()

    def _mapping(self, node: MappingNode, options: tuple[Rule, ...], scope: Scope) -> None:
        if any(isinstance(rule, Anything) for rule in options):
            shapes = [_ANY_MAPPING]
        else:
            shapes = [rule for rule in options if isinstance(rule, MapOf)]
        if not shapes:
            self._findings.error(node.place, "unexpected-mapping", "A mapping was not expected", _wanted(options))
            return
        opaque = False
        present: set[str] = set()
        for key, value in node.entries:
            if isinstance(key.value, str) and has_expression(key.value):
                opaque = True
                self._expression_key(key, value, scope)
                continue
            name = key.text
            present.add(name)
            fitting = [shape for shape in shapes if name in shape.keys] or [shape for shape in shapes if shape.other]
            if not fitting:
                known = sorted({known for shape in shapes for known in shape.keys} - present)
                self._findings.error(key.place, "unexpected-key", f"Unexpected value '{name}'", _nearest(name, known))
                continue
            shapes = fitting
            rule = fitting[0].keys.get(name) or fitting[0].other
            if name == "" and name not in fitting[0].keys:
                self._findings.error(key.place, "empty-key", "Unexpected value ''", "a key may not be empty")
            if rule is not None:
                self._path.append(name)
                self.check(value, rule, scope)
                self._path.pop()
        self._complete(node, shapes, present, opaque)

    def _complete(self, node: MappingNode, shapes: list[MapOf], present: set[str], opaque: bool) -> None:
        if len(shapes) > 1:
            lists = [set(shape.keys) for shape in shapes]
            telling = sorted(key for key in set.union(*lists) if sum(key in keys for keys in lists) == 1)
            message = "There's not enough info to determine what you meant. Add one of these properties: "
            self._findings.error(node.place, "ambiguous", message + ", ".join(telling))
        elif not opaque:
            for name in shapes[0].required:
                if name not in present:
                    self._findings.error(node.place, "missing-key", f"Required property is missing: {name}")

    def _expression_key(self, key: Scalar, value: Node, scope: Scope) -> None:
        if not scope:
            self._findings.error(key.place, "expression-not-allowed", _NO_EXPRESSION)
            return
        text = str(key.value).strip()
        inner = text[3:-2].strip() if text.startswith("${{") and text.endswith("}}") else ""
        if inner != INSERT:
            self.expressions(key, scope)
        self.check(value, _ANYTHING, scope)

    def _condition(self, node: Scalar, scope: Scope) -> None:
        text = node.text
        if has_expression(text):
            if len(self.expressions(node, scope)) != 1 or not (text.startswith("${{") and text.endswith("}}")):
                message = "This condition is always true: the text around ${{ }} makes it a string"
                self._findings.warning(node.place, "condition-always-true", message, "put all of it inside one ${{ }}")
            return
        self._expression(Part(text, 0), node, scope)

    def expressions(self, node: Scalar, scope: Scope) -> list[Part]:
        """Check every expression in a string; gives those that could be told apart."""
        text = str(node.value)
        try:
            parts = [part for part in split(text) if isinstance(part, Part)]
        except ExpressionError as error:
            self._findings.error(node.place_of(error.offset), "expression-syntax", error.message, error.hint)
            return []
        for part in parts:
            self._expression(part, node, scope)
        return parts

    def _expression(self, part: Part, node: Scalar, scope: Scope) -> None:
        try:
            tree = parse_known(part.source, scope.contexts, scope.functions)
        except ExpressionError as error:
            unknown = error.message.startswith(("Unrecognized named-value", "Unrecognized function"))
            code = "expression-unavailable" if unknown else "expression-syntax"
            self._findings.error(self._place(node, part, error.offset), code, error.message, error.hint)
            return
        if tree is not None:
            self._watch(tree, node, part.offset, tuple(self._path))

    @staticmethod
    def _place(node: Scalar, part: Part, offset: int) -> Place:
        place = node.place_of(part.offset + offset)
        if part.offset == 0 and not has_expression(node.text):
            return Place(place.line, place.column + offset) if "\n" not in node.text else place
        return place


MAX_LISTED: Final = 20
"""Words that a hint lists."""
_NO_EXPRESSION: Final = "A template expression is not allowed in this context"
_ANYTHING = Anything()
_ANY_MAPPING = MapOf(other=_ANYTHING)


@lru_cache(1024)  # by identity, as above
def _flat(rule: Rule) -> tuple[Rule, ...]:
    found: list[Rule] = []
    stack = [rule]
    while stack:
        rule = stack.pop()
        if isinstance(rule, Later):
            stack.append(rule.get())
        elif isinstance(rule, OneOf):
            stack.extend(reversed(rule.options))
        else:
            found.append(rule)
    return tuple(found)


def _accepts(rule: Rule, node: Scalar) -> bool:
    if isinstance(rule, Anything):
        return True
    if isinstance(rule, Text):
        if rule.values:
            return node.text in rule.values
        return not rule.non_empty or node.text != ""
    if isinstance(rule, Boolean):
        return isinstance(node.value, bool)
    if isinstance(rule, Number):
        return isinstance(node.value, float)
    return isinstance(rule, Null) and node.value is None


def _wanted(options: tuple[Rule, ...]) -> str | None:
    words: list[str] = []
    values: list[str] = []
    for rule in options:
        if isinstance(rule, Text):
            values.extend(rule.values)
            if not rule.values:
                words.append("a string" if not rule.non_empty else "a non-empty string")
        elif isinstance(rule, Boolean):
            words.append("true or false")
        elif isinstance(rule, Number):
            words.append("a number")
        elif isinstance(rule, Null):
            words.append("nothing")
        elif isinstance(rule, ListOf):
            words.append("a list")
        elif isinstance(rule, MapOf):
            keys = list(rule.keys)
            words.append(f"a mapping with {_listed(keys)}" if keys else "a mapping")
    if values:
        words.insert(0, "one of " + _listed(list(dict.fromkeys(values))))
    return "expected " + " or ".join(dict.fromkeys(words)) if words else None


def _nearest(name: str, known: list[str]) -> str | None:
    folded = {fold(word): word for word in known}
    close = difflib.get_close_matches(fold(name)[:64], folded, 1, 0.6)
    if close:
        return f"did you mean '{folded[close[0]]}'?"
    return f"known here: {_listed(known)}" if known else None


def _listed(words: list[str]) -> str:
    return ", ".join(words[:MAX_LISTED]) + (", …" if len(words) > MAX_LISTED else "")
