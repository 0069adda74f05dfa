"""The expression language: `evaluate` and `interpolate` are its two doors. Knows nothing of workflows.

    evaluate("github.ref == 'refs/heads/main' && contains(matrix.os, 'linux')", contexts)   -> a value
    interpolate("build-${{ matrix.os }}", contexts)                                          -> a string

`contexts` maps context names to values (see `values.Value`); names and keys are found without regard to case,
except in a `CaseSensitive` mapping. `functions` adds functions (`Function`), such as hashFiles or success, to the
built-in contains, startsWith, endsWith, format, join, toJSON, fromJSON and case.
Everything raises `ExpressionError` and nothing else: kind `lexing` or `parsing` for a text that is no expression here
(a context or function that is not passed in is of kind `parsing`), `evaluation` for one that failed or outgrew
its bounds.
"""

from __future__ import annotations

from collections.abc import Mapping

from p2pwf.workflow.expr.errors import ErrorKind, ExpressionError
from p2pwf.workflow.expr.evaluator import Evaluator, Function
from p2pwf.workflow.expr.parser import parse, parse_known
from p2pwf.workflow.expr.template import Part, has_expression, split
from p2pwf.workflow.expr.tree import Node, Parsed, names_used, uses_status_function
from p2pwf.workflow.expr.values import (
    CaseSensitive,
    Kind,
    Value,
    fold,
    format_number,
    is_truthy,
    kind_of,
    to_number,
    to_string,
)

__all__ = [
    "CaseSensitive",
    "ErrorKind",
    "ExpressionError",
    "Function",
    "Kind",
    "Node",
    "Parsed",
    "Part",
    "Value",
    "evaluate",
    "evaluate_text",
    "fold",
    "format_number",
    "has_expression",
    "interpolate",
    "is_truthy",
    "kind_of",
    "names_used",
    "parse",
    "parse_known",
    "split",
    "to_number",
    "to_string",
    "uses_status_function",
]


def evaluate(text: str, contexts: Mapping[str, Value], functions: Mapping[str, Function] | None = None) -> Value:
    """The value of one expression, written without `${{ }}`; a blank one is null. Raises ExpressionError.

    Integers come back as 64-bit floats where they were computed or read, as they are where a context held them.
    """
    known = {fold(name): value for name, value in contexts.items()}
    added = {fold(name): function for name, function in (functions or {}).items()}
    node = parse_known(text, known.keys(), {name: function.arity for name, function in added.items()}).tree
    return None if node is None else Evaluator(known, added).run(node)


def evaluate_text(text: str, contexts: Mapping[str, Value], functions: Mapping[str, Function] | None = None) -> Value:
    """The value of a text: of its expression if `${{ … }}` is all it is, else a string. Raises ExpressionError.

    The error's offset counts from the start of the text.
    """
    segments = split(text)
    values: list[Value] = []
    for segment in segments:
        if isinstance(segment, str):
            values.append(segment)
            continue
        try:
            values.append(evaluate(segment.source, contexts, functions))
        except ExpressionError as error:
            error.offset += segment.offset
            raise
    if len(values) == 1:
        return values[0]
    return "".join(map(to_string, values))


def interpolate(text: str, contexts: Mapping[str, Value], functions: Mapping[str, Function] | None = None) -> str:
    """A text with every `${{ expression }}` replaced by its value as string. Raises ExpressionError.

    Null becomes the empty string, collections the words Array and Object. The error's offset counts from the start
    of the text.
    """
    return to_string(evaluate_text(text, contexts, functions))
