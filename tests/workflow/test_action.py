"""Action files: what is accepted, and what is said of the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow.action import ALWAYS, CompositeRuns, DockerRuns, NodeRuns, parse_action
from p2pwf.workflow.templates import Scope

COMPOSITE = """
name: A
author: somebody
branding: {icon: x}
inputs:
  Level: {description: how, required: true, default: '${{ runner.os }}-3'}
  plain: {}
  flag: {default: true}
outputs:
  told: {description: it, value: '${{ steps.a.outputs.x }}'}
  none: {description: without a value}
runs:
  using: Composite
  steps:
    - {id: a, run: x, shell: bash, env: {A: '${{ inputs.level }}'}, continue-on-error: true, working-directory: b}
    - {uses: actions/cache@v4, with: {key: '${{ hashFiles(1) }}'}, if: always()}
"""


def test_a_composite_action_is_read() -> None:
    action = parse_action(COMPOSITE, "a/action.yml").require()
    assert (action.name, action.path) == ("A", "a/action.yml")
    assert isinstance(action.runs, CompositeRuns)
    assert [step.id for step in action.runs.steps] == ["a", "__actions_cache"]
    assert list(action.outputs) == ["told"]


def test_inputs_have_defaults_that_are_evaluated_and_names_without_case() -> None:
    action = parse_action(COMPOSITE).require()
    scope = Scope({"runner": {"os": "Linux"}})
    assert action.with_defaults({}, scope) == {"Level": "Linux-3", "plain": "", "flag": "true"}
    assert action.with_defaults({"LEVEL": "1"}, scope) == {"LEVEL": "1", "plain": "", "flag": "true"}
    assert action.unexpected({"LEVEL": "", "args": "", "x": ""}) == ["args", "x"]


def test_outputs_are_evaluated_from_the_steps() -> None:
    action = parse_action(COMPOSITE).require()
    assert action.evaluate_outputs(Scope({"steps": {"a": {"outputs": {"x": "1"}}}})) == {"told": "1"}


@pytest.mark.parametrize("using", ["node12", "node16", "node20", "node24", "NODE20"])
def test_a_javascript_action_is_read_with_its_stages(using: str) -> None:
    runs = parse_action(f"runs: {{using: {using}, main: m.js, post: p.js, post-if: success()}}").require().runs
    assert isinstance(runs, NodeRuns)
    assert (runs.using, runs.main, runs.stages.pre, runs.stages.post) == (using.lower(), "m.js", None, "p.js")
    assert runs.stages.pre_if is ALWAYS
    assert runs.stages.post_if.source == "success()"


def test_a_container_action_is_read_and_its_arguments_evaluated() -> None:
    text = """
    runs:
      using: docker
      image: Dockerfile
      entrypoint: /go
      args: ['${{ inputs.a }}', --n=3, 4, '']
      env: {E: '${{ inputs.a }}!'}
      pre-entrypoint: /pre
      pre-if: runner.os == 'Linux'
    """
    runs = parse_action(text).require().runs
    assert isinstance(runs, DockerRuns)
    assert runs.arguments({"a": "x y"}) == ["x y", "--n=3", "4", ""]
    assert runs.environment({"a": "x"}) == {"E": "x!"}
    assert (runs.entrypoint, runs.stages.pre, runs.stages.post) == ("/go", "/pre", None)
    assert parse_action(text).require().unexpected({"ARGS": "", "entryPoint": ""}) == []


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", (1, 1), "The file is empty"),
        ("[]", (1, 1), "A sequence was not expected"),
        ("name: x", (1, 1), "Required property is missing: runs"),
        ("runs: {using: node99, main: x}", (1, 15), "'using: node99' is not supported"),
        ("runs: {using: node20, image: x}", (1, 7), "Required property is missing: main"),
        ("runs: {using: docker, main: x}", (1, 7), "Required property is missing: image"),
        ("runs: {using: composite, main: x}", (1, 7), "Required property is missing: steps"),
        ("runs: {main: x}", (1, 7), "Required property is missing: using"),
        ("runs: {using: composite, steps: [{run: x}]}", (1, 34), "Required property is missing: shell"),
        ("runs: {using: composite, steps: [{run: x, shell: b, timeout-minutes: 3}]}", (1, 53), "timeout-minutes"),
        ("runs: {using: composite, steps: [{run: x, shell: b, background: true}]}", (1, 53), "background"),
        ("runs: {using: composite, steps: [{run: '${{ secrets.x }}', shell: b}]}", (1, 45), "secrets"),
        ("runs: {using: composite, steps: [{run: '${{ needs.x }}', shell: b}]}", (1, 45), "needs"),
        ("runs: {using: docker, image: x, args: ['${{ github.x }}']}", (1, 45), "github"),
        ("inputs: {a: {default: '${{ steps.x }}'}}\nruns: {using: node20, main: x}", (1, 28), "steps"),
        ("runs: {using: node20, main: x, post-if: 'a ='}", (1, 43), "Unexpected symbol"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, place: tuple[int, int], said: str) -> None:
    parsed = parse_action(text, "x/action.yml")
    assert parsed.action is None
    found = [d for d in parsed.diagnostics if said in d.message]
    assert found, parsed.diagnostics
    assert (found[0].line, found[0].column) == place
    with pytest.raises(InvalidWorkflow, match=r"x/action\.yml:"):
        parsed.require()


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_any_input_ends_in_diagnostics(data: bytes | str) -> None:
    parsed = parse_action(data)
    assert (parsed.action is None) == any(found.severity == "error" for found in parsed.diagnostics)
