"""Bad input of full size ends soon and in little memory, whatever its shape.

Memory is measured. Time is bounded far above what it takes (`scripts/bench/p14_check.py` has the figures): what this
finds is work that grows faster than its input.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from p2pwf.workflow import ExpressionError, Value, evaluate, parse
from p2pwf.workflow.yaml import MAX_BYTES

MAX_MEMORY = 64 * 1024 * 1024
MAX_SECONDS = 3.0
"""Of this process's own time, on any machine, with the tests of others beside it."""
HEAD = "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n"


def times(unit: str, head: str = "", tail: str = "") -> str:
    return head + unit * ((MAX_BYTES - len((head + tail).encode())) // len(unit.encode())) + tail


def many(unit: str, head: str = "", tail: str = "") -> str:
    """As `times`, with a number in place of # so that no two are alike."""
    parts: list[str] = []
    left = MAX_BYTES - len(head + tail)
    while (left := left - len(unit) - 5) > 0:
        parts.append(unit.replace("#", str(len(parts))))
    return head + "".join(parts) + tail


FILES = {
    "list": times("- a\n"),
    "flow list": times("a,", "[", "]"),
    "empty maps": times("{},", "[", "]"),
    "keys": many("k#: a\n"),
    "steps": times("      - {run: a}\n", HEAD),
    "wrong steps": many("      - {ru#: a}\n", HEAD),
    "expressions": many("      - run: ${{ github.a# }}\n", HEAD),
    "expressions in one text": many("${{ a# }}", HEAD + "      - run: "),
    "long expressions": many("      - run: ${{ " + "1||" * 6900 + "# }}\n", HEAD),
    "long ways": many("      - run: ${{ steps.a" + " && steps.b#" * 1700 + " }}\n", HEAD),
    "unclosed expressions": times("${{ '", HEAD + "      - run: "),
    "brackets in an expression": HEAD + "      - run: ${{ " + "(" * 20_000 + " }}",
    "environment": many("k#: v,", HEAD + "      - run: a\n        env: {", "}"),
    "jobs": many("  a#: {runs-on: x, steps: [{run: a}]}\n", "on: push\njobs:\n"),
    "unknown needs": many("b#,", "on: push\njobs: {a: {runs-on: x, steps: [{run: x}], needs: [", "]}}"),
    "events": times("push,", "on: [", "]\njobs: {a: {runs-on: x, steps: [{run: x}]}}"),
    "matrix": times("1,", "on: push\njobs: {a: {runs-on: x, steps: [{run: x}], strategy: {matrix: {a: [", "]}}}}"),
    "includes": times(
        "{a: 1},",
        "on: push\njobs: {a: {runs-on: x, steps: [{run: x}], strategy: {matrix: {a: [1, 2], include: [",
        "]}}}}",
    ),
    "patterns": times("'*a',", "on: {push: {branches: [", "]}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}"),
    "commands": times("::set-output name=", HEAD + "      - run: "),
    "deep": times("["),
    "deep maps": times("{a: "),
    "anchors": times("&a a,", "[", "]"),
    "aliases": "a: &a [x]\nb: [" + "*a," * 900 + "]",
    "tower": "a0: &a0 [x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 50)),
    "long text": times("a", HEAD + "      - run: "),
    "escapes": times("\\x41", HEAD + '      - run: "', '"'),
    "returns": times("\r"),
    "quotes": times('"'),
    "questions": times("? "),
    "zero bytes": times("\x00"),
    "wide": times("\U0001f600,", "[", "]"),
}


def in_time(work: Callable[[], object]) -> None:
    start = time.process_time()
    work()
    assert time.process_time() - start < MAX_SECONDS


def in_memory(work: Callable[[], object]) -> None:
    tracemalloc.start()
    try:
        work()
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY
    finally:
        tracemalloc.stop()


def some(names: dict[str, Any], *quick: str) -> list[Any]:
    """All of them; those that are not named only with --long: to measure memory takes ten times as long."""
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.long]) for name in names]


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_full_size_is_judged_in_time(name: str) -> None:
    data = FILES[name].encode()[:MAX_BYTES]
    in_time(lambda: parse(data))


@pytest.mark.parametrize("name", some(FILES, "list", "long text", "tower", "zero bytes", "aliases"))
def test_a_file_of_full_size_is_judged_in_bounded_memory(name: str) -> None:
    data = FILES[name].encode()[:MAX_BYTES]
    in_memory(lambda: parse(data))


def tower() -> Value:
    value: Value = "x"
    for _ in range(40):
        value = {"a": value, "b": [value, value]}
    return value


LONG = "z" * 120_000
EXPRESSIONS: dict[str, tuple[str, dict[str, Value]]] = {
    "json of a tower": ("toJSON(a)", {"a": tower()}),
    "json of many": ("toJSON(a)", {"a": [1.0] * 120_000}),
    "json of long texts": ("toJSON(a)", {"a": [LONG] * 1000}),
    "numbers from json": ("fromJSON(a)", {"a": "[" + "0," * 120_000 + "0]"}),
    "lists from json": ("fromJSON(a)", {"a": "[" + "[]," * 80_000 + "0]"}),
    "maps from json": ("fromJSON(a)", {"a": "[" + '{"a":1},' * 30_000 + "0]"}),
    "brackets from json": ("fromJSON(a)", {"a": "[" * 250_000}),
    "json to and fro": ("fromJSON(toJSON(fromJSON(toJSON(a))))", {"a": ["x"] * 60_000}),
    "doubling": ("format('{0}{0}{0}{0}', " * 10 + "a" + ")" * 10, {"a": LONG}),
    "holes": ("format(a, b)", {"a": "{0}" * 80_000, "b": LONG}),
    "join": ("join(a, b)", {"a": ["x"] * 60_000, "b": LONG}),
    "wildcards": ("a" + ".*" * 40, {"a": tower()}),
    "contains": ("||".join(["contains(a,b)"] * 1300), {"a": ["z"] * 60_000, "b": "y"}),
    "equal": ("||".join(["a==b"] * 3000), {"a": LONG + "a", "b": LONG + "b"}),
    "wide map": ("||".join(["a.zz"] * 3000), {"a": {f"k{number}": 1 for number in range(30_000)}}),
    "chain": ("a" + "||a" * 6900, {"a": None}),
    "brackets": ("(" * 20_000 + "a", {"a": None}),
    "nots": ("!" * 20_000 + "a", {"a": None}),
}


def evaluation(name: str) -> Callable[[], object]:
    text, contexts = EXPRESSIONS[name]

    def work() -> None:
        try:
            evaluate(text, contexts)
        except ExpressionError as error:
            assert error.message  # noqa: PT017 - an error is as good an end as a value

    return work


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_is_evaluated_in_time(name: str) -> None:
    in_time(evaluation(name))


@pytest.mark.parametrize("name", some(EXPRESSIONS, "json of a tower", "json of long texts", "doubling", "join"))
def test_an_expression_is_evaluated_in_bounded_memory(name: str) -> None:
    in_memory(evaluation(name))
