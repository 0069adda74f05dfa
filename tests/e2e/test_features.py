"""Three real nodes, workflow files with calls, pinned actions and groups: what one machine brings, all can run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kit import Node, p2pwf, three_nodes, workflow

MAIN = """
run-name: Release of ${{ inputs.what }}
labels: p2p-workflow
on: {workflow_dispatch: {inputs: {what: {default: it}}}}
jobs:
  parts:
    runs-on: ubuntu-latest
    outputs: {list: "${{ steps.s.outputs.list }}"}
    steps: [{id: s, run: 'echo "list=[1, 2, 3]" >> "$GITHUB_OUTPUT"'}]
  build:
    needs: parts
    uses: ./.github/workflows/build.yml
    with: {parts: "${{ needs.parts.outputs.list }}", word: "${{ inputs.what }}"}
  show:
    needs: build
    runs-on: ubuntu-latest
    outputs: {seen: "${{ steps.s.outputs.seen }}"}
    steps: [{id: s, run: 'echo "seen=${{ needs.build.outputs.said }}" >> "$GITHUB_OUTPUT"'}]
  far:
    uses: tools/flows/.github/workflows/far.yml@v1
    with: {word: "${{ inputs.what }}"}
"""
FAR = """
on:
  workflow_call:
    inputs: {word: {type: string}}
    outputs: {said: {value: "${{ jobs.near.outputs.said }}"}}
jobs:
  near: {uses: ./.github/workflows/near.yml, with: {word: "far ${{ inputs.word }}"}}
"""
NEAR = """
on:
  workflow_call:
    inputs: {word: {type: string}}
    outputs: {said: {value: "${{ jobs.say.outputs.said }}"}}
jobs:
  say:
    runs-on: ubuntu-latest
    outputs: {said: "${{ steps.say.outputs.said }}"}
    steps: [{id: say, uses: tools/say@v1, with: {word: "${{ inputs.word }}"}}]
"""
BUILD = """
on:
  workflow_call:
    inputs: {parts: {type: string, required: true}, word: {type: string}}
    outputs: {said: {value: "${{ jobs.join.outputs.said }}"}}
jobs:
  part:
    strategy: {matrix: {part: "${{ fromJSON(inputs.parts) }}"}}
    runs-on: ubuntu-latest
    steps: [{uses: tools/say@v1, with: {word: "${{ inputs.word }} ${{ matrix.part }}"}}]
  join:
    needs: part
    runs-on: ubuntu-latest
    outputs: {said: "${{ steps.say.outputs.said }}"}
    steps: [{id: say, uses: tools/say@v1, with: {word: "all of ${{ inputs.word }}"}}]
"""
SAY = """
inputs: {word: {required: true}}
outputs: {said: {value: "${{ steps.s.outputs.said }}"}}
runs:
  using: composite
  steps: [{id: s, shell: bash, run: 'echo "said=said ${{ inputs.word }}" | tee -a "$GITHUB_OUTPUT"'}]
"""
GROUPED = """
labels: p2p-workflow
on: workflow_dispatch
concurrency: only-one
jobs:
  a: {runs-on: ubuntu-latest, steps: [{run: sleep 3}]}
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    base = tmp_path_factory.mktemp("net")
    tools = base / "mirror" / "tools"
    workflow(tools / "say", SAY, "action.yml")
    workflow(tools / "flows" / ".github" / "workflows", FAR, "far.yml")
    workflow(tools / "flows" / ".github" / "workflows", NEAR, "near.yml")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*author, "commit", "-qm", "x"), ("tag", "v1")):
        for repository in tools.iterdir():
            subprocess.run(["git", "-C", str(repository), *command], check=True)
    with three_nodes(base, "--actions", str(base / "mirror")) as running:
        yield running


def test_a_call_with_pinned_actions_runs_on_nodes_that_have_neither(nodes: list[Node], tmp_path: Path) -> None:
    flows = tmp_path / ".github" / "workflows"
    workflow(flows, BUILD, "build.yml")
    file = workflow(flows, MAIN, "main.yml")
    run = nodes[0].submit(file, "--source", str(tmp_path), "--input", "what=rust")
    done = nodes[1].wait_for(run)
    assert done["status"] == "completed", done
    assert done["title"] == "Release of rust"
    jobs = {job["name"]: job for job in done["jobs"]}
    parts = [f"build / part ({number})" for number in (1, 2, 3)]
    assert list(jobs) == ["parts", *parts, "build / join", "build", "show", "far / near / say", "far / near", "far"]
    assert jobs["build"]["outputs"] == {"said": "said all of rust"}
    assert jobs["show"]["outputs"] == {"seen": "said all of rust"}
    assert jobs["far"]["outputs"] == {"said": "said far rust"}
    assert len({jobs[name]["owner"] for name in parts}) == 3
    assert "said rust 2" in p2pwf("workflow", "logs", run, "--job", "build / part (2)", data=nodes[2].folder).stdout


def test_of_three_runs_of_a_group_one_runs_and_the_newest_waits(nodes: list[Node], tmp_path: Path) -> None:
    file = workflow(tmp_path, GROUPED)
    first = nodes[0].submit(file)
    nodes[2].wait_for(first, lambda run: run["status"] == "in_progress")
    second = nodes[0].submit(file)
    assert nodes[0].status(second)["status"] == "pending"
    third = nodes[0].submit(file)
    ended = [nodes[1].wait_for(run) for run in (second, first, third)]
    assert [run["status"] for run in ended] == ["cancelled", "completed", "completed"]
    assert ended[0]["started_at"] is None
    assert ended[2]["started_at"] >= ended[1]["completed_at"]


def test_an_action_that_cannot_be_had_is_refused_at_the_door(nodes: list[Node], tmp_path: Path) -> None:
    text = "labels: offline-workflow\njobs: {a: {steps: [{uses: tools/none@v1}]}}\n"
    done = p2pwf("workflow", "submit", str(workflow(tmp_path, text)), data=nodes[0].folder)
    assert done.returncode == 4
    assert "the step 1 of the job 'a' (line 2) uses 'tools/none@v1'" in done.stderr
