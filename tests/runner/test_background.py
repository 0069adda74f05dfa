"""Background steps: real processes that meet over files and pipes; no test depends on how long anything takes."""

from __future__ import annotations

import os
import uuid
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio

from p2pwf.runner import run_job
from tests.runner.kit import FAST, Bench, Ran, alive, make_request, workflow
from tests.runner.test_processes import until

WAIT = 'until [ -e "$GITHUB_WORKSPACE/{0}" ]; do sleep 0.01; done'


def by_id(ran: Ran) -> dict[str, tuple[str, str]]:
    """Outcome and conclusion of the steps that have an id."""
    return {step.id: (step.outcome, step.conclusion) for step in ran.result.steps}


@pytest.fixture
def mark() -> str:
    return f"3{uuid.uuid4().int % 10**12}"


async def test_a_background_step_runs_beside_those_after_it(bench: Bench) -> None:
    ran = await bench.run(
        f"""
        - {{id: bg, background: true, run: 'echo start; {WAIT.format("go")}; echo end'}}
        - run: touch go; echo front
        - wait: bg
        - run: echo after
        """
    )
    assert ran.text(1) == "start\nend"
    assert ran.text(2) == "front"
    assert [step.number for step in ran.result.steps] == [1, 2, 3, 4]
    assert [step.name for step in ran.result.steps][2] == "Wait for bg"
    assert ran.outcomes() == ["success"] * 4


async def test_outputs_env_and_outcome_show_after_the_wait_only(bench: Bench) -> None:
    look = 'echo "[${{ steps.bg.outputs.x }}] [$A] [${{ env.A }}] [${{ steps.bg.outcome }}] ${PATH%%:*}"'
    ran = await bench.run(
        f"""
        - id: bg
          background: true
          run: |
            echo x=1 >> $GITHUB_OUTPUT; echo A=2 >> $GITHUB_ENV; echo /bg >> $GITHUB_PATH; touch done
        - run: {WAIT.format("done")}; echo B=3 >> $GITHUB_ENV
        - run: {look}
        - wait: [bg]
        - run: {look} $B
        """
    )
    assert ran.text(3).startswith("[] [] [] [] /")
    assert not ran.text(3).endswith("/bg")
    assert ran.text(5) == "[1] [2] [2] [success] /bg 3"


async def test_a_failure_counts_at_the_wait(bench: Bench) -> None:
    ran = await bench.run(
        f"""
        - {{id: bad, background: true, run: 'touch done; exit 1'}}
        - {{id: soft, background: true, continue-on-error: true, run: exit 1}}
        - run: {WAIT.format("done")}; echo still green, ${{{{ job.status }}}}
        - {{id: w, wait: [bad, soft]}}
        - run: echo never
        - {{if: failure(), run: 'echo "${{{{ steps.bad.outcome }}}} ${{{{ steps.soft.conclusion }}}} ${{{{ steps.w.outcome }}}}"'}}
        """  # noqa: E501 - one step, one line
    )
    assert ran.text() == "still green, success\nfailure success failure"
    assert by_id(ran)["bad"] == ("failure", "failure")
    assert by_id(ran)["soft"] == ("failure", "success")
    assert ran.result.outcome == "failure"


async def test_a_wait_with_continue_on_error_lets_the_job_go_on(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {id: bad, background: true, run: exit 1}
        - {id: w, wait: bad, continue-on-error: true}
        - run: echo on
        """
    )
    assert ran.text() == "on"
    assert by_id(ran)["w"] == ("failure", "success")
    assert ran.result.outcome == "success"


async def test_what_nobody_waits_for_is_waited_for_at_the_end(bench: Bench) -> None:
    ran = await bench.run(
        f"""
        - {{id: bg, background: true, run: '{WAIT.format("go")}; echo x=late >> $GITHUB_OUTPUT; exit 1'}}
        - run: touch go
        """,
        job="outputs: {x: '${{ steps.bg.outputs.x }}'}",
    )
    assert ran.result.outcome == "failure"
    assert ran.result.outputs == {"x": "late"}
    assert ran.result.steps[-1].name == "Wait for all background steps"


async def test_wait_all_waits_for_all(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {id: a, background: true, run: 'echo x=1 >> $GITHUB_OUTPUT'}
        - {id: b, background: true, run: 'echo x=2 >> $GITHUB_OUTPUT'}
        - {name: Meet, wait-all: }
        - run: echo ${{ steps.a.outputs.x }}${{ steps.b.outputs.x }}
        """
    )
    assert ran.text() == "12"
    assert ran.result.steps[2].name == "Meet"
    assert len(ran.result.steps) == 4, "no other wait is needed"


async def test_parallel_steps_run_together_and_are_waited_for(bench: Bench) -> None:
    ran = await bench.run(
        f"""
        - parallel:
            - {{id: a, run: 'touch a; {WAIT.format("b")}; echo x=1 >> $GITHUB_OUTPUT'}}
            - {{id: b, run: 'touch b; {WAIT.format("a")}; echo x=2 >> $GITHUB_OUTPUT'}}
        - run: echo ${{{{ steps.a.outputs.x }}}}${{{{ steps.b.outputs.x }}}}
        """
    )
    assert ran.text(4) == "12"
    assert [step.name for step in ran.result.steps][2] == "Wait for parallel steps"


