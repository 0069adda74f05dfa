"""Workflow files made to exhaust whoever reads them end in a finding; without its bound each does harm (T29 to T33)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest

from p2pwf.core import bodies
from p2pwf.core.bodies import FORMS, MAX_LEGS
from p2pwf.core.forms import has_form
from p2pwf.runner import matchers
from p2pwf.runner.matchers import Matchers
from p2pwf.runs.plan import _by_needs
from p2pwf.testing import make_submission
from p2pwf.workflow import evaluate, parse
from p2pwf.workflow import matrix as matrices
from p2pwf.workflow import yaml as reader
from p2pwf.workflow.diagnostics import Findings
from p2pwf.workflow.expr import ExpressionError, functions
from p2pwf.workflow.expr import parser as expressions
from p2pwf.workflow.filters import selects
from p2pwf.workflow.matrix import MatrixError, build_legs
from p2pwf.workflow.nodes import walk

FAR = 10**9
"""A bound that is none."""


def codes(text: str) -> list[str]:
    return [finding.code for finding in parse(text).diagnostics]


def seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


# -- T29: YAML ------------------------------------------------------------------------------------------------------

WIDE = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 5)
)
"""Five floors of nine aliases each: half a kilobyte that stands for some 66,000 nodes."""
DEEP = "on: push\njobs: " + "[" * 2_000 + "]" * 2_000


def test_t29_what_a_file_stands_for_is_bounded_in_width_and_in_depth() -> None:
    assert codes(WIDE) == ["yaml-nodes"]
    assert codes(DEEP) == ["yaml-depth"]


def test_t29_without_the_guard_a_small_file_is_a_large_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_NODES", FAR)
    monkeypatch.setattr(reader, "MAX_READ", FAR)
    root = reader.load(WIDE, Findings())
    assert root is not None
    assert len(WIDE) < 600
    assert sum(1 for _ in walk(root)) > 60_000


# -- T30: expressions -----------------------------------------------------------------------------------------------


def doubling(times: int) -> str:
    text = "'xxxxxxxxxxxxxxxx'"
    for _ in range(times):
        text = f"format('{{0}}{{0}}{{0}}{{0}}', {text})"
    return text


NESTED = "!" * 5_000 + "1"


def test_t30_an_expression_is_bounded_in_depth_length_memory_and_steps() -> None:
    for text, said in {
        NESTED: "depth",
        "a" * 30_000: "length",
        doubling(20): "memory",
        "||".join(["a == b"] * 2000): "steps",
    }.items():
        with pytest.raises(ExpressionError, match=said):
            evaluate(text, {"a": "z" * 500_000, "b": "z" * 499_999 + "y"})


def test_t30_without_the_guard_a_line_takes_what_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "MAX_MEMORY", FAR)
    monkeypatch.setattr(functions, "MAX_STEPS", FAR)
    text = doubling(10)
    assert len(text) < 400
    assert len(str(evaluate(text, {}))) == 16 * 4**10


def test_t30_without_the_guard_depth_is_more_than_the_interpreter_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "MAX_DEPTH", FAR)
    with pytest.raises(RecursionError):
        evaluate(NESTED, {})


# -- T31: matrices --------------------------------------------------------------------------------------------------

CUBE: dict[str, object] = {name: [float(n) for n in range(12)] for name in "abc"}


def submitted(jobs: dict[str, list[str]], legs: dict[str, int | None]) -> bool:
    """Whether a run.submit, written by whatever program, has the form that every peer asks for."""
    return has_form({**make_submission(jobs, legs=legs), "absent": []}, FORMS["run.submit"])


def test_t31_a_matrix_makes_no_more_jobs_than_on_github_and_a_run_no_more_than_a_node_bears() -> None:
    with pytest.raises(MatrixError, match="more than 256"):
        build_legs(CUBE)  # type: ignore[arg-type]
    with pytest.raises(MatrixError, match="too many"):
        build_legs({f"k{n}": [0.0, 1.0] for n in range(64)})
    many = {f"j{n}": list[str]() for n in range(MAX_LEGS // 256 + 1)}
    assert submitted(dict(list(many.items())[:-1]), dict.fromkeys(many, 256))
    assert not submitted(many, dict.fromkeys(many, 256))
    assert not submitted(many, dict.fromkeys(many, None))
    assert not submitted({"a": []}, {"a": 257})


def test_t31_without_the_guard_three_lines_are_thousands_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "MAX_LEGS", FAR)
    monkeypatch.setattr(matrices, "MAX_WORK", FAR)
    assert len(build_legs(CUBE)) == 12**3  # type: ignore[arg-type]
    monkeypatch.setattr(bodies, "MAX_LEGS", FAR)
    many = {f"j{n}": list[str]() for n in range(MAX_LEGS // 256 + 1)}
    assert submitted(many, dict.fromkeys(many, 256))


# -- T32: needs -----------------------------------------------------------------------------------------------------

CIRCLE = {"a": ["c"], "b": ["a"], "c": ["b"]}


class Endless(Exception):
    """A walk has not ended within far more steps than it may need."""


class Counted(dict[str, tuple[str, ...]]):
    """Needs that count how often they are asked for."""

    asked = 0

    def __getitem__(self, key: str) -> tuple[str, ...]:
        self.asked += 1
        if self.asked > 10_000:
            raise Endless
        return super().__getitem__(key)


def test_t32_jobs_that_wait_for_each_other_are_no_workflow_and_no_run() -> None:
    text = "on: push\njobs:\n" + "".join(
        f"  {name}: {{needs: {needs}, runs-on: x, steps: [{{run: a}}]}}\n" for name, needs in CIRCLE.items()
    )
    assert codes(text).count("needs-cycle") == len(CIRCLE)
    assert submitted({"a": [], "b": ["a"], "c": ["b"]}, {})
    assert not submitted(CIRCLE, {})
    assert not submitted({"a": ["a"]}, {})
    assert not submitted({"a": ["nobody"]}, {})


def test_t32_without_the_guard_a_plan_is_walked_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_acyclic", lambda _: True)
    assert submitted(CIRCLE, {})
    with pytest.raises(Endless):
        _by_needs(Counted({name: tuple(needs) for name, needs in CIRCLE.items()}))


# -- T33: patterns of filters, and of problem matchers (those of paths: tests/runner/test_patterns.py) -------------


def test_t33_a_filter_takes_as_long_as_pattern_times_name() -> None:
    assert not selects(["*a" * 200 + "b"], "a" * 4000)
    assert not selects(["a?" * 300 + "a" * 300], "a" * 299)


def test_t33_without_the_guard_a_filter_takes_longer_and_longer() -> None:
    naive = re.compile("[^/]*a" * 6 + "b")
    name = "a" * 45
    ours, theirs = seconds(lambda: selects(["*a" * 6 + "b"], name)), seconds(lambda: naive.fullmatch(name))
    assert theirs > 20 * ours


EVIL = {"owner": "evil", "pattern": [{"regexp": "^(a+)+$", "message": 1}]}
SHORT, LONG = "a" * 12 + "b", "a" * 18 + "b"
"""Each further character doubles the time."""


@pytest.fixture
def warned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matchers, list[str]]:
    """Matchers with an evil one among them, and what they complain of."""
    folder = tmp_path_factory.mktemp("matchers")
    (folder / "m.json").write_text(json.dumps({"problemMatcher": [EVIL]}))
    said: list[str] = []
    made = Matchers(folder, lambda _, text: said.append(text))
    made.add_file("m.json")
    made.begin()
    return made, said


def test_t33_a_matcher_that_takes_long_is_taken_out(warned: tuple[Matchers, list[str]]) -> None:
    made, said = warned
    assert seconds(lambda: made.look(1, "a" * 60 + "b")) < 5
    assert "its patterns take too long" in said[0]


def test_t33_without_the_guard_a_matcher_takes_its_time(
    warned: tuple[Matchers, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matchers, "LINE_S", 60.0)
    monkeypatch.setattr(matchers, "CHUNK_S", 60.0)
    made, said = warned
    quick, slow = seconds(lambda: made.look(1, SHORT)), seconds(lambda: made.look(1, LONG))
    assert slow > 8 * quick
    assert not said
