"""Any input ends in findings or a value, never in another exception, and never takes long."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow import (
    CommandReader,
    ExpressionError,
    RunFacts,
    StepFileError,
    build_plan,
    evaluate,
    interpolate,
    parse,
    parse_pairs,
    unsupported,
)
from p2pwf.workflow.expr import Value, fold

quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CORPUS = [path.read_bytes() for path in sorted((Path(__file__).parent / "data").glob("*/*.yml"))]
WORDS = st.sampled_from(
    [
        *("on", "jobs", "a", "runs-on", "steps", "run", "uses", "needs", "strategy", "matrix", "include", "if", "env"),
        *("push", "x", "true", "1", "3.10", "null", "&a", "*a", "<<", "!!int", "${{", "}}", "github.ref", "name", "'"),
        *(": ", "- ", "\n", "\n  ", "\n    ", "\n      ", "[", "]", "{", "}", ", ", "|", ">", "#", "\t", '"', "\\"),
    ]
)
EXPRESSION = st.sampled_from(
    [
        *("(", ")", "[", "]", ".", "*", ",", "!", "==", "!=", "<", ">=", "&&", "||", " ", "'a'", "''", "'", "1", "-1"),
        *("0x1", "NaN", "null", "true", "a", "b", "B", "contains", "format", "join", "toJSON", "fromJSON", "case"),
        *("'{0}'", "'[1,{\"b\":2}]'", "=", "&", "@", "\u00e9", "\n"),
    ]
)
VALUES: st.SearchStrategy[Value] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def check(data: bytes) -> None:
    parsed = parse(data)
    assert parsed.ok != any(finding.severity == "error" for finding in parsed.diagnostics)
    source = data.decode("utf-8", "replace")
    for finding in parsed.diagnostics:
        assert finding.line >= 1
        assert finding.column >= 1
        finding.render("x.yml", source)
    if parsed.workflow is not None:
        unsupported(parsed.workflow)
        try:
            build_plan(parsed.workflow, RunFacts())
        except InvalidWorkflow as error:
            assert error.diagnostics  # noqa: PT017  # raising is as good as returning here


@quick
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    check(data)


@quick
@given(st.lists(WORDS, max_size=60))
def test_any_words_of_the_language(words: list[str]) -> None:
    check("".join(words).encode())


@quick
@given(st.sampled_from(CORPUS), st.data())
def test_damaged_files_of_the_corpus(data: bytes, draw: st.DataObject) -> None:
    for _ in range(draw.draw(st.integers(1, 4))):
        start = draw.draw(st.integers(0, len(data)))
        end = draw.draw(st.integers(start, min(len(data), start + 30)))
        data = data[:start] + draw.draw(st.binary(max_size=6) | WORDS.map(str.encode)) + data[end:]
    check(data)


@quick
@given(st.lists(EXPRESSION, max_size=24).map("".join) | st.text(max_size=60), VALUES, VALUES)
def test_any_expression(text: str, a: Value, b: Value) -> None:
    for read in (evaluate, interpolate):
        try:
            read(text, {"a": a, "b": b})
        except ExpressionError as error:
            assert 0 <= error.offset <= len(text)  # noqa: PT017  # as above


@quick
@given(VALUES, VALUES)
def test_values_survive_json_and_compare_both_ways(a: Value, b: Value) -> None:
    contexts = {"a": a, "b": b}
    assert evaluate("a == b", contexts) == evaluate("b == a", contexts)
    assert evaluate("a < b", contexts) == evaluate("b > a", contexts)
    text = evaluate("toJSON(a)", contexts)
    if "NaN" not in str(text) and "Infinity" not in str(text):
        assert evaluate("toJSON(fromJSON(text))", {"text": text}) is not None


@quick
@given(st.text(max_size=40))
def test_folding_keeps_the_length_and_is_stable(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(fold(text)) == fold(text)


@quick
@given(st.text(alphabet="a=<E\n\r ", max_size=40))
def test_any_step_file(text: str) -> None:
    try:
        pairs = parse_pairs(text)
    except StepFileError:
        return
    assert all(name for name, _ in pairs)


@quick
@given(st.lists(st.text(alphabet=":#[]%= ;,aAnd\u00e9", max_size=20) | st.just("::stop-commands::t"), max_size=6))
def test_any_output_of_a_step(lines: list[str]) -> None:
    reader = CommandReader()
    for line in lines:
        kind, command = reader.feed(line)
        assert (command is None) == (kind == "text")
