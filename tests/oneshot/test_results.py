"""What a run is told to have come to: conclusions, results of jobs, exit codes, the stream of objects."""

from __future__ import annotations

import os

import pytest

from tests.oneshot.kit import Here

CHAIN = """
    name: chain
    on: push
    jobs:
      make:
        runs-on: windows-2022
        outputs: {number: "${{ steps.n.outputs.value }}", list: "[\\"x\\", \\"y\\"]"}
        steps:
          - id: n
            name: count
            run: echo value=41 >> $GITHUB_OUTPUT
      use:
        needs: make
        runs-on: [self-hosted, gpu]
        steps:
          - run: echo got ${{ needs.make.outputs.number }}
      spread:
        needs: [make]
        strategy: {matrix: {letter: "${{ fromJSON(needs.make.outputs.list) }}"}}
        runs-on: "${{ matrix.letter }}"
        steps:
          - run: echo leg ${{ matrix.letter }}
"""


def test_jobs_run_in_the_order_of_their_needs_and_hand_on_their_outputs(here: Here) -> None:
    here.write(CHAIN)
    ran = here.run()
    assert ran.printed(job="use") == ["got 41"]
    assert sorted(ran.printed(job="spread")) == ["leg x", "leg y"]
    assert ran.end["jobs"] == {"make": "success", "use": "success", "spread": "success"}
    assert (ran.end["conclusion"], ran.end["name"]) == ("success", "chain")


def test_the_stream_tells_of_each_step_between_the_beginning_and_the_end_of_its_job(here: Here) -> None:
    here.write(CHAIN)
    ran = here.run("--job", "make")
    told = [(one["type"], one.get("step"), one.get("name")) for one in ran.told if one["type"] != "log"]
    assert told == [
        ("job_started", None, "make"),
        ("step_started", 1, "count"),
        ("step_finished", 1, "count"),
        ("job_finished", None, "make"),
        ("run_finished", None, "chain"),
    ]
    (step,) = ran.of("step_finished")
    assert (step["job"], step["id"], step["conclusion"], step["matrix"]) == ("make", "n", "success", None)
    (job,) = ran.of("job_finished")
    assert (job["conclusion"], job["outputs"]["number"], job["error"]) == ("success", "41", None)


def test_legs_of_a_matrix_are_told_with_their_values(here: Here) -> None:
    here.write(CHAIN)
    ran = here.run()
    started = {one["name"]: (one["leg"], one["matrix"]) for one in ran.of("job_started", job="spread")}
    assert started == {"spread (x)": (0, {"letter": "x"}), "spread (y)": (1, {"letter": "y"})}


def test_a_failing_job_fails_the_run_and_skips_what_needs_it(here: Here) -> None:
    here.write(
        """
        on: push
        jobs:
          bad: {runs-on: any, steps: [{run: exit 3}, {run: echo never}, {if: always(), run: echo always}]}
          after: {needs: bad, runs-on: any, steps: [{run: echo never}]}
          anyway: {needs: bad, if: failure(), runs-on: any, steps: [{run: "echo ${{ needs.bad.result }}"}]}
        """
    )
    ran = here.run(code=1)
    assert ran.end["conclusion"] == "failure"
    assert ran.end["jobs"] == {"bad": "failure", "after": "skipped", "anyway": "success"}
    assert ran.printed() == ["always", "failure"]
    assert [one["conclusion"] for one in ran.of("step_finished", job="bad")] == ["failure", "skipped", "success"]
    assert ran.of("annotation", level="error")[0]["message"] == "Process completed with exit code 3."
    assert ran.of("job_started", job="after") == []


def test_a_failing_leg_takes_the_others_along_unless_told_otherwise(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    workflow = """
        on: push
        jobs:
          m:
            strategy: {{fail-fast: {fast}, matrix: {{leg: [long, bad]}}}}
            runs-on: any
            steps:
              - {{if: matrix.leg == 'bad', run: cat {pipe}; exit 1}}
              - {{if: matrix.leg == 'long', run: echo go > {pipe}; {work}}}
        """
    pipe = here.tmp / "pipe"
    os.mkfifo(pipe)
    here.write(workflow.format(fast="true", pipe=pipe, work="sleep 600"))
    ran = here.run(code=1)
    results = {one["name"]: one["conclusion"] for one in ran.of("job_finished")}
    assert results == {"m (long)": "cancelled", "m (bad)": "failure"}
    assert ran.end["jobs"] == {"m": "failure"}
    here.write(workflow.format(fast="false", pipe=pipe, work="true"))
    ran = here.run(code=1)
    assert {one["name"]: one["conclusion"] for one in ran.of("job_finished")}["m (long)"] == "success"


def test_several_jobs_run_at_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two waits for the other at a named pipe, so neither ends alone."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    os.mkfifo(here.tmp / "pipe")
    here.write(
        f"""
        on: push
        jobs:
          a: {{runs-on: any, timeout-minutes: 0.5, steps: [{{run: "echo met > {here.tmp}/pipe"}}]}}
          b: {{runs-on: any, timeout-minutes: 0.5, steps: [{{run: "cat {here.tmp}/pipe"}}]}}
        """
    )
    assert here.run().printed() == ["met"]


def test_a_job_that_may_fail_leaves_the_run_green(here: Here) -> None:
    here.write(
        """
        on: push
        jobs:
          a: {runs-on: any, continue-on-error: true, steps: [{run: exit 1}]}
          b: {needs: a, runs-on: any, steps: [{run: "echo ${{ needs.a.result }}"}]}
        """
    )
    ran = here.run()
    assert ran.printed() == ["success"]
    assert ran.end["jobs"] == {"a": "success", "b": "success"}
    assert ran.of("job_finished", job="a")[0]["outcome"] == "failure"


def test_one_job_runs_with_what_it_needs_and_nothing_else(here: Here) -> None:
    here.write(CHAIN)
    ran = here.run("--job", "use")
    assert ran.end["jobs"] == {"make": "success", "use": "success"}


def test_a_matrix_that_cannot_be_made_fails_its_job(here: Here) -> None:
    here.write(
        """
        on: push
        jobs:
          a: {runs-on: any, outputs: {list: "not json"}, steps: [{run: 'true'}]}
          b:
            needs: a
            runs-on: any
            strategy: {matrix: {x: "${{ fromJSON(needs.a.outputs.list) }}"}}
            steps: [{run: 'true'}]
        """
    )
    ran = here.run(code=1)
    assert ran.end["jobs"] == {"a": "success", "b": "failure"}
    (end,) = ran.of("job_finished", job="b")
    assert end["error"].startswith("line 8, column 33: Error parsing fromJson")


def test_warnings_of_the_check_are_told_and_stop_nothing(here: Here) -> None:
    here.steps("- run: echo ${{ steps.none.outputs.x }}")
    ran = here.run()
    (warning,) = ran.of("annotation", level="warning")
    assert (warning["job"], warning["file"], warning["line"]) == (None, "w.yml", 6)
