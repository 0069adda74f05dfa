from __future__ import annotations

import json

import pytest

from p2pwf.runner.environment import base_environment
from p2pwf.workflow import Value
from tests.runner.kit import Bench


async def test_a_step_sees_nothing_of_the_nodes_own_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """T47: a node may hold tokens of its operator."""
    monkeypatch.setenv("SECRET_OF_THE_NODE", "x")
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    ran = await bench.run("- run: env")
    names = {line.partition("=")[0] for line in ran.text().splitlines()}
    assert {"PATH", "HOME", "CI", "GITHUB_ACTIONS"} <= names
    assert "SECRET_OF_THE_NODE" not in names
    allowed = ("GITHUB_", "RUNNER_", "P2PWF_", "LC_")
    rest = {name for name in names if not name.startswith(allowed)}
    kept = base_environment(dict.fromkeys(names, "x"))
    assert rest - set(kept) <= {"CI", "PWD", "OLDPWD", "SHLVL", "_", "LINES", "COLUMNS"}


async def test_the_standard_variables_say_what_runs_where(bench: Bench) -> None:
    ran = await bench.run(
        "- {id: look, run: env}",
        attempt=4,
        runner_name="alpha",
        facts={
            "event": "push",
            "ref": "refs/heads/topic",
            "repository": "me/tool",
            "actor": "ann",
            "workflow_name": "CI",
            "payload": {"a": [1, None]},
        },
    )
    seen = dict(line.partition("=")[::2] for line in ran.text().splitlines())
    expected = {
        "GITHUB_RUN_ATTEMPT": "4",
        "GITHUB_RUN_ID": "bafyreitestrun",
        "GITHUB_JOB": "j",
        "GITHUB_ACTION": "look",
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_REF": "refs/heads/topic",
        "GITHUB_REF_NAME": "topic",
        "GITHUB_REPOSITORY": "me/tool",
        "GITHUB_REPOSITORY_OWNER": "me",
        "GITHUB_ACTOR": "ann",
        "GITHUB_WORKFLOW": "CI",
        "GITHUB_WORKFLOW_REF": "me/tool/.github/workflows/test.yml@refs/heads/topic",
        "RUNNER_NAME": "alpha",
        "RUNNER_ENVIRONMENT": "self-hosted",
        "RUNNER_OS": "Linux",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert seen["GITHUB_WORKSPACE"].endswith("/tool/tool")


async def test_no_variable_of_githubs_is_missing(bench: Bench) -> None:
    """The names that GitHub's documentation of default variables lists, and that its runner sets."""
    ran = await bench.run("- run: env")
    names = {line.partition("=")[0] for line in ran.text().splitlines()}
    github = """
        ACTION ACTION_REF ACTION_REPOSITORY ACTIONS ACTOR ACTOR_ID API_URL BASE_REF ENV EVENT_NAME EVENT_PATH
        GRAPHQL_URL HEAD_REF JOB OUTPUT PATH REF REF_NAME REF_PROTECTED REF_TYPE REPOSITORY REPOSITORY_ID
        REPOSITORY_OWNER REPOSITORY_OWNER_ID RETENTION_DAYS RUN_ATTEMPT RUN_ID RUN_NUMBER SERVER_URL SHA STATE
        STEP_SUMMARY TRIGGERING_ACTOR WORKFLOW WORKFLOW_REF WORKFLOW_SHA WORKSPACE
    """
    runner = "ARCH ENVIRONMENT NAME OS TEMP TOOL_CACHE WORKSPACE"
    expected = {"CI", *(f"GITHUB_{name}" for name in github.split()), *(f"RUNNER_{name}" for name in runner.split())}
    assert expected <= names
    ran = await bench.run("- run: echo $RUNNER_DEBUG ${{ runner.debug }}", secrets={"ACTIONS_STEP_DEBUG": "true"})
    assert ran.text() == "1 1"


async def test_there_is_no_token(bench: Bench) -> None:
    step = '- run: echo "[${{ github.token }}] [${{ secrets.GITHUB_TOKEN }}] [${GITHUB_TOKEN-unset}]"'
    ran = await bench.run(step, top="permissions: write-all")
    assert ran.text() == "[] [] [unset]"


async def test_the_event_file_holds_the_payload(bench: Bench) -> None:
    payload: dict[str, Value] = {"inputs": {"level": "high"}, "n": 3, "none": None}
    ran = await bench.run("- run: cat $GITHUB_EVENT_PATH", facts={"payload": payload})
    assert json.loads(ran.text()) == payload


@pytest.mark.parametrize("repository", ["a/..", "a/.", "", "x/", "a/" + "n" * 300])
async def test_a_repositorys_name_leads_nowhere(bench: Bench, repository: str) -> None:
    ran = await bench.run("- run: pwd", facts={"repository": repository})
    assert ran.text().startswith(f"{bench.root}/work/")
    assert ran.result.outcome == "success"


async def test_an_environment_no_process_can_have_fails_the_step(bench: Bench) -> None:
    ran = await bench.run('- {env: {"A=B": c}, run: "true"}\n- {if: always(), run: echo on}')
    assert ran.outcomes() == ["failure", "success"]


async def test_an_environment_too_large_for_the_kernel_fails_the_step(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: echo "A=$(head -c 200000 /dev/zero | tr '\\0' a)" >> $GITHUB_ENV
        - run: 'true'
        - {if: always(), run: 'true', env: {A: x}}
        """
    )
    assert ran.outcomes() == ["success", "failure", "success"]
    assert "Process completed with exit code 126." in [a.message for a in ran.result.annotations]
