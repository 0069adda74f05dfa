"""The checker: judges a tree by a rule of the schema language.

Knows nothing of GitHub's keys: those are the tables in `language` and `events`. The way a mapping is matched against
several shapes, and a scalar against several types, follows the open runner's `TemplateReader`: contexts add up from
the outside in, keys compare exactly, a number or boolean may stand where a string is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

import attrs

from p2pwf.workflow.diagnostics import Findings, Place
from p2pwf.workflow.effort import EXPRESSION, LONG, MAPPING, NODE, TOKEN, WRONG, Effort
from p2pwf.workflow.expr import ExpressionError, Parsed, Part, fold, has_expression, parse_known, split
from p2pwf.workflow.expr.template import INSERT
from p2pwf.workflow.nodes import Inside, MappingNode, Node, Scalar, SequenceNode
from p2pwf.workflow.schema import (
    NOTHING,
    Anything,
    Boolean,
    Later,
    ListOf,
    MapOf,
    Null,
    Number,
    OneOf,
    Rule,
    Scope,
    Text,
    union,
)

Watcher: TypeAlias = Callable[[Parsed, Scalar, int, tuple[str, ...]], None]


@attrs.frozen(slots=True, eq=False)
class _Shapes:
    """The mappings that may be meant, and what each key narrows them to and asks of its value."""

    options: tuple[MapOf, ...]
    by_key: dict[str, tuple[_Shapes, Rule]]
    loose: tuple[_Shapes, Rule] | None
    required: tuple[str, ...]


@attrs.frozen(slots=True, eq=False)
class _Form:
    """A rule made ready: what it asks of a scalar, of a list and of a mapping."""

    options: tuple[Rule, ...]
    condition: bool
    any_text: bool
    some_text: bool
    words: frozenset[str]
    item: Rule | None
    shapes: _Shapes | None


@lru_cache(1024)  # by identity: as many as the tables hold
def _form(rule: Rule) -> _Form:
    options = _flat(rule)
    texts = [option for option in options if isinstance(option, Text)]
    anything = any(isinstance(option, Anything) for option in options)
    lists = [option.item if isinstance(option, ListOf) else option for option in options if _takes_list(option)]
    maps = (_ANY_MAPPING,) if anything else tuple(option for option in options if isinstance(option, MapOf))
    return _Form(
        options,
        any(text.condition for text in texts),
        anything or any(not text.values and not text.non_empty for text in texts),
        any(text.non_empty for text in texts),
        frozenset(word for text in texts for word in text.values),
        lists[0] if lists else None,
        _shapes(maps) if maps else None,
    )


@lru_cache(1024)
def _takes_all(rule: Rule) -> bool:
    """Whether a scalar without expressions may be any."""
    form = _form(rule)
    return form.any_text and not form.condition


@lru_cache(256)
def _telling(options: tuple[MapOf, ...]) -> str:
    lists = [set(shape.keys) for shape in options]
    telling = sorted(key for key in set.union(*lists) if sum(key in keys for keys in lists) == 1)
    message = "There's not enough info to determine what you meant. Add one of these properties: "
    return message + ", ".join(telling)


def _takes_list(rule: Rule) -> bool:
    return isinstance(rule, (ListOf, Anything))


@lru_cache(1024)
def _shapes(options: tuple[MapOf, ...]) -> _Shapes:
    open_ones = tuple(option for option in options if option.other is not None)
    made = _Shapes(options, {}, None, options[0].required)
    loose = None
    if open_ones:
        loose = (made if open_ones == options else _shapes(open_ones), open_ones[0].other or _ANYTHING)
    object.__setattr__(made, "loose", loose)  # it may lead to itself
    for name in {name for option in options for name in option.keys}:
        fitting = tuple(option for option in options if name in option.keys)
        made.by_key[name] = (made if fitting == options else _shapes(fitting), fitting[0].keys[name])
    return made


class Checker:
    """Checks a tree against a rule and records findings.

    `watch` is told of every expression that looks something up: what it is, its scalar, the offset of its source, the
    path of keys that leads to it. `check` raises TooComplex where the file costs more than `effort` has.
    """

    def __init__(self, findings: Findings, watch: Watcher, effort: Effort) -> None:
        self._findings = findings
        self._effort = effort
        self._watch = watch
        self._path: list[str | int] = []
        self._read: dict[tuple[str, Scope], Parsed | ExpressionError] = {}

    def check(self, node: Node, rule: Rule, scope: Scope = NOTHING) -> None:
        """Check one node; recursion is bounded by the loader's bound on depth."""
        if rule.scope is not NOTHING:
            scope = union(scope, rule.scope)
        form = _form(rule)
        if isinstance(node, Scalar):
            value = node.value
            if isinstance(value, str) and "${{" not in value and not form.condition:
                if form.any_text or (form.some_text and value) or value in form.words:
                    return
            elif form.any_text and not form.condition and not isinstance(value, str):
                return
            self._scalar(node, form, scope)
        elif isinstance(node, SequenceNode):
            self._sequence(node, form, scope)
        else:
            self._mapping(node, form, scope)

    def _scalar(self, node: Scalar, form: _Form, scope: Scope) -> None:
        if form.condition:
            self._condition(node, scope)
            return
        if isinstance(node.value, str) and has_expression(node.value):
            if not scope:
                hint = "this key takes a fixed value"
                self._findings.error(node, "expression-not-allowed", _NO_EXPRESSION, hint)
                return
            self.expressions(node, scope)
            return
        if not any(_accepts(rule, node) for rule in form.options):
            self._effort.spend(WRONG)
            message = f"Unexpected value '{node.text}'"
            self._findings.error(node, "unexpected-value", message, self._wanted(form))

    def _wanted(self, form: _Form) -> str | None:
        return None if self._findings.full else _wanted(form.options)

    def _sequence(self, node: SequenceNode, form: _Form, scope: Scope) -> None:
        item_rule = form.item
        if item_rule is None:
            wanted = self._wanted(form)
            self._findings.error(node, "unexpected-sequence", "A sequence was not expected", wanted)
            return
        self._effort.spend(NODE * len(node.items))
        path = self._path
        path.append(0)
        for index, item in enumerate(node.items):
            path[-1] = index
            self.check(item, item_rule, scope)
        path.pop()

    def _mapping(self, node: MappingNode, form: _Form, scope: Scope) -> None:
        shapes = form.shapes
        if shapes is None:
            wanted = self._wanted(form)
            self._findings.error(node, "unexpected-mapping", "A mapping was not expected", wanted)
            return
        self._effort.spend(MAPPING + 2 * NODE * len(node.entries))
        opaque = False
        path = self._path
        for key, value in node.entries:
            name = key.text
            if "${{" in name:
                opaque = True
                self._expression_key(key, value, scope)
                continue
            found = shapes.by_key.get(name) or shapes.loose
            if found is None:
                self._unexpected(key, node, shapes)
                continue
            if name == "" and name not in shapes.by_key:
                self._findings.error(key, "empty-key", "Unexpected value ''", "a key may not be empty")
            shapes, rule = found
            if (
                type(value) is Scalar
                and _takes_all(rule)
                and (type(value.value) is not str or "${{" not in value.value)
            ):
                continue
            path.append(name)
            self.check(value, rule, scope)
            path.pop()
        self._complete(node, shapes, opaque)

    def _unexpected(self, key: Scalar, node: MappingNode, shapes: _Shapes) -> None:
        self._effort.spend(WRONG)
        hint = None
        if not self._findings.full:
            known = sorted({name for shape in shapes.options for name in shape.keys})
            hint = _nearest(key.text, known, [name for name in known if node.get(name) is None])
        self._findings.error(key, "unexpected-key", f"Unexpected value '{key.text}'", hint)

    def _complete(self, node: MappingNode, shapes: _Shapes, opaque: bool) -> None:
        if len(shapes.options) > 1:
            self._findings.error(node, "ambiguous", _telling(shapes.options))
        elif not opaque:
            for name in shapes.required:
                if node.get(name) is None:
                    self._findings.error(node, "missing-key", f"Required property is missing: {name}")

    def _expression_key(self, key: Scalar, value: Node, scope: Scope) -> None:
        if not scope:
            self._findings.error(key, "expression-not-allowed", _NO_EXPRESSION)
            return
        text = str(key.value).strip()
        inner = text[3:-2].strip() if text.startswith("${{") and text.endswith("}}") else ""
        if inner != INSERT:
            self.expressions(key, scope)
        self.check(value, _ANYTHING, scope)

    def _condition(self, node: Scalar, scope: Scope) -> None:
        text = node.text
        if has_expression(text):
            parts = self.expressions(node, scope)
            if parts and (len(parts) != 1 or not (text.startswith("${{") and text.endswith("}}"))):
                message = "This condition is always true: the text around ${{ }} makes it a string"
                self._findings.warning(node, "condition-always-true", message, "put all of it inside one ${{ }}")
            return
        self._expression(Part(text, 0), node, scope, tuple(map(str, self._path)))

    def expressions(self, node: Scalar, scope: Scope) -> list[Part]:
        """Check every expression in a string; gives them, or none if one of them is wrong."""
        text = str(node.value)
        try:
            parts = [part for part in split(text) if isinstance(part, Part)]
        except ExpressionError as error:
            self._findings.error(Inside(node, error.offset), "expression-syntax", error.message, error.hint)
            return []
        path = tuple(map(str, self._path))
        fine = [self._expression(part, node, scope, path) for part in parts]
        return parts if all(fine) else []

    def _expression(self, part: Part, node: Scalar, scope: Scope, path: tuple[str, ...]) -> bool:
        """Whether an expression is one that may stand here; told if not."""
        self._effort.spend(EXPRESSION)
        read = self._read.get((part.source, scope))
        if read is None:
            if len(part.source) > LONG:
                self._effort.spend(len(part.source))  # before, lest one goes far beyond the bound
            try:
                read = parse_known(part.source, scope.contexts, scope.functions)
                self._effort.spend(TOKEN * read.tokens)
            except ExpressionError as error:
                self._effort.spend(WRONG)
                read = error.with_traceback(None)
            self._read[part.source, scope] = read
        if isinstance(read, ExpressionError):
            unknown = read.message.startswith(("Unrecognized named-value", "Unrecognized function"))
            code = "expression-unavailable" if unknown else "expression-syntax"
            place = Place() if self._findings.full else self._place(node, part, read.offset)
            self._findings.error(place, code, read.message, read.hint)
            return False
        if read.names or read.calls:
            self._watch(read, node, part.offset, path)
        return True

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
        return isinstance(node.value, float) and math.isfinite(node.value)
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


def _nearest(name: str, known: list[str], missing: list[str]) -> str | None:
    import difflib  # noqa: PLC0415 - only for what is wrong

    folded = {fold(word): word for word in known}
    close = difflib.get_close_matches(fold(name)[:64], folded, 1, 0.6)
    if close:
        return f"did you mean '{folded[close[0]]}'?"
    return f"known here: {_listed(missing)}" if missing else None


def _listed(words: list[str]) -> str:
    return ", ".join(words[:MAX_LISTED]) + (", …" if len(words) > MAX_LISTED else "")
