"""What the README and the examples tell their reader to do is done here, as it stands there, and does what they say."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.docs.transcript import Machines, python, shown, steps

ROOT = Path(__file__).parents[2]
WALK = ROOT / "examples" / "three_machines"
LIBRARY = """\
on: {workflow_call: {inputs: {n: {type: number, required: true}}}}
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'echo ${{ inputs.n }}'}]}}
"""
GPU = """\
name: big
labels: p2p-workflow
on: workflow_dispatch
jobs: {a: {runs-on: [gpu, huge], steps: [{run: nvidia-smi}]}}
"""
CI = """\
name: ci
labels: p2p-workflow
on: workflow_dispatch
jobs:
  build: {runs-on: ubuntu-latest, steps: [{run: echo built}]}
  test: {needs: build, strategy: {matrix: {part: [1, 2]}}, runs-on: ubuntu-latest, steps: [{run: echo tested}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the reader of a page stands."""
    made = tmp_path / "here"
    made.mkdir()
    (made / "lib.yml").write_text(LIBRARY)
    (made / "gpu.yml").write_text(GPU)
    (made / "plain.yml").write_text(CI.replace("p2p-workflow", "[]"))
    (made / "ci.yml").write_text(CI)
    return made


def test_the_walk_through_of_three_machines_is_true(tmp_path: Path, folder: Path) -> None:
    shutil.copy(WALK / "ci.yml", folder)
    page = (WALK / "README.md").read_text(encoding="utf-8")
    with Machines(tmp_path, folder) as machines:
        done = [step.words for step in steps(page) if machines.do(step)]
    assert len(done) > 15
    assert (folder / "found" / "built" / "built.txt").read_text().splitlines()[-1].startswith("built on ")


def test_the_readme_is_true(tmp_path: Path, folder: Path) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    seen = set()
    with Machines(tmp_path, folder, ("le2qesiu",)) as machines:
        for step in steps(page):
            if step.words[1] != "mcp":  # served until it is told to stop: see tests/mcp
                machines.do(step)
            seen.add(step.words[1])
    assert {"up", "invite", "workflow", "explain", "check", "run", "graph", "expr"} <= seen


def test_the_python_of_the_readme_runs(folder: Path) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    done = python(code, folder, P2P_DATA_DIR=str(folder / "state"), PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_json_on_a_page_is_json() -> None:
    blocks = []
    for page in (ROOT / "README.md", *sorted((ROOT / "examples").rglob("*.md"))):
        blocks += re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert [type(json.loads(block)) for block in blocks] == [dict] * len(blocks)
    assert blocks


@pytest.mark.parametrize(
    ("says", "text", "true"),
    [
        (["a … c"], "a b c", True),
        (["a … c"], "a b d", False),
        (["a   b"], "a b", True),
        (["a", "…", "z"], "a\nb\nc\nz", True),
        (["a", "…", "z"], "a\nz", True),
        (["a", "…"], "a\nb\nc", True),
        (["…", "z"], "a\nz\nb", False),
        (["a"], "a\nb", False),
        (["a.c"], "abc", False),
        ([], "whatever", True),
    ],
)
def test_a_page_is_held_against_what_came(says: list[str], text: str, true: bool) -> None:
    assert shown(says, text) is true


def test_every_link_of_a_page_leads_somewhere() -> None:
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "protocols").rglob("*.md"),
        *(ROOT / "tests").glob("*.md"),
    ]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
