"""Files of the corpus say exactly what their .out files hold, and good files have no error."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml as pyyaml

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow import parse


def _golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden", Path(__file__).parent / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = _golden()


@pytest.mark.parametrize("path", golden.corpus(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_file_of_the_corpus_says_what_it_said_before(path: Path) -> None:
    assert golden.findings(path) == path.with_suffix(".out").read_text(encoding="utf-8")
    assert parse(path.read_bytes()).ok == (path.parent.name == "ok")


def test_the_corpus_is_found_at_the_same_lines_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    def places() -> list[list[tuple[int, str]]]:
        parsed = [parse(path.read_bytes()) for path in golden.corpus()]
        return [[(finding.line, finding.code) for finding in one.diagnostics] for one in parsed]

    with_libyaml = places()
    monkeypatch.delattr(pyyaml, "CSafeLoader", raising=False)
    assert places() == with_libyaml


def test_a_broken_file_raises_an_error_that_names_the_first_fault_and_carries_all() -> None:
    parsed = parse("on: push\njobs:\n  a: {runs_on: x, steps: [{run: a}]}\n", "ci.yml")
    with pytest.raises(InvalidWorkflow) as caught:
        parsed.require()
    assert caught.value.message.startswith("ci.yml:3:6: Required property is missing: runs-on")
    assert [finding["code"] for finding in caught.value.diagnostics] == ["missing-key", "unexpected-key"]


def test_diagnostics_have_the_form_of_the_documented_json() -> None:
    found = parse(b"on: push\n").diagnostics[0].to_json()
    assert found == {
        "line": 1,
        "column": 1,
        "severity": "error",
        "code": "missing-key",
        "message": "Required property is missing: jobs",
        "hint": None,
    }


def test_findings_of_one_file_are_bounded_and_the_rest_is_counted() -> None:
    text = "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n" + "      - {runn: x}\n" * 400
    found = parse(text).diagnostics
    assert len(found) == 101
    assert found[-1].code == "more-findings"
    assert found[-1].message.startswith("700 more")
