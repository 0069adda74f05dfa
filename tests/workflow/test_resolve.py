"""One leg, ready to run: what its steps see, each thing at its moment."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pytest

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow import ResolvedJob, RunFacts, Status, StepScope, parse, resolve_job

FACTS = RunFacts(
    event="pull_request",
    payload={"pull_request": {"head": {"ref": "topic"}, "base": {"ref": "main"}}, "repository": {"id": 42}},
    ref="refs/pull/7/merge",
    sha="a" * 40,
    repository="octo/repo",
    actor="mona",
    inputs={"level": 3, "dry": False},
    vars={"STAGE": "test"},
    workflow_name="CI",
    workflow_path=".github/workflows/ci.yml",
    run_id="99",
    run_number=5,
    attempt=2,
)


def resolved(job: str, head: str = "", **how: object) -> ResolvedJob:
    text = "on: push\n" + textwrap.dedent(head) + "jobs:\n  j:\n" + textwrap.indent(textwrap.dedent(job), "    ")
    flow = parse(text).require()
    secrets = {"TOKEN": "s3cret"}
    return resolve_job(flow, "j", FACTS, {"up": {"result": "success", "outputs": {"o": "v"}}}, secrets=secrets, **how)  # type: ignore[arg-type]  # tests pass what they mean


def test_job_environment_lies_over_that_of_the_workflow_and_sees_secrets_and_matrix() -> None:
    job = resolved(
        """
        runs-on: x
        env: {B: "${{ matrix.v }}-${{ secrets.TOKEN }}", C: 1.50}
        strategy: {matrix: {v: [a, b]}}
        steps: [{run: x}]
        """,
        "env: {A: '${{ vars.STAGE }}', B: low}\n",
        leg_index=1,
    )
    assert job.env() == {"A": "test", "B": "b-s3cret", "C": "1.5"}
    assert (job.name, job.index, job.total) == ("j (b)", 1, 2)


def test_strategy_context_counts_the_legs() -> None:
    job = resolved(
        """
        runs-on: x
        strategy: {fail-fast: false, matrix: {v: [a, b, c]}}
        steps:
          - run: ${{ join(strategy.*, ' ') }}
        """,
        leg_index=2,
    )
    assert job.step_script(job.steps[0], StepScope()) == "false 2 3 3"


def test_recorded_legs_are_taken_as_they_are() -> None:
    legs = [{"name": "j (one)", "matrix": {"v": 1}, "labels": [], "continue_on_error": False}]
    job = resolved("runs-on: x\nsteps: [{run: 'echo ${{ matrix.v }}'}]\n", legs=legs)
    assert job.step_script(job.steps[0], StepScope()) == "echo 1"


def test_steps_see_what_ran_before_them() -> None:
    job = resolved(
        """
        runs-on: x
        outputs: {out: "${{ steps.one.outputs.x }}", none: "${{ steps.one.outputs.y }}"}
        steps:
          - {id: one, run: x}
          - run: ${{ steps.one.outputs.x }} ${{ steps.one.conclusion }} ${{ env.Set }} ${{ env.SET }} ${{ job.status }}
            env: {E: "${{ runner.os }}"}
        """
    )
    at = StepScope(
        steps={"one": {"outputs": {"x": "1"}, "outcome": "failure", "conclusion": "success"}},
        job={"status": "success"},
        runner={"os": "Linux"},
        env={"Set": "yes"},
    )
    assert job.step_script(job.steps[1], at) == "1 success yes  success"
    assert job.step_env(job.steps[1], at) == {"E": "Linux"}
    assert job.outputs(at) == {"out": "1", "none": ""}


@pytest.mark.parametrize("status", ["success", "failure", "cancelled"])
@pytest.mark.parametrize(
    ("condition", "runs_when"),
    [
        (None, {"success"}),
        ("steps.x.outcome != 'failure'", {"success"}),
        ("failure()", {"failure"}),
        ("always()", {"success", "failure", "cancelled"}),
        ("cancelled()", {"cancelled"}),
        ("success() || failure()", {"success", "failure"}),
        ("'${{ 1 == 2 }}'", set()),
    ],
)
def test_step_runs_when_its_condition_and_the_status_say_so(
    condition: str | None, runs_when: set[str], status: Status
) -> None:
    clause = f"if: {condition}, " if condition else ""
    job = resolved(f"runs-on: x\nsteps: [{{{clause}run: x}}]\n")
    assert job.step_runs(job.steps[0], StepScope(status=status)) is (status in runs_when)


def test_hash_files_is_the_runners_to_answer() -> None:
    asked: list[Sequence[str]] = []

    def hash_files(patterns: Sequence[str]) -> str:
        asked.append(patterns)
        return "abc"

    job = resolved("runs-on: x\nsteps: [{run: \"${{ hashFiles('a', matrix.none, 3) }}\"}]\n")
    assert job.step_script(job.steps[0], StepScope(hash_files=hash_files)) == "abc"
    assert asked == [["a", "", "3"]]


def test_shell_and_folder_come_from_the_step_then_the_job_then_the_workflow() -> None:
    head = "defaults: {run: {shell: sh, working-directory: top}}\n"
    job = resolved(
        """
        runs-on: x
        defaults: {run: {working-directory: "${{ env.SUB }}"}}
        steps:
          - run: a
          - {run: b, shell: python, working-directory: "${{ github.workspace }}/w"}
        """,
        head,
    )
    at = StepScope(env={"SUB": "sub"}, github={"workspace": "/space"})
    first, second = job.steps
    assert (job.step_shell(first, at), job.step_working_directory(first, at)) == ("sh", "sub")
    assert (job.step_shell(second, at), job.step_working_directory(second, at)) == ("python", "/space/w")


def test_what_the_runner_knows_lies_over_the_github_context() -> None:
    job = resolved("runs-on: x\nsteps: [{run: '${{ github.workspace }} ${{ github.actor }} ${{ github.sha }}'}]\n")
    at = StepScope(github={"workspace": "/w", "actor": "runner"})
    assert job.step_script(job.steps[0], at) == f"/w runner {'a' * 40}"


def test_times_and_flags_may_be_expressions() -> None:
    job = resolved(
        """
        runs-on: x
        timeout-minutes: ${{ inputs.level }}
        continue-on-error: ${{ inputs.dry }}
        steps:
          - {run: a, timeout-minutes: 0.5, continue-on-error: "${{ env.A == 'b' }}"}
          - {run: b}
        """
    )
    assert job.timeout_minutes() == 3
    assert not job.continue_on_error()
    at = StepScope(env={"A": "B"})
    assert job.step_timeout_minutes(job.steps[0], at) == 0.5
    assert job.step_continue_on_error(job.steps[0], at)
    assert job.step_timeout_minutes(job.steps[1], at) is None
    assert resolved("runs-on: x\nsteps: [{run: a}]\n").timeout_minutes() == 360


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{run: a, timeout-minutes: '${{ github.actor }}'}", "Unexpected value 'mona'"),
        ("{run: a, continue-on-error: '${{ 1 }}'}", "Unexpected value '1'"),
        ("{run: a, env: {A: '${{ fromJSON(github.actor) }}'}}", "Error parsing fromJson"),
        ("{run: a, env: '${{ github.actor }}'}", "Unexpected value 'mona'"),
        ("{run: a, env: {A: '${{ github }}'}}", "not a collection"),
    ],
)
def test_value_of_the_wrong_kind_is_an_error_with_its_place(step: str, message: str) -> None:
    job = resolved(f"runs-on: x\nsteps:\n  - {step}\n")

    def evaluate_all() -> None:
        job.step_env(job.steps[0], StepScope())
        job.step_timeout_minutes(job.steps[0], StepScope())
        job.step_continue_on_error(job.steps[0], StepScope())

    with pytest.raises(InvalidWorkflow, match=message) as caught:
        evaluate_all()
    assert caught.value.message.startswith("line 6, column")


def test_mappings_can_be_inserted_and_keys_computed() -> None:
    job = resolved(
        """
        runs-on: x
        env:
          A: first
          ${{ insert }}: ${{ fromJSON('{"B":"inserted","C":true}') }}
          ${{ format('D_{0}', inputs.level) }}: computed
        steps: [{run: x, env: "${{ fromJSON('{\\"whole\\": 1}') }}"}]
        """
    )
    assert job.env() == {"A": "first", "B": "inserted", "C": "true", "D_3": "computed"}
    assert job.step_env(job.steps[0], StepScope()) == {"whole": "1"}


def test_steps_are_named_as_github_names_them() -> None:
    job = resolved(
        """
        runs-on: x
        steps:
          - {name: "hello ${{ github.actor }}", run: x}
          - run: |

              echo one
              echo two
          - uses: actions/checkout@v4
        """
    )
    assert [job.step_name(step, StepScope()) for step in job.steps] == [
        "hello mona",
        "Run echo one",
        "Run actions/checkout@v4",
    ]


def test_steps_without_an_id_get_the_ids_github_makes() -> None:
    job = resolved(
        """
        runs-on: x
        steps:
          - {run: a}
          - {run: b}
          - {id: given, run: c}
          - uses: actions/checkout@v4
          - uses: actions/checkout@v3
          - uses: ./local
        """
    )
    assert [step.id for step in job.steps] == [
        "__run",
        "__run_2",
        "given",
        "__actions_checkout",
        "__actions_checkout_2",
        "__self",
    ]


def test_facts_give_the_github_context_and_the_default_variables() -> None:
    github = FACTS.github()
    assert github["ref_name"] == "7/merge"
    assert github["head_ref"] == "topic"
    assert github["base_ref"] == "main"
    assert github["repository_owner"] == "octo"
    assert github["repository_id"] == "42"
    assert github["workflow_ref"] == "octo/repo/.github/workflows/ci.yml@refs/pull/7/merge"
    variables = FACTS.environment()
    assert variables["CI"] == variables["GITHUB_ACTIONS"] == "true"
    assert variables["GITHUB_RUN_ATTEMPT"] == "2"
    assert variables["GITHUB_EVENT_NAME"] == "pull_request"
    assert variables["GITHUB_REF_TYPE"] == "branch"
    assert variables["GITHUB_REF_PROTECTED"] == "false"
    assert variables["GITHUB_WORKFLOW"] == "CI"
    assert "GITHUB_EVENT" not in variables
    assert RunFacts(ref="refs/tags/v1").ref_type == "tag"


def test_unknown_job_and_leg_are_told_apart_from_bad_workflows() -> None:
    with pytest.raises(IndexError):
        resolved("runs-on: x\nsteps: [{run: x}]\n", leg_index=1)
    with pytest.raises(KeyError):
        resolve_job(parse("on: push\njobs: {a: {runs-on: x, steps: [{run: x}]}}").require(), "nope", FACTS, {})
