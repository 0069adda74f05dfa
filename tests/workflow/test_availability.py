"""Where expressions may stand: at each place every context and function is tried, and taken only where it may be."""

from __future__ import annotations

from typing import Final

import pytest

from p2pwf.workflow import parse

RUN = "github inputs vars"
OUTCOMES = f"{RUN} needs"
LEG = f"{OUTCOMES} strategy matrix"
RUNNER = f"{LEG} steps job runner env"
STEP = f"{RUNNER} secrets hashFiles"
STATUS = "success failure always cancelled"

TOP = "jobs: {a: {runs-on: x, steps: [{run: x}]}}\n"
CALL = "on: {workflow_call: %s}\n" + TOP
JOB = "on: push\njobs: {a: {runs-on: x, steps: [{run: x}], %s}}\n"
CALLER = "on: push\njobs: {a: {uses: ./.github/workflows/b.yml, %s}}\n"
ONE_STEP = "on: push\njobs: {a: {runs-on: x, steps: [{%s}]}}\n"

CONTEXTS = f"{RUNNER} secrets jobs"

PLACES: Final = {
    "run-name": ("on: push\nrun-name: E\n" + TOP, RUN),
    "env of the workflow": ("on: push\nenv: {A: E}\n" + TOP, f"{RUN} secrets"),
    "concurrency of the workflow": ("on: push\nconcurrency: E\n" + TOP, RUN),
    "concurrency of the workflow, a part": ("on: push\nconcurrency: {group: E, cancel-in-progress: E}\n" + TOP, RUN),
    "defaults of the workflow": ("on: push\ndefaults: {run: {shell: E}}\n" + TOP, ""),
    "default of an input of a call": (CALL % "{inputs: {a: {type: string, default: E}}}", RUN),
    "output of a call": (CALL % "{outputs: {a: {value: E}}}", f"{RUN} jobs"),
    "name of a job": (JOB % "name: E", LEG),
    "if of a job": (JOB % "if: E", f"{OUTCOMES} {STATUS}"),
    "strategy": (JOB % "strategy: E", OUTCOMES),
    "matrix": (JOB % "strategy: {matrix: E}", OUTCOMES),
    "max-parallel": (JOB % "strategy: {max-parallel: E, matrix: {a: [1]}}", OUTCOMES),
    "runs-on": ("on: push\njobs: {a: {runs-on: E, steps: [{run: x}]}}\n", LEG),
    "labels of runs-on": ("on: push\njobs: {a: {runs-on: {labels: [E]}, steps: [{run: x}]}}\n", LEG),
    "env of a job": (JOB % "env: {A: E}", f"{LEG} secrets"),
    "environment": (JOB % "environment: E", LEG),
    "url of an environment": (JOB % "environment: {name: x, url: E}", RUNNER),
    "concurrency of a job": (JOB % "concurrency: E", LEG),
    "defaults of a job": (JOB % "defaults: {run: {working-directory: E}}", f"{LEG} env"),
    "timeout of a job": (JOB % "timeout-minutes: E", LEG),
    "continue-on-error of a job": (JOB % "continue-on-error: E", LEG),
    "outputs of a job": (JOB % "outputs: {a: E}", f"{RUNNER} secrets"),
    "needs": (JOB % "needs: E", ""),
    "container": (JOB % "container: E", LEG),
    "image of a container": (JOB % "container: {image: E}", LEG),
    "env of a container": (JOB % "container: {image: x, env: {A: E}}", f"{RUNNER} secrets"),
    "credentials of a container": (
        JOB % "container: {image: x, credentials: {username: u, password: E}}",
        f"{LEG} secrets env",
    ),
    "services": (JOB % "services: {a: {image: E}}", LEG),
    "what a call is given": (CALLER % "with: {a: E}", LEG),
    "secrets that a call is given": (CALLER % "secrets: {a: E}", f"{LEG} secrets"),
    "workflow that is called": ("on: push\njobs: {a: {uses: E}}\n", ""),
    "id of a step": (ONE_STEP % "run: x, id: E", ""),
    "if of a step": (ONE_STEP % "run: x, if: E", f"{RUNNER} hashFiles {STATUS}"),
    "action of a step": (ONE_STEP % "uses: E", ""),
    "shell of a step": (ONE_STEP % "run: x, shell: E", ""),
    **{
        f"{key} of a step": (ONE_STEP % f"run: x, {key}: E", STEP)
        for key in ("name", "working-directory", "continue-on-error", "timeout-minutes")
    },
    "run of a step": (ONE_STEP % "run: E", STEP),
    "env of a step": (ONE_STEP % "run: x, env: {A: E}", STEP),
    "with of a step": (ONE_STEP % "uses: a/b@v1, with: {a: E}", STEP),
}
"""A file with E for an expression, and the contexts and functions that it may use there."""

TRIED: Final = {
    **{name: f"{name}.a" for name in CONTEXTS.split()},
    **{name: f"{name}()" for name in STATUS.split()},
    "hashFiles": "hashFiles('a')",
}
WRONG = {"expression-unavailable", "expression-not-allowed"}


@pytest.mark.parametrize("place", list(PLACES))
def test_an_expression_may_use_what_its_place_allows_and_nothing_else(place: str) -> None:
    text, allowed = PLACES[place]
    taken = set()
    for name, expression in TRIED.items():
        value = f'"${{{{ {expression} }}}}"'
        file = text.replace(": E", f": {value}").replace("[E]", f"[{value}]")
        found = [one for one in parse(file).diagnostics if one.code in WRONG]
        if not found:
            taken.add(name)
        for one in found:
            line = file.splitlines()[one.line - 1]
            assert line[one.column - 1 :].startswith((expression, '"${{')), "the place is that of the name"
    assert taken == set(allowed.split())
