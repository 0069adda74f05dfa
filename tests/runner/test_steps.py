from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.runner.kit import Bench


async def test_a_step_sees_env_of_step_over_job_over_workflow(bench: Bench) -> None:
    ran = await bench.run(
        """
        - env: {A: step}
          run: echo "$A $B $C"
        - run: echo "$A $B $C"
        """,
        top="env: {A: workflow, B: workflow, C: workflow}",
        job="env: {A: job, B: job}",
    )
    assert ran.text() == "step job workflow\njob job workflow"


async def test_the_default_shell_stops_at_an_error_but_not_in_a_pipe(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: |
            false | true
            echo reached
            false
            echo not reached
        """
    )
    assert ran.text() == "reached"
    assert ran.result.outcome == "failure"
    assert "##[error]Process completed with exit code 1." in ran.said()


async def test_without_bash_the_default_shell_is_sh(bench: Bench) -> None:
    programs = bench.root / "programs"
    programs.mkdir()
    (programs / "sh").symlink_to("/bin/sh")
    ran = await bench.run("- run: 'echo $- in ${0##*.}; false; echo no'", base={"PATH": str(programs)})
    assert ran.text() == "e in sh"
    assert ran.outcomes() == ["failure"]
    ran = await bench.run("- {shell: bash, run: 'true'}", base={"PATH": str(programs)})
    assert "bash: command not found" in ran.messages()[0]


async def test_bash_by_name_fails_in_a_pipe_as_well(bench: Bench) -> None:
    ran = await bench.run("- {shell: bash, run: 'false | true'}")
    assert ran.outcomes() == ["failure"]


async def test_the_exit_code_is_shown_and_annotated(bench: Bench) -> None:
    ran = await bench.run("- run: exit 42")
    assert [a.message for a in ran.result.annotations] == ["Process completed with exit code 42."]


async def test_a_step_ended_by_a_signal_shows_128_and_its_number(bench: Bench) -> None:
    ran = await bench.run("- run: kill -9 $$")
    assert ran.result.annotations[0].message == "Process completed with exit code 137."


async def test_shells_sh_python_and_templates_run_their_scripts(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {shell: sh, run: 'echo sh'}
        - {shell: python, run: 'import sys; print("python", sys.argv[0].endswith(".py"))'}
        - {shell: 'cat -n {0}', run: 'shown'}
        """
    )
    assert ran.text(1) == "sh"
    assert ran.text(2) == "python True"
    assert ran.text(3).split() == ["1", "shown"]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
async def test_the_node_shell_runs_javascript(bench: Bench) -> None:
    ran = await bench.run("- {shell: node, run: 'console.log(6 * 7)'}")
    assert ran.text() == "42"