async def test_cancel_ends_a_step_and_all_it_started_and_the_job_stays_green(bench: Bench, mark: str) -> None:
    ran = await bench.run(
        f"""
        - {{id: bg, background: true, run: 'setsid -f sleep 1000 {mark}; touch up; sleep 1000 {mark}'}}
        - run: {WAIT.format("up")}
        - cancel: bg
        - run: echo "${{{{ steps.bg.outcome }}}}"; pgrep -c -f "^sleep 1000 {mark}" || true
        """
    )
    assert ran.text(4) == "cancelled\n0"
    assert ran.messages() == [], "what the workflow asks for is no error"
    assert ran.result.steps[2].name == "Cancel bg"
    assert by_id(ran)["bg"] == ("cancelled", "cancelled")
    assert ran.result.outcome == "success"
    assert alive(mark) == []


async def test_cancelling_a_step_that_has_ended_changes_nothing(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {id: bg, background: true, run: 'exit 1'}
        - {wait: bg, continue-on-error: true}
        - cancel: bg
        - cancel: bg
        """
    )
    assert by_id(ran)["bg"] == ("failure", "failure")
    assert ran.result.outcome == "success", "its failure counted at the wait, which goes on"


async def test_a_timeout_ends_a_background_step_and_spares_the_others(bench: Bench, mark: str) -> None:
    ran = await bench.run(
        f"""
        - {{id: keep, background: true, run: '{WAIT.format("go")}; echo kept'}}
        - {{id: bg, background: true, timeout-minutes: 0.005, run: 'setsid -f sleep 1000 {mark}; sleep 1000 {mark}'}}
        - {{wait: bg, continue-on-error: true}}
        - run: touch go; pgrep -c -f "^sleep 1000 {mark}" || true
        - wait: keep
        """
    )
    assert ran.text(1) == "kept"
    assert ran.text(4) == "0"
    assert "has timed out after 0.005 minutes" in ran.messages()[0]
    assert alive(mark) == []


async def test_ten_run_at_a_time_and_the_next_waits(bench: Bench) -> None:
    first = "\n".join(f"- {{background: true, run: 'touch up{n}; {WAIT.format('go')}'}}" for n in range(10))
    up = " && ".join(f"[ -e up{n} ]" for n in range(10))
    ran = await bench.run(
        f"{first}\n- {{id: late, background: true, run: touch late}}\n"
        f"- run: until {up}; do sleep 0.01; done; ls late 2>/dev/null || echo not yet; touch go\n- wait: late\n"
        "- run: ls late"
    )
    assert ran.text(12) == "not yet"
    assert ran.text(14) == "late"


async def test_a_skipped_background_step_is_skipped_at_once(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {id: bg, if: false, background: true, run: echo never}
        - wait: bg
        - run: echo ${{ steps.bg.outcome }}
        """
    )
    assert ran.text() == "skipped"
    assert ran.result.outcome == "success"


async def test_an_action_runs_in_the_background_and_its_post_after_all(bench: Bench) -> None:
    action = """
name: a
runs:
  using: composite
  steps:
    - {shell: bash, run: 'echo A=1 >> $GITHUB_ENV'}
    - {shell: bash, run: 'echo "inside $A"; echo "inside $A" >> $GITHUB_STEP_SUMMARY; touch done'}
"""
    ran = await bench.run(
        f"""
        - {{id: bg, background: true, uses: ./a}}
        - run: {WAIT.format("done")}; echo "[$A]"
        - wait: bg
        - run: echo "[$A]"
        """,
        source={"a/action.yml": action},
    )
    assert ran.text(1) == "inside 1"
    assert ran.text(2) == "[]"
    assert ran.text(4) == "[1]"
    assert ran.result.steps[0].summary == "inside 1\n"


async def test_cancelling_the_job_ends_background_steps_too(bench: Bench, mark: str, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    steps = f"""
        - {{id: bg, background: true, run: sleep 1000 {mark}}}
        - {{id: on, background: true, if: always(), run: 'read x < {fifo}; echo $x'}}
        - run: sleep 1000 {mark}
        - wait-all:
        - {{if: cancelled(), run: 'echo ${{{{ steps.bg.outcome }}}} ${{{{ steps.on.outcome }}}}'}}
        """
    event = trio.Event()
    with closing(bench.new_log()) as log:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                await until(lambda: len(alive(mark)) == 2)
                event.set()
                await until(lambda: "was cancelled" in log.path.read_text())
                await trio.Path(fifo).write_text("went on\n")

            nursery.start_soon(cancel)
            limits = attrs.evolve(FAST, cancel_s=60)
            result = await run_job(make_request(workflow(steps)), bench.env(log, limits, event))
    assert {step.id: step.outcome for step in result.steps if step.id in ("bg", "on")} == {
        "bg": "cancelled",
        "on": "success",
    }
    assert '"text":"cancelled success"' in log.path.read_text()
    assert result.outcome == "cancelled"
    assert alive(mark) == []
