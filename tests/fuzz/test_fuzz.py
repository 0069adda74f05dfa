"""Any input ends in findings or a value, never in another exception. What was found once is tried every time."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pwf.workflow import evaluate, selects
from p2pwf.workflow.cron import cron_fault, never_due
from p2pwf.workflow.expr import Value, fold
from tests.fuzz.content_targets import contents
from tests.fuzz.file_targets import CORPORA
from tests.fuzz.mutations import mutated
from tests.fuzz.peer_targets import PEER_TARGETS
from tests.fuzz.targets import TARGETS, expression, loader, output, step_file

quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HERE = Path(__file__).parent
INPUTS = 100
FINDINGS = sorted(path for path in HERE.glob("findings/*/*") if path.is_file())
CORPUS = [path.read_bytes() for path in sorted((HERE.parent / "workflow/data").glob("*/*.yml"))]
WORDS = st.sampled_from(
    [
        *("on", "jobs", "a", "runs-on", "steps", "run", "uses", "needs", "strategy", "matrix", "include", "if", "env"),
        *("push", "x", "true", "1", "3.10", "null", "&a", "*a", "<<", "!!int", "${{", "}}", "github.ref", "name", "'"),
        *("schedule", "cron", "* * * * *", "branches", "[!a", "**/", "inputs", "wait", "parallel", "background", "id"),
        *(": ", "- ", "\n", "\n  ", "\n    ", "\n      ", "[", "]", "{", "}", ", ", "|", ">", "#", "\t", '"', "\\"),
    ]
)
EXPRESSION = st.sampled_from(
    [
        *("(", ")", "[", "]", ".", "*", ",", "!", "==", "!=", "<", ">=", "&&", "||", " ", "'a'", "''", "'", "1", "-1"),
        *("0x1", "NaN", "null", "true", "a", "b", "B", "contains", "format", "join", "toJSON", "fromJSON", "case"),
        *("'{0}'", "'[1,{\"b\":2}]'", "=", "&", "@", "\u00e9", "\n", "${{", "}}", ".*", "[0]", "success", "hashFiles"),
    ]
)
VALUES: st.SearchStrategy[Value] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
OUTPUT = st.sampled_from(
    [
        *("::", "##[", "]", "set-output", "stop-commands", "token", "error", " file=a,line=2", " name=x", "s3cret"),
        *("\n", "\r", "\r\n", "add-mask", "group", "%0A", "%25", "x", "\u00e9", "echo", "on", "\x00", "y" * 700),
    ]
)


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_is_not_found_again(path: Path) -> None:
    name = path.parent.name
    (PEER_TARGETS[name][0] if name in PEER_TARGETS else TARGETS[name])(path.read_bytes())


@quick
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    for target in TARGETS.values():
        target(data)


@pytest.mark.parametrize("name", [*CORPORA, "backup"])
def test_damaged_files_of_a_job_an_action_or_a_machine(name: str) -> None:
    """A small part of what `scripts/fuzz` does: the same inputs each time."""
    made_of = CORPORA.get(name) or contents(name)
    chance = Random(name)
    for data in (*made_of, *(mutated(chance, made_of) for _ in range(INPUTS))):
        TARGETS[name](data)


@quick
@given(st.lists(WORDS, max_size=60))
def test_any_words_of_the_language(words: list[str]) -> None:
    loader("".join(words).encode())


@quick
@given(st.sampled_from(CORPUS), st.data())
def test_damaged_files_of_the_corpus(data: bytes, draw: st.DataObject) -> None:
    for _ in range(draw.draw(st.integers(1, 4))):
        start = draw.draw(st.integers(0, len(data)))
        end = draw.draw(st.integers(start, min(len(data), start + 30)))
        data = data[:start] + draw.draw(st.binary(max_size=6) | WORDS.map(str.encode)) + data[end:]
    loader(data)


@quick
@given(st.lists(EXPRESSION, max_size=24).map("".join) | st.text(max_size=60))
def test_any_expression(text: str) -> None:
    expression(text.encode("utf-8", "surrogatepass"))


@quick
@given(VALUES, VALUES)
def test_values_survive_json_and_compare_both_ways(a: Value, b: Value) -> None:
    contexts = {"a": a, "b": b}
    assert evaluate("a == b", contexts) == evaluate("b == a", contexts)
    assert evaluate("a != b", contexts) != evaluate("a == b", contexts)
    assert evaluate("a < b", contexts) == evaluate("b > a", contexts)
    text = evaluate("toJSON(a)", contexts)
    if "NaN" not in str(text) and "Infinity" not in str(text):
        json.loads(str(text))
        assert evaluate("toJSON(fromJSON(toJSON(a))) == toJSON(a)", contexts) or _loses(a)


def _loses(value: Value) -> bool:
    """Whether a value has keys that differ only in case, or half characters: JSON does not carry those through."""
    text = json.dumps(value)
    folded = fold(text)
    return folded != text or "\\u" in text or not text.isascii()


@quick
@given(st.text(max_size=40))
def test_folding_keeps_the_length_and_is_stable(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(fold(text)) == fold(text)


@quick
@given(st.text(alphabet="a=<E\n\r ", max_size=40))
def test_any_step_file(text: str) -> None:
    step_file(text.encode())


@quick
@given(st.lists(OUTPUT, max_size=12).map("".join), st.integers(0, 40))
def test_any_output_of_a_step(text: str, cut: int) -> None:
    output(bytes([cut]) + text.encode())


@quick
@given(st.lists(st.text(alphabet="a*?+[]!\\/-.", max_size=12), max_size=4), st.text(alphabet="ab/.", max_size=12))
def test_any_pattern_of_a_filter(patterns: list[str], name: str) -> None:
    assert isinstance(selects(patterns, name), bool)
    assert selects([*patterns, "**"], name)
    assert not selects([*patterns, "**", "!**"], name)


@quick
@given(st.text(alphabet="0123456789*/,- LWFRIJAN#", max_size=24))
def test_any_schedule(text: str) -> None:
    if cron_fault(text) is None:
        never_due(text)
