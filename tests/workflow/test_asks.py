"""Which secrets and variables a job asks for, read from its file and from those that call it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow import Flow, RunFacts, parse
from p2pwf.workflow.asks import DEBUG, LegOf, environment_of, secrets_of, unset_secrets, variables_of

JOB = "on: push\n{top}\njobs: {{j: {{runs-on: x, {job} steps: [{step}]}}}}"


def flow(text: str, called: Mapping[str, str] | None = None, **facts: Any) -> Flow:
    return Flow(parse(text, "main.yml").require(), RunFacts(**facts), called)


def asked(step: str = "{run: x}", job: str = "", top: str = "") -> set[str] | None:
    found, own = secrets_of(flow(JOB.format(step=step, job=job, top=top)), "j")
    assert found == own
    return None if found is None else set(found)


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("{run: 'echo ${{ secrets.A }} ${{ secrets.b }} ${{ github.token }}'}", {"A", "B"}),
        ("{run: x, env: {K: \"${{ secrets['c_1'] || secrets.D }}\"}}", {"C_1", "D"}),
        ("{uses: a/b@v1, with: {token: \"x${{ format('{0}', secrets.E) }}\"}}", {"E"}),
        ("{name: '${{ secrets.F }}', run: x, if: vars.secrets == 'secrets.G'}", {"F"}),
        ("{parallel: [{run: '${{ secrets.H }}'}]}", {"H"}),
        ("{run: 'secrets.X ${ secrets.Y }'}", set()),
        ("{run: '${{ toJSON(secrets) }}'}", None),
        ("{run: '${{ join(secrets.*) }}'}", None),
        ("{run: '${{ secrets[matrix.name] }}'}", None),
        ("{run: \"${{ secrets[format('{0}', secrets.A)] }}\"}", None),
    ],
)
def test_a_step_names_secrets(step: str, names: set[str] | None) -> None:
    assert asked(step) == names


def test_a_job_names_those_of_its_env_its_containers_and_its_file_and_not_those_of_other_jobs() -> None:
    image = "container: {image: i, credentials: {username: me, password: '${{ secrets.C }}'}},"
    assert asked(job=image + " env: {X: '${{ secrets.J }}'},", top="env: {Y: '${{ secrets.TOP }}'}") == {
        "C",
        "J",
        "TOP",
    }
    two = "on: push\njobs: {a: {runs-on: x, steps: [{run: '${{ secrets.A }}'}]}, b: {runs-on: x, steps: [{run: x}]}}"
    assert [secrets_of(flow(two), job)[0] for job in "ab"] == [{"A"}, frozenset()]


CALLED = """
on: {workflow_call: {secrets: {token: {}, other: {}}}}
jobs: {in: {runs-on: x, environment: prod, steps: [{run: '${{ secrets.token }} ${{ secrets.mine }}'}]}}
"""


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("secrets: inherit", {"TOKEN", "MINE"}),
        (
            "secrets: {token: '${{ secrets.DEEP }}', other: '${{ secrets.NOT_NAMED_BELOW }}'}",
            {"DEEP", "NOT_NAMED_BELOW"},
        ),
        ("secrets: {token: '${{ toJSON(secrets) }}'}", None),
        ("with: {}", set()),
    ],
)
def test_a_called_job_asks_for_what_its_caller_hands_on(given: str, names: set[str] | None) -> None:
    made = flow(f"on: push\njobs: {{c: {{uses: ./called.yml, {given}}}}}", {"called.yml": CALLED})
    of_the_run, own = secrets_of(made, "c/in")
    assert own == frozenset({"TOKEN", "MINE"})
    assert (of_the_run if of_the_run is None else set(of_the_run)) == names
    assert environment_of(made, "c/in", {}, LegOf()) == "prod"


def test_an_environment_may_depend_on_the_leg_and_on_other_jobs() -> None:
    text = """
on: push
jobs:
  up: {runs-on: x, outputs: {o: x}, steps: [{run: x}]}
  j:
    needs: up
    runs-on: x
    strategy: {matrix: {n: [a, b]}}
    environment:
      name: ' ${{ needs.up.outputs.o }}-${{ matrix.n }}${{ strategy.job-total }}'
      url: http://${{ steps.x }}
    steps: [{run: x}]
  bad: {runs-on: x, environment: '${{ fromJSON(github.ref) }}', steps: [{run: x}]}
"""
    made = flow(text)
    needs = {"up": {"result": "success", "outputs": {"o": "Prod"}}}
    assert environment_of(made, "j", needs, LegOf(1, 2, {"n": "b"})) == "prod-b2"
    assert environment_of(made, "up", {}, LegOf()) == ""
    with pytest.raises(InvalidWorkflow):
        environment_of(made, "bad", {}, LegOf())


def test_a_run_keeps_the_variables_that_its_files_name() -> None:
    text = """
run-name: ${{ vars.TITLE }}
on: push
concurrency: ${{ vars.GROUP }}
jobs:
  j: {runs-on: '${{ vars.WHERE }}', if: "vars['on'] != ''", steps: [{run: x, if: '${{ vars.step }}'}]}
  c: {uses: ./called.yml, with: {}}
"""
    called = "on: {workflow_call: {inputs: {i: {type: string, default: '${{ vars.DEEP }}'}}}}\n"
    called += "jobs: {k: {runs-on: x, steps: [{run: x}]}}"
    made = flow(text, {"called.yml": called}, vars={"WHERE": "x"})
    assert set(variables_of(made) or ()) == {"TITLE", "GROUP", "WHERE", "ON", "STEP", "DEEP", DEBUG}
    assert variables_of(flow(JOB.format(step="{run: '${{ toJSON(vars) }}'}", job="", top=""))) is None


TWO = """
on: push
jobs:
  a: {runs-on: x, steps: [{run: "${{ secrets.SET }} ${{ secrets.lost }} ${{ secrets.GITHUB_TOKEN }}"}]}
  b: {runs-on: x, environment: "${{ vars.e }}", steps: [{run: "${{ secrets.LOST }} ${{ secrets.OF_PROD }}"}]}
  c: {runs-on: x, steps: [{run: "${{ secrets.OF_PROD }} ${{ toJSON(secrets) }}"}]}
  d: {runs-on: x, steps: [{run: "${{ secrets.OF_PROD }}"}]}
"""


def test_a_secret_that_is_named_and_not_set_is_told_once_with_its_job() -> None:
    known = [(None, "SET"), ("prod", "OF_PROD")]
    found = [(one.line, one.severity, one.message, one.hint) for one in unset_secrets(flow(TWO), known)]
    assert found == [
        (
            *(4, "warning", "the secret LOST, which the job 'a' names, is not set: it will be empty"),
            "p2pwf secret set LOST",
        ),
        (
            *(7, "warning", "the secret OF_PROD is set for an environment, and the job 'd' names none"),
            "give the job that `environment`, or set the secret without --environment",
        ),
    ]


def test_of_a_called_file_the_place_is_that_of_the_call() -> None:
    text = "on: push\njobs:\n  call: {uses: ./in.yml, secrets: {token: '${{ secrets.LOST }}'}}\n"
    (found,) = unset_secrets(flow(text, {"in.yml": CALLED}), [])
    assert (found.line, found.message) == (
        3,
        "the secret LOST, which the job 'call/in' names, is not set: it will be empty",
    )