async def test_pwsh_is_called_as_github_calls_it(bench: Bench, tmp_path: Path) -> None:
    """No PowerShell runs here: a stand-in prints its arguments and the script that it was given."""
    program = tmp_path / "pwsh"
    program.write_text("""#!/bin/bash
        path="${2#. }"; path="${path//\\'/}"
        echo "$1"; echo "${path##*.}"; cat "$path"
    """)
    program.chmod(0o755)
    ran = await bench.run("- {shell: pwsh, run: Get-Date}", base={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert ran.text().splitlines() == [
        *("-command", "ps1", "$ErrorActionPreference = 'stop'", "Get-Date"),
        "if ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) { exit $LASTEXITCODE }",
    ]


async def test_an_unknown_shell_fails_the_step_with_a_hint(bench: Bench) -> None:
    ran = await bench.run("- {shell: nosuchshell, run: 'true'}")
    assert ran.outcomes() == ["failure"]
    assert "Invalid shell option 'nosuchshell'" in ran.result.annotations[0].message


async def test_the_name_of_a_shell_is_that_of_a_program_so_case_counts(bench: Bench, tmp_path: Path) -> None:
    ran = await bench.run("- {shell: BASH, run: 'true'}")
    assert "BASH: command not found" in ran.result.annotations[0].message
    (tmp_path / "BASH").symlink_to(shutil.which("bash") or "")
    ran = await bench.run(
        "- {shell: BASH, run: 'echo $0; false | true; echo on'}", base={"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    )
    assert ran.outcomes() == ["failure"]  # it is called with what is known of bash: pipefail
    assert ran.text().endswith(".sh")


async def test_a_template_of_a_known_shell_keeps_its_suffix(bench: Bench) -> None:
    ran = await bench.run("- {shell: 'python -u {0}', run: 'import sys; print(sys.argv[0][-3:])'}")
    assert ran.text() == ".py"


async def test_arguments_of_a_shell_need_a_place_for_the_script(bench: Bench) -> None:
    ran = await bench.run("- {shell: bash -x, run: 'true'}")
    assert "Invalid shell option 'bash -x'" in ran.result.annotations[0].message


async def test_a_missing_program_fails_the_step_and_says_which(bench: Bench) -> None:
    ran = await bench.run("- {shell: 'nosuchprogram {0}', run: 'true'}")
    assert "nosuchprogram: command not found" in ran.result.annotations[0].message


async def test_working_directory_is_relative_to_the_workspace(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {run: 'mkdir -p a/b', working-directory: .}
        - {run: 'pwd; echo "$GITHUB_WORKSPACE"', working-directory: a/b}
        - {run: 'pwd'}
        """,
        job="defaults: {run: {working-directory: a}}",
    )
    inner, workspace = ran.text(2).splitlines()
    assert inner == f"{workspace}/a/b"
    assert ran.text(3) == f"{workspace}/a"


async def test_a_missing_working_directory_fails_the_step(bench: Bench) -> None:
    ran = await bench.run("- {run: 'true', working-directory: nowhere}")
    assert ran.outcomes() == ["failure"]
    assert "the working directory is not there" in ran.result.annotations[0].message


async def test_a_failure_skips_what_follows_but_not_failure_and_always(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {if: failure(), run: 'true'}
        - run: exit 1
        - run: echo never
        - {if: failure(), run: 'echo on failure'}
        - {if: always(), run: 'echo always'}
        - {if: cancelled(), run: 'echo never'}
        - {if: success(), run: 'echo never'}
        - {if: "failure() && false", run: 'echo never'}
        """
    )
    assert ran.outcomes() == ["skipped", "failure", "skipped", "success", "success", "skipped", "skipped", "skipped"]
    assert ran.text() == "on failure\nalways"
    assert ran.result.conclusion == "failure"


async def test_continue_on_error_keeps_the_outcome_and_changes_the_conclusion(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {id: f, continue-on-error: true, run: 'exit 1'}
        - run: echo "${{ steps.f.outcome }} ${{ steps.f.conclusion }}"
        """
    )
    assert ran.text() == "failure success"
    assert (ran.result.steps[0].outcome, ran.result.steps[0].conclusion) == ("failure", "success")
    assert ran.result.outcome == "success"


async def test_a_failing_job_with_continue_on_error_concludes_success(bench: Bench) -> None:
    ran = await bench.run("- run: exit 1", job="continue-on-error: true")
    assert (ran.result.outcome, ran.result.conclusion) == ("failure", "success")


async def test_an_expression_that_fails_in_a_step_fails_that_step(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: echo "${{ fromJSON('{') }}"
        - {if: always(), run: 'echo after'}
        """
    )
    assert ran.outcomes() == ["failure", "success"]
    assert ran.text() == "after"
    assert ran.result.annotations[0].message.startswith("line ")


async def test_contexts_reach_the_step(bench: Bench) -> None:
    ran = await bench.run(
        """
        - id: one
          run: echo "v=1" >> "$GITHUB_OUTPUT"
        - run: |
            echo "${{ steps.one.outputs.v }} ${{ matrix.os }} ${{ needs.up.outputs.x }} ${{ needs.up.result }}"
            echo "${{ job.status }} ${{ runner.os }} ${{ github.event.number }} ${{ inputs.level }}"
            echo "${{ strategy.job-index }}/${{ strategy.job-total }} ${{ github.job }} ${{ github.run_attempt }}"
        """,
        job="strategy: {matrix: {os: [a, b]}}",
        matrix={"os": "b"},
        leg=1,
        legs=2,
        attempt=3,
        needs={"up": {"result": "success", "outputs": {"x": "y"}}},
        facts={"payload": {"number": 7}, "inputs": {"level": "high"}},
    )
    assert ran.text(2).splitlines() == ["1 b y success", "success Linux 7 high", "1/2 j 3"]


async def test_job_outputs_are_evaluated_at_the_end(bench: Bench) -> None:
    ran = await bench.run(
        """
        - id: a
          run: echo "x=1" >> "$GITHUB_OUTPUT"
        - id: b
          run: |
            echo "y=2" >> "$GITHUB_OUTPUT"
            exit 1
        """,
        job="outputs: {x: '${{ steps.a.outputs.x }}', y: '${{ steps.b.outputs.y }}', none: '${{ steps.c.outputs.z }}'}",
    )
    assert ran.result.outcome == "failure"
    assert ran.result.outputs == {"x": "1", "y": "2"}


async def test_outputs_over_the_bound_fail_the_job_with_a_hint(bench: Bench) -> None:
    ran = await bench.run(
        """
        - id: a
          run: echo "x=$(head -c 70000 /dev/zero | tr '\\0' a)" >> "$GITHUB_OUTPUT"
        """,
        job="outputs: {x: '${{ steps.a.outputs.x }}'}",
    )
    assert ran.result.outcome == "failure"
    assert ran.result.outputs == {}
    assert ran.result.error is not None
    assert "65536" in ran.result.error
    assert "pass large results on as files" in ran.result.error


async def test_hash_files_reads_the_workspace(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: echo -n hello > a.txt
        - run: |
            echo "${{ hashFiles('*.txt') }}"
            echo -n hello | sha256sum | xxd -r -p | sha256sum | cut -d' ' -f1
            echo "[${{ hashFiles('none') }}]"
        """
    )
    ours, theirs, none = ran.text(2).splitlines()
    assert ours == theirs
    assert none == "[]"


async def test_a_broken_workflow_is_a_result_not_an_exception(bench: Bench) -> None:
    ran = await bench.run("- run: 'true'", workflow_text="on: push\njobs: nonsense")
    assert ran.result.outcome == "failure"
    assert ran.result.error is not None
    ran = await bench.run("- run: 'true'", job_id="nosuch")
    assert ran.result.error is not None
    assert "no such job" in ran.result.error


async def test_nothing_is_left_of_a_job_not_even_locked_folders(bench: Bench) -> None:
    ran = await bench.run("- run: mkdir -p a/b && touch a/b/c && chmod 000 a/b a && ln -s /etc evil")
    assert ran.result.outcome == "success"
    assert list((bench.root / "work").iterdir()) == []
