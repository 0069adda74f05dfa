"""check, expr and graph as a user calls them: what they print, and with which code they end."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pwf.cli.main import run

GOOD = "on: push\njobs:\n  a: {runs-on: x, steps: [{run: a}]}\n"
BAD = "on: push\njobs:\n  a: {runs_on: x, steps: [{run: a}]}\n"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def say(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def written(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_check_prints_one_object_for_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, none = written(tmp_path, "a.yml", GOOD), written(tmp_path, "b.yml", BAD), str(tmp_path / "none.yml")
    code, out, err = told(capsys, "check", good, bad, none, str(tmp_path), "--json")
    first, second, third, fourth = map(json.loads, out.splitlines())
    assert (code, err) == (1, "")
    assert first == {"file": good, "ok": True, "diagnostics": []}
    assert (second["file"], second["ok"]) == (bad, False)
    assert second["diagnostics"][1] == {
        "line": 3,
        "column": 7,
        "severity": "error",
        "code": "unexpected-key",
        "message": "Unexpected value 'runs_on'",
        "hint": "did you mean 'runs-on'?",
    }
    assert third["diagnostics"][0]["code"] == "unreadable"
    assert "No such file" in third["diagnostics"][0]["message"]
    assert "directory" in fourth["diagnostics"][0]["message"]
    assert told(capsys, "check", good, "--json")[0] == 0


def test_check_shows_a_person_the_line_a_caret_and_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = written(tmp_path, "b.yml", BAD)
    code, out, _ = told(capsys, "check", bad)
    assert code == 1
    assert out.splitlines()[3:] == [
        f"{bad}:3:7: error: Unexpected value 'runs_on' [unexpected-key]",
        " 3 |   a: {runs_on: x, steps: [{run: a}]}",
        "   |       ^",
        "hint: did you mean 'runs-on'?",
        "0 of 1 files check",
    ]
    assert told(capsys, "check", written(tmp_path, "a.yml", GOOD))[:2] == (0, "1 of 1 file checks\n")


def test_caret_stands_below_its_character_whatever_is_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "on: push\njobs: {a: {runs-on: x, name: 日本e\u0301\t, steps: [{run: a}], oops: 1}}\n"
    _, out, _ = told(capsys, "check", written(tmp_path, "a.yml", text))
    line, caret = out.splitlines()[1:3]
    assert line.index("oops") + 2 - 1 == caret.index("^")  # two are twice as wide, one has no width


def test_what_a_file_holds_does_not_act_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a.yml", "on: \x1b[2Jpush\nname: \u202eabc\n")
    _, out, _ = told(capsys, "check", path)
    assert "\x1b" not in out
    other = written(tmp_path, "b.yml", "on: 'a\u202eb\\e[2J'\njobs: {}\n")
    _, out, _ = told(capsys, "check", other)
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_check_reads_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    say(monkeypatch, GOOD.encode())
    assert told(capsys, "check", "-", "--json")[:2] == (0, '{"file": "-", "ok": true, "diagnostics": []}\n')


def test_action_or_workflow_that_is_not_there_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: ./here\n      - uses: ./there\n"
        "      - uses: ./\n      - uses: ./../out\n"
        "  b:\n    uses: ./.github/workflows/ci.yml\n  c:\n    uses: ./.github/workflows/none.yml\n"
    )
    path = written(tmp_path, ".github/workflows/ci.yml", text)
    written(tmp_path, "here/action.yml", "runs: {}")
    code, out, _ = told(capsys, "check", path, "--json")
    found = json.loads(out)["diagnostics"]
    assert code == 0
    assert [(one["line"], one["severity"], one["code"]) for one in found] == [
        (7, "warning", "no-action"),
        (8, "warning", "no-action"),
        (12, "warning", "no-workflow"),
    ]
    written(tmp_path, "Dockerfile", "FROM scratch")
    (tmp_path / ".git").mkdir()
    assert len(json.loads(told(capsys, "check", path, "--json")[1])["diagnostics"]) == 2


@pytest.mark.parametrize("data", [b"\xff" * 300, b"[" * 300_000, b"\x00", b"a: " * 9000, b"%", b"\xef\xbb\xbf", b""])
def test_any_bytes_end_in_a_diagnostic(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "check", written(tmp_path, "a.yml", data), "--json")
    assert (code, err) == (1, "")
    assert json.loads(out)["diagnostics"]


@pytest.mark.parametrize(
    ("text", "contexts", "printed"),
    [
        ("1 < 2", None, "true"),
        ("null", None, "null"),
        ("'a' || 'b'", None, '"a"'),
        ("0x10", None, "16"),
        ("1e300", None, "1e+300"),
        ("NaN", None, '"NaN"'),
        ("-Infinity", None, '"-Infinity"'),
        ("-1.5 < 0", None, "true"),
        ("a.b[1]", {"a": {"b": [1, 2.5]}}, "2.5"),
        ("a", {"a": {"b": [None, True]}}, '{"b": [null, true]}'),
        ("env.path", {"env": {"PATH": "x"}}, "null"),
        ("failure()", {"job": {"status": "failure"}}, "true"),
        ("success() && always() && !cancelled()", {}, "true"),
        ("n is ${{ a.n }}", {"a": {"n": 1}}, '"n is 1"'),
        ("${{ a.n }}", {"a": {"n": 1}}, "1"),
    ],
)
def test_expr_prints_the_value_as_json(
    text: str, contexts: dict[str, Any] | None, printed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [] if contexts is None else ["--contexts", written(tmp_path, "c.json", json.dumps(contexts))]
    assert told(capsys, "expr", text, *given) == (0, printed + "\n", "")


def test_expr_hashes_files_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "a.lock", "x")
    monkeypatch.chdir(tmp_path)
    code, out, _ = told(capsys, "expr", "hashFiles('*.lock')")
    assert code == 0
    assert len(json.loads(out)) == 64
    assert told(capsys, "expr", "hashFiles('none')")[1] == '""\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["expr", "1 +"], "Unexpected symbol: '+'"),
        (["expr", "x.y"], "Unrecognized named-value: 'x'"),
        (["expr", "fromJSON('{')"], "Error parsing fromJson"),
        (["expr"], "no expression"),
        (["expr", "1", "--batch"], "--batch takes its expressions"),
        (["expr", "1", "--contexts", "/none"], "cannot be read: No such file"),
        (["graph", "/none"], "cannot be read: No such file"),
        (["check"], "missing argument"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_contexts_that_are_none_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in (
        ("{", "is no JSON"),
        ("[1]", "is no object"),
        ("[" * 99999, "nested deeper"),
        (b"\xff", "no"),
    ):
        code, _, err = told(capsys, "expr", "1", "--contexts", written(tmp_path, "c.json", text))
        assert code == 2
        assert message in err


def test_batch_answers_line_by_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        {"expr": "a.b", "contexts": {"a": {"b": [1, {"c": None}]}}},
        {"expr": "1 == 1"},
        {"expr": "null", "contexts": None},
        {"expr": "1.5"},
        {"expr": "'x'"},
        {"expr": "a", "contexts": {"a": {"n": 1e400}}},
        {"expr": "'open"},
        {"expr": "(1"},
        {"expr": "unknown.x"},
        {"expr": "format('{0}')"},
        {"expr": 1},
        {"expr": "1", "contexts": [1]},
        {"expr": "hashFiles('../x')"},
    ]
    lines = [json.dumps(one).replace("Infinity", "1e999") for one in asked]
    say(monkeypatch, "\n".join([*lines, "", "no json", "[" * 9999]).encode() + b"\n\xff")
    code, out, err = told(capsys, "expr", "--batch")
    answers = [json.loads(line) for line in out.splitlines()]
    assert (code, err, len(answers)) == (0, "", len(asked) + 4)  # one for each line, the empty one too
    assert answers[:6] == [
        {"kind": "Array", "value": [1, {"c": None}]},
        {"kind": "Boolean", "value": True},
        {"kind": "Null", "value": None},
        {"kind": "Number", "value": 1.5},
        {"kind": "String", "value": "x"},
        {"kind": "Object", "value": {"n": "Infinity"}},
    ]
    kinds = ["lexing", "parsing", "parsing", "evaluation", "usage", "usage", "evaluation", *["usage"] * 4]
    assert [answer["error"] for answer in answers[6:]] == kinds
    assert all(set(answer) == {"error", "message"} for answer in answers[6:])


FLOW = """
name: "a \\"b\\""
on: push
jobs:
  build: {name: "Build <all>", runs-on: x, strategy: {matrix: {n: [1, 2], o: [3]}}, steps: [{run: a}]}
  lint: {runs-on: x, steps: [{run: a}]}
  end: {needs: [build, lint], if: always(), runs-on: x, steps: [{run: a}]}
  more: {needs: end, runs-on: x, strategy: {matrix: "${{ fromJSON(needs.end.result) }}"}, steps: [{run: a}]}
