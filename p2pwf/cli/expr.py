"""`p2pwf expr`: the value of an expression, for those who write workflows and for scripts. Needs no node."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from p2pwf.cli.base import anywhere, print_json, print_line
from p2pwf.errors import UsageError

MAX_CONTEXTS = 16 * 1024 * 1024
"""Bytes of contexts, and of one line of a batch: a webhook's payload may have 25 MB, those that are used far less."""

MAX_DEPTH = 100
"""Nesting of contexts, the runner's bound."""


@click.command(context_settings={"ignore_unknown_options": True})  # an expression may begin with a minus
@click.argument("text", metavar="EXPR", required=False)
@click.option("--contexts", "file", metavar="FILE", help="A JSON object: context names and their values.")
@click.option("--batch", is_flag=True, help='Answer {"expr", "contexts"} lines on stdin, one line each.')
@anywhere
def expr(text: str | None, file: str | None, batch: bool) -> int:
    """Print the value of an expression as JSON.

    A text with ${{ }} in it is filled in as a workflow's would be. NaN and the infinities are printed as strings.

    \b
      p2pwf expr "format('{0}-{1}', 'a', 1 == 1)"
      p2pwf expr 'github.ref' --contexts contexts.json
    """
    if batch:
        if text is not None or file is not None:
            raise UsageError("--batch takes its expressions and contexts from stdin", "leave EXPR and --contexts out")
        return _batch()
    if text is None:
        raise UsageError("no expression", 'write p2pwf expr "1 < 2", or --batch')
    from p2pwf.workflow.expr import evaluate, evaluate_text, has_expression

    contexts = {} if file is None else _contexts(_read(file), file)
    read = evaluate_text if has_expression(text) else evaluate
    value = read(text, contexts, functions(contexts))
    print_json(to_json(value))
    return 0


def _read(file: str) -> bytes:
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(MAX_CONTEXTS + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_CONTEXTS:
        raise UsageError(f"{file} is too large: the bound is {MAX_CONTEXTS} bytes")
    return data


def _contexts(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = load_json(data)
    except ValueError as error:
        raise UsageError(f"{what} is no JSON: {error}", "give an object of contexts by name") from error
    return contexts_of(value, what)


def load_json(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    """The value of a JSON text of bounded depth; raises ValueError."""
    from p2pwf.workflow.expr.jsontext import check_depth

    text = data.decode("utf-8-sig")
    check_depth(text, MAX_DEPTH)
    return json.loads(text, parse_int=float)


def contexts_of(value: object, what: str = "contexts") -> dict[str, Any]:
    """Contexts by name from a JSON value; raises UsageError. Names in `env` keep their case, as on Linux."""
    from p2pwf.workflow.expr import CaseSensitive, fold

    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{what} is no object", "give an object of contexts by name")
    return {
        name: CaseSensitive(inner) if fold(name) == "ENV" and isinstance(inner, dict) else inner
        for name, inner in value.items()
    }


def functions(contexts: Mapping[str, Any]) -> dict[str, Any]:
    """What a step has besides the language's own: the status functions by `job.status`, hashFiles from here."""
    from p2pwf.workflow.expr import Function, to_string
    from p2pwf.workflow.expr.parser import MANY
    from p2pwf.workflow.resolve import Status, step_status_functions

    job = contexts.get("job")
    given = job.get("status") if isinstance(job, Mapping) else None
    status: Status = "failure" if given == "failure" else "cancelled" if given == "cancelled" else "success"

    def hash_here(patterns: Sequence[Any]) -> str:
        from p2pwf.runner.hashfiles import hash_files

        return hash_files(Path.cwd(), [to_string(pattern) for pattern in patterns])

    made = step_status_functions(
        "failure" if status == "failure" else "cancelled" if status == "cancelled" else "success"
    )
    return {**made, "hashFiles": Function(hash_here, 1, MANY)}


def _batch() -> int:
    while line := sys.stdin.buffer.readline(MAX_CONTEXTS + 1):
        if len(line) > MAX_CONTEXTS:
            while not line.endswith(b"\n") and (line := sys.stdin.buffer.readline(MAX_CONTEXTS)):
                pass
            print_line({"error": UsageError.code, "message": f"the line is longer than {MAX_CONTEXTS} bytes"})
        else:
            print_line(answer(line))
    return 0


def answer(line: bytes) -> dict[str, Any]:
    """The answer to one line of a batch: {kind, value}, or {error, message}.

    `error` is the stage at which the expression fails, or `usage`, as for a single one, where the line asks for none.
    """
    from p2pwf.workflow.expr import ExpressionError, evaluate, kind_of

    try:
        text, contexts = _request(load_json(line))
    except (ValueError, UsageError) as error:
        return {"error": UsageError.code, "message": " ".join(str(error).split())}
    try:
        value = evaluate(text, contexts, functions(contexts))
        return {"kind": kind_of(value), "value": to_json(value)}
    except ExpressionError as error:
        return {"error": error.kind, "message": error.message}
    except UsageError as error:  # hashFiles outside of this folder
        return {"error": "evaluation", "message": error.message}


def _request(value: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, dict) or not isinstance(value.get("expr"), str):
        raise UsageError('write {"expr": "…", "contexts": {…}}')
    return value["expr"], contexts_of(value.get("contexts"))


def to_json(value: Any) -> Any:  # noqa: ANN401 - any value of the language
    """A value as JSON holds it: whole numbers without a point, NaN and the infinities as strings.

    Recurses as deep as a value is, which reading and evaluating bound.
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        from p2pwf.workflow.expr import format_number
        from p2pwf.workflow.expr.values import as_float

        number = as_float(value)
        if not math.isfinite(number):
            return format_number(number)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    return [to_json(item) for item in value]
