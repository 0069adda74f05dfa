from __future__ import annotations

import os
import stat

import pytest

from p2pwf.runner import filecommands, step
from tests.runner.kit import Bench


async def test_output_env_and_path_reach_the_steps_after(bench: Bench) -> None:
    ran = await bench.run(
        """
        - id: a
          run: |
            mkdir "$RUNNER_TEMP/bin"
            printf '#!/bin/sh\\necho tool' > "$RUNNER_TEMP/bin/mytool"
            chmod +x "$RUNNER_TEMP/bin/mytool"
            echo "$RUNNER_TEMP/bin" >> "$GITHUB_PATH"
            echo "ONE=1" >> "$GITHUB_ENV"
            printf 'TEXT<<EOF\\nline 1\\nline 2\\nEOF\\n' >> "$GITHUB_ENV"
            echo "o=a=b" >> "$GITHUB_OUTPUT"
            echo "[$ONE]"
        - run: |
            echo "$ONE $TEXT ${{ steps.a.outputs.o }} ${{ env.ONE }}"
            mytool
        """
    )
    assert ran.text(1) == "[]"
    assert ran.text(2).splitlines() == ["1 line 1", "line 2 a=b 1", "tool"]


async def test_github_env_lies_over_job_env_and_under_step_env(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: echo "A=file" >> "$GITHUB_ENV"
        - run: echo "$A"
        - {env: {A: step}, run: 'echo "$A"'}
        """,
        job="env: {A: job}",
    )
    assert ran.text() == "file\nstep"


async def test_the_last_path_is_searched_first(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: echo /first >> "$GITHUB_PATH"
        - run: echo /second >> "$GITHUB_PATH"
        - run: echo "$PATH"
        """
    )
    assert ran.text().startswith("/second:/first:")


async def test_every_step_gets_fresh_empty_files(bench: Bench) -> None:
    look = 'for v in OUTPUT ENV PATH STATE STEP_SUMMARY; do n=GITHUB_$v; [ -s "${!n}" ] && echo "$v is not empty"; '
    look += 'echo "X=1" > "${!n}"; echo "${!n}"; done'
    ran = await bench.run(f"- run: '{look}'\n- run: '{look}'")
    assert "not empty" not in ran.text()


async def test_files_of_a_step_that_left_a_process_are_not_used_again(bench: Bench) -> None:
    """A process with the old file still open must not write into a later step's."""
    ran = await bench.run(
        """
        - run: ls -i "$GITHUB_OUTPUT" | cut -d' ' -f1; sleep 1000 >> "$GITHUB_OUTPUT" &
        - run: ls -i "$GITHUB_OUTPUT" | cut -d' ' -f1
        """
    )
    assert ran.text(1) != ran.text(2)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('printf "x<<EOF\\nnever closed\\n" >> $GITHUB_OUTPUT', "Matching delimiter not found 'EOF'"),
        ("echo nonsense >> $GITHUB_ENV", "Invalid format 'nonsense'"),
        ("ln -sf /etc/passwd $GITHUB_OUTPUT", "is not the file"),
        ("rm $GITHUB_ENV; mkfifo $GITHUB_ENV", "is not the file"),
        ("rm $GITHUB_ENV; mkdir $GITHUB_ENV", "is not the file"),
        ("echo a=b > x; ln -f x $GITHUB_OUTPUT", "is not the file"),
        ("truncate -s 2M $GITHUB_OUTPUT", "too large"),
        ('printf "A=x\\0y\\n" >> $GITHUB_ENV', "NUL"),
    ],
)
async def test_t39_a_file_that_cannot_be_trusted_fails_the_step(bench: Bench, script: str, said: str) -> None:
    """T39."""
    ran = await bench.run(f"- run: '{script}'\n- run: echo after")
    assert ran.outcomes() == ["failure", "skipped"]
    assert said in ran.result.annotations[0].message


async def test_t39_node_options_is_refused_and_the_step_goes_on(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: |
            echo "NODE_OPTIONS=--require /tmp/evil.js" >> "$GITHUB_ENV"
            echo "OTHER=1" >> "$GITHUB_ENV"
        - run: echo "[$NODE_OPTIONS] $OTHER"
        """
    )
    assert ran.text() == "[] 1"
    assert "NODE_OPTIONS" in ran.result.annotations[0].message


async def test_t39_without_the_list_a_step_gives_the_next_one_node_options(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "BLOCKED", frozenset())
    ran = await bench.run('- run: echo NODE_OPTIONS=--x >> $GITHUB_ENV\n- run: echo "[$NODE_OPTIONS]"')
    assert ran.text() == "[--x]"


async def test_t39_without_the_look_at_the_file_a_link_is_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filecommands, "_READ", os.O_RDONLY)
    monkeypatch.setattr(stat, "S_ISREG", lambda _: True)
    steps = "- id: a\n  run: echo x=leaked > f; ln -sf $PWD/f $GITHUB_OUTPUT\n- run: echo ${{ steps.a.outputs.x }}"
    assert (await bench.run(steps)).text() == "leaked"


async def test_t39_github_variables_cannot_be_overwritten(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: |
            echo "GITHUB_SHA=forged" >> "$GITHUB_ENV"
            echo "RUNNER_NAME=forged" >> "$GITHUB_ENV"
            echo "CI=no" >> "$GITHUB_ENV"
        - run: echo "$GITHUB_SHA $RUNNER_NAME $CI"
          env: {GITHUB_REF: forged, P2PWF_JOB: forged}
        """,
        facts={"sha": "a" * 40},
        runner_name="alpha",
    )
    assert ran.text() == "a" * 40 + " alpha no"


async def test_the_summary_is_kept_masked_and_bounded(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: |
            echo "::add-mask::hunter22"
            echo "# Result hunter22" >> "$GITHUB_STEP_SUMMARY"
        - run: truncate -s 2M "$GITHUB_STEP_SUMMARY"
        """
    )
    assert ran.result.steps[0].summary == "# Result ***\n"
    assert ran.result.steps[1].summary == ""
    assert ran.outcomes() == ["success", "success"]
    assert "GITHUB_STEP_SUMMARY is too large" in ran.result.annotations[0].message


async def test_deleted_files_are_empty_ones(bench: Bench) -> None:
    ran = await bench.run("- run: rm -r $RUNNER_TEMP/_runner_file_commands/*\n- run: echo on")
    assert ran.text() == "on"


async def test_a_folder_of_files_that_is_gone_fails_the_next_step_only(bench: Bench) -> None:
    ran = await bench.run("- run: rm -r $RUNNER_TEMP\n- run: echo on")
    assert ran.outcomes() == ["success", "failure"]