"""


def test_graph_draws_waves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a.yml", FLOW)
    code, out, _ = told(capsys, "graph", path)
    assert code == 0
    assert out.splitlines() == [
        'a "b"',
        "├─ wave 1",
        "│  ├─ build (Build <all>) ×2",  # noqa: RUF001 - the sign of the field
        "│  └─ lint",
        "├─ wave 2",
        "│  └─ end                     ← build, lint  if always()",
        "└─ wave 3",
        "   └─ more ×?                 ← end",  # noqa: RUF001 - as above
    ]


def test_graph_for_graphviz_and_mermaid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a.yml", FLOW)
    dot = told(capsys, "graph", path, "--dot")[1]
    assert dot.startswith('digraph "a \\"b\\"" {')
    assert '  "build" -> "end";' in dot.splitlines()
    mermaid = told(capsys, "graph", path, "--mermaid")[1].splitlines()
    assert mermaid[0] == "flowchart LR"
    assert '  job_build_0["build (Build #60;all#62;) ×2"]' in mermaid  # noqa: RUF001 - as above
    assert "  job_end_2 --> job_more_3" in mermaid
    jobs = json.loads(told(capsys, "graph", path, "--json")[1])["jobs"]
    assert [(job["id"], job["legs"], job["needs"]) for job in jobs][3] == ("more", None, ["end"])


def test_graph_of_a_file_that_does_not_check_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a.yml", BAD)
    code, out, err = told(capsys, "graph", path)
    assert (code, out) == (2, "")
    assert f"{path}:3:6" in err


def test_checking_imports_neither_runner_nor_node(tmp_path: Path) -> None:
    import subprocess

    path = written(tmp_path, "a.yml", GOOD)
    program = (
        "import sys\nfrom p2pwf.cli.main import run\n"
        f"run(['check', {path!r}])\nrun(['expr', '1'])\n"
        "print([name for name in ('trio', 'rich', 'p2pwf.runner', 'p2pwf.node', 'libp2p') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout.splitlines()[-1] == "[]"
