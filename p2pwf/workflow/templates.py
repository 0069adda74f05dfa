"""Evaluating nodes: a tree with `${{ }}` in it and contexts in, a value out; errors carry their place.

Knows nodes and expressions, and nothing of jobs or steps. Source: the open runner's `TemplateEvaluator`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import attrs

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow.diagnostics import Diagnostic, Place
from p2pwf.workflow.expr import (
    ExpressionError,
    Function,
    Part,
    Value,
    evaluate,
    evaluate_text,
    fold,
    has_expression,
    is_truthy,
    names_used,
    parse,
    split,
    to_string,
)
from p2pwf.workflow.expr.template import INSERT
from p2pwf.workflow.expr.tree import Node as Tree
from p2pwf.workflow.model import Condition
from p2pwf.workflow.nodes import Node, Scalar, SequenceNode, walk


@attrs.frozen(slots=True)
class Scope:
    """What expressions see: contexts and functions by name."""

    contexts: Mapping[str, Value] = attrs.field(repr=False)
    functions: Mapping[str, Function] = attrs.field(factory=dict)


def failure(place: Place, code: str, message: str, hint: str | None = None) -> InvalidWorkflow:
    """The error of a workflow that turns out wrong only when its expressions have values."""
    found = Diagnostic(place.line, place.column, "error", code, message, hint)
    return InvalidWorkflow(f"line {place.line}, column {place.column}: {message}", hint, (found.to_json(),))


def evaluate_scalar(node: Scalar, scope: Scope) -> Value:
    """The value of a scalar; raises InvalidWorkflow where an expression fails."""
    if not isinstance(node.value, str) or not has_expression(node.value):
        return node.value
    try:
        return evaluate_text(node.value, scope.contexts, scope.functions)
    except ExpressionError as error:
        raise failure(node.place_of(error.offset), f"expression-{error.kind}", error.message, error.hint) from error


def evaluate_node(node: Node, scope: Scope) -> Value:
    """The value of a whole tree; raises InvalidWorkflow. `${{ insert }}` as a key merges its mapping."""
    if isinstance(node, Scalar):
        return evaluate_scalar(node, scope)
    if isinstance(node, SequenceNode):
        return [evaluate_node(item, scope) for item in node.items]
    result: dict[str, Value] = {}
    for key, child in node.entries:
        value = evaluate_node(child, scope)
        if _is_insert(key):
            if not isinstance(value, Mapping):
                raise failure(child.place, "unexpected-value", "Expected a mapping to insert")
            result.update(value)
        else:
            result[to_string(evaluate_scalar(key, scope)) if has_expression(key.text) else key.text] = value
    return result


def _is_insert(key: Scalar) -> bool:
    if not has_expression(key.text):
        return False
    segments = split(key.text)
    return len(segments) == 1 and isinstance(segments[0], Part) and segments[0].source == INSERT


def evaluate_string(node: Scalar, scope: Scope) -> str:
    """The value of a scalar as string; null is empty. Raises InvalidWorkflow, also for a collection."""
    if isinstance(node.value, str) and has_expression(node.value):
        value = evaluate_scalar(node, scope)
        if isinstance(value, (Mapping, list, tuple)):
            raise failure(node.place, "unexpected-value", "A string was expected, the expression gives a collection")
        return to_string(value)
    return node.text


def evaluate_number(node: Scalar, scope: Scope) -> float:
    """The value of a scalar that must be a number; raises InvalidWorkflow."""
    value = evaluate_scalar(node, scope)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise failure(node.place, "unexpected-value", f"Unexpected value '{to_string(value)}'", "expected a number")
    return float(value)


def evaluate_boolean(node: Scalar, scope: Scope) -> bool:
    """The value of a scalar that must be true or false; raises InvalidWorkflow."""
    value = evaluate_scalar(node, scope)
    if not isinstance(value, bool):
        hint = "expected true or false"
        raise failure(node.place, "unexpected-value", f"Unexpected value '{to_string(value)}'", hint)
    return value


def evaluate_strings(node: Node | None, scope: Scope) -> dict[str, str]:
    """The value of a mapping of strings, such as `env` or `with`; empty for none. Raises InvalidWorkflow."""
    if node is None:
        return {}
    value = evaluate_node(node, scope)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise failure(node.place, "unexpected-value", f"Unexpected value '{to_string(value)}'", "expected a mapping")
    for name, item in value.items():
        if isinstance(item, (Mapping, list, tuple)):
            raise failure(node.place, "unexpected-value", f"The value of '{name}' must be a string, not a collection")
    return {name: to_string(item) for name, item in value.items()}


def evaluate_condition(condition: Condition | None, scope: Scope) -> bool:
    """Whether an `if` holds; none means `success()`, and one without a status function `success() && (…)`.

    `scope` holds the status functions. Raises InvalidWorkflow.
    """
    place = condition.place if condition else Place()
    try:
        if condition is None or not condition.has_status:
            if not is_truthy(evaluate("success()", scope.contexts, scope.functions)):
                return False
            if condition is None or not condition.source.strip():
                return True
        read = evaluate_text if condition.templated else evaluate
        return is_truthy(read(condition.source, scope.contexts, scope.functions))
    except ExpressionError as error:
        raise failure(place, f"expression-{error.kind}", error.message, error.hint) from error


def expressions_in(node: Node | None) -> Iterator[Tree]:
    """The trees of all expressions in a node that checks."""
    for part in walk(node) if node is not None else ():
        if isinstance(part, Scalar) and isinstance(part.value, str) and has_expression(part.value):
            for segment in split(part.value):
                tree = parse(segment.source) if isinstance(segment, Part) and segment.source != INSERT else None
                if tree is not None:
                    yield tree


def mentions(node: Node | None, context: str) -> bool:
    """Whether any expression in a node uses a context."""
    return any(fold(context) in names_used(tree) for tree in expressions_in(node))
