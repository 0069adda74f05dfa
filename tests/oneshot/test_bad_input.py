"""Files that cannot be run: each ends in a diagnostic, at once, and nothing has run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.oneshot.kit import ONE, Here


def test_all_that_is_wrong_is_shown_with_its_place_a_caret_and_a_hint(here: Here) -> None:
    here.write("on: push\njobs:\n  j:\n    runs-on: x\n    stepz: []\nname: [1]\n")
    ran = here.run_plain(code=2)
    assert ran.out == ""
    blocks = ran.err.split("w.yml:")
    assert len(blocks) == 4  # before, and the three findings
    assert "5:5: error: Unexpected value 'stepz'" in ran.err
    assert " 5 |     stepz: []\n   |     ^\nhint: did you mean 'steps'?\n" in ran.err
    assert ran.err.endswith("w.yml does not check: 3 errors; nothing was run\n")


def test_scripts_get_the_same_as_json(here: Here) -> None:
    here.write("on: push\njobs:\n  j:\n    runs-on: x\n    stepz: []\n")
    ran = here.run(code=2)
    error = json.loads(ran.err)["error"]
    assert error["code"] == "invalid_workflow"
    assert ("unexpected-key", 5, 5) in [(one["code"], one["line"], one["column"]) for one in error["diagnostics"]]
    assert ran.error().startswith("w.yml:3:3: ")
    assert error["hint"] == "mend the file, then run it again"


def test_json_ends_with_the_end_whatever_happens(here: Here) -> None:
    here.write("on: push\njobs: {j: {runs-on: x, steps: [{run: 'exit 3'}]}}")
    assert (ran := here.run(code=1)).end["exit_code"] == 1
    assert ran.end["error"] is None
    for words, code in ((("--job", "k"), 2), (("--isolation", "box"), 2), (("--input", "x"), 2)):
        ran = here.run(*words, code=code)
        assert ran.error() == ran.end["error"]["message"]

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    here.patch.setattr("p2pwf.oneshot.run.check", broken)
    assert "ZeroDivisionError" in here.run(code=70).error()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.yml", "none.yml is not there"),
        ("folder", "folder is a folder"),
        ("pipe", "pipe is no file"),
        ("x" * 300, f"cannot read '{'x' * 300}': File name too long"),
    ],
)
def test_what_is_no_file_is_said_to_be_none(here: Here, name: str, message: str) -> None:
    (here.root / "folder").mkdir()
    os.mkfifo(here.root / "pipe")
    assert here.run(file=name, code=2).error() == message


def test_a_file_of_ten_megabytes_is_refused(here: Here) -> None:
    (here.root / "w.yml").write_text(ONE + "      - run: 'true'\n" + "# padding\n" * (1024 * 1024))
    ran = here.run(code=2)
    assert "262144" in ran.err.replace(",", "") or "256 KiB" in ran.err


def test_a_workflow_that_is_no_yaml_is_placed(here: Here) -> None:
    here.write("on: [push\njobs: {")
    ran = here.run_plain(code=2)
    assert "yaml-syntax" in ran.err
    assert ran.err.startswith("w.yml:2:")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(b"\xff\xfe\x00")
@example(b"&a [*a, *a]")
@example(b"[" * 5000)
@example(b"on: push\njobs: {a: {runs-on: x, steps: [{run: '${{'}]}}")
@given(st.binary(max_size=400) | st.text(alphabet=":-[]{}&*!|>'\"\n\t #a${}", max_size=200).map(str.encode))
def test_any_bytes_end_in_a_diagnostic(here: Here, data: bytes) -> None:
    (here.root / "w.yml").write_bytes(data)
    ran = here.run(code=2)
    assert "w.yml" in ran.error()


def test_a_folder_for_temporary_files_that_is_not_there_is_said(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    here.steps("- run: 'true'")
    monkeypatch.setattr(tempfile, "tempdir", str(here.tmp / "none"))
    ran = here.run(code=6)
    assert ran.error().startswith("no temporary folder")


def test_a_source_that_is_too_large_is_said_with_what_to_do(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    import p2pwf.runner.sourcetree as tree

    monkeypatch.setattr(tree, "MAX_FILES", 3)
    here.steps("- run: 'true'")
    for number in range(5):
        here.write("", f"{number}.txt")
    ran = here.run(code=2)
    assert "too large" in ran.error()
    hint = json.loads(ran.err)["error"]["hint"]
    assert hint == "name the tree to run on with --source DIR"


def test_a_file_in_a_folder_that_nobody_may_read_is_said(here: Here) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    here.steps("- run: 'true'")
    Path(here.root / "w.yml").chmod(0)
    assert "Permission denied" in here.run(code=2).error()
