"""Reusable workflows in a one-shot run: called from the source, from another repository, and run by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.node.test_actions import commit
from tests.oneshot.kit import Here

REUSABLE = """
on:
  push:
  workflow_call:
    inputs:
      who: {type: string, required: true}
      count: {type: number, default: 2}
      loud: {type: boolean}
      where: {type: string, default: "at ${{ github.ref_name }}"}
    secrets:
      Token: {required: true}
      spare: {}
    outputs:
      said: {value: "${{ jobs.say.outputs.said }}/${{ jobs.say.result }}/${{ inputs.count }}"}
jobs:
  say:
    runs-on: ubuntu-latest
    outputs: {said: "${{ steps.s.outputs.said }}"}
    steps:
      - id: s
        env: {ALL: "${{ toJSON(inputs) }}", TOKEN: "${{ secrets.TOKEN }}"}
        run: |
          echo $ALL
          echo "${{ github.event_name }} [${{ github.event.inputs.who }}] ${#TOKEN}"
          echo "said=hello ${{ inputs.who }}" >> "$GITHUB_OUTPUT"
"""
CALL = ("--event", "workflow_call")
SECRET = ("--secret", "TOKEN=hidden-7")


def test_a_reusable_workflow_runs_by_itself_with_inputs_secrets_and_outputs(here: Here) -> None:
    here.write(REUSABLE)
    ran = here.run(*CALL, *SECRET, "--input", "WHO=Ada", "--input", "count=3", "--input", "loud=true")
    inputs, event = ran.printed()
    assert json.loads(inputs) == {"who": "Ada", "count": 3, "loud": True, "where": "at main"}
    assert event == "workflow_dispatch [] 8"
    assert ran.end["outputs"] == {"said": "hello Ada/success/3"}
    shown = here.run_plain(*CALL, *SECRET, "--input", "who=Ada").out
    assert "\n  output said  hello Ada/success/2\n" in shown


def test_a_file_that_is_only_to_be_called_needs_no_event(here: Here) -> None:
    here.write(
        "on: {workflow_call: {inputs: {n: {type: number}}}}\n"
        "jobs: {a: {runs-on: x, steps: [{run: 'echo ${{ inputs.n }}'}]}}\n"
    )
    assert here.run("--input", "n=0x10").printed() == ["16"]
    assert here.run().printed() == ["0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*SECRET,), "the input 'who' is required"),
        (("--input", "who=a"), "the secret 'Token' is required"),
        ((*SECRET, "--input", "who=a", "--input", "whom=b"), "unknown input 'whom'"),
        ((*SECRET, "--input", "who=a", "--input", "loud=yes"), "the input 'loud' must be true or false, not 'yes'"),
        ((*SECRET, "--input", "who=a", "--input", "count=few"), "the input 'count' must be a number, not 'few'"),
    ],
)
def test_what_a_reusable_workflow_does_not_take_is_an_error(here: Here, words: tuple[str, ...], message: str) -> None:
    here.write(REUSABLE)
    assert message in here.run(*CALL, *words, code=2).error()


def test_as_for_another_event_it_has_no_inputs(here: Here) -> None:
    here.write(REUSABLE)
    assert here.run().printed()[1] == "push [] 0"
    assert here.run().end["outputs"] == {}
    assert "the event push takes no inputs" in here.run("--input", "who=a", code=2).error()


FAR = """
on:
  workflow_call:
    inputs: {who: {type: string}}
    secrets: {key: {required: true}}
    outputs: {said: {value: "${{ jobs.near.outputs.said }}"}}
jobs:
  near:
    uses: ./.github/workflows/near.yml
    with: {who: "${{ inputs.who }}"}
    secrets: {key: "${{ secrets.key }}"}
"""
NEAR = """
on:
  workflow_call:
    inputs: {who: {type: string}}
    secrets: {key: {}}
    outputs: {said: {value: "${{ jobs.say.outputs.said }}"}}
jobs:
  say:
    runs-on: ubuntu-latest
    outputs: {said: "${{ steps.s.outputs.said }}"}
    steps:
      - id: s
        env: {KEY: "${{ secrets.key }}"}
        run: |
          echo "said=$(echo "$KEY" | tr a-z A-Z) ${{ inputs.who }}" >> "$GITHUB_OUTPUT"
          echo "${{ job.workflow_ref }} for ${{ github.workflow }}"
"""


def test_a_workflow_of_another_repository_is_called_from_a_mirror(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = {".github/workflows/far.yml": FAR, ".github/workflows/near.yml": NEAR}
    commit(tmp_path / "mirror" / "them" / "flows", flows, "v2")
    monkeypatch.setenv("P2PWF_ACTIONS", str(tmp_path / "mirror"))
    here.write(
        """
        name: Caller
        on: push
        jobs:
          call:
            uses: them/flows/.github/workflows/far.yml@v2
            with: {who: Ada}
            secrets: {key: "${{ secrets.ONE }}"}
          show:
            needs: call
            runs-on: x
            steps: [{run: 'echo "${{ needs.call.outputs.said }}"'}]
        """
    )
    ran = here.run("--secret", "ONE=abc")
    assert ran.printed() == ["them/flows/.github/workflows/near.yml@v2 for Caller", "ABC Ada"]
    assert list(ran.end["jobs"]) == ["call/near/say", "call/near", "call", "show"]
    here.write("on: push\njobs: {call: {uses: them/none/.github/workflows/far.yml@v2}}\n")
    monkeypatch.setenv("P2PWF_ACTIONS_URL", f"file://{tmp_path}/nowhere")
    assert "the job 'call' calls 'them/none/.github/workflows/far.yml@v2': cannot fetch" in here.run(code=None).error()
