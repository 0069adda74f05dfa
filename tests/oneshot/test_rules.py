"""Rules of GitHub's that show in a whole run only: orders, what does not leave a job, which failures spread."""

from __future__ import annotations

import json

from tests.oneshot.kit import Here


def test_matrices_and_inputs_show_in_the_order_of_the_file(here: Here) -> None:
    here.write(
        """
        on: {workflow_dispatch: {inputs: {longer: {default: x}, b: {type: number, default: 1}, at: }}}
        jobs:
          j:
            runs-on: x
            strategy: {matrix: {system: [{name: l, at: 1}], a: [{zz: [1], z: true}], include: [{extra: 1.5, e: 2}]}}
            steps:
              - run: echo "$ALL"
                env: {ALL: "${{ toJSON(matrix) }}"}
              - run: echo "$ALL"
                env: {ALL: "${{ toJSON(inputs) }}"}
        """
    )
    ran = here.run()
    matrix, inputs = ("\n".join(ran.printed(step=step)) for step in (1, 2))
    system, a = {"name": "l", "at": 1}, {"zz": [1], "z": True}
    assert matrix == json.dumps({"system": system, "a": a, "extra": 1.5, "e": 2}, indent=2)
    assert inputs == json.dumps({"longer": "x", "b": 1, "at": ""}, indent=2)


def test_an_output_of_a_job_that_holds_a_secret_goes_nowhere(here: Here) -> None:
    here.write(
        """
        on: push
        jobs:
          a:
            runs-on: x
            outputs: {given: "${{ steps.s.outputs.given }}", made: "${{ steps.s.outputs.made }}", free: plain}
            steps:
              - id: s
                env: {TOKEN: "${{ secrets.TOKEN }}"}
                run: |
                  echo "given=<$TOKEN>" >> "$GITHUB_OUTPUT"
                  echo "::add-mask::made-here"; echo "made=made-here" >> "$GITHUB_OUTPUT"
              - run: echo "${#LENGTH}"
                env: {LENGTH: "${{ steps.s.outputs.given }}"}
          b: {needs: a, runs-on: x, steps: [{run: "echo ${{ join(needs.a.outputs.*) }}"}]}
        """
    )
    ran = here.run("--secret", "TOKEN=hidden-one")
    assert ran.printed(step=2) == ["12"], "within its job it is there"
    assert ran.printed(job="b") == ["plain"]
    told = [one["message"] for one in ran.of("annotation", level="warning")]
    assert told == [f"Skip output '{name}' since it may contain secret." for name in ("given", "made")]


def test_a_leg_that_may_fail_takes_no_other_along(here: Here) -> None:
    here.write(
        """
        on: push
        jobs:
          legs:
            runs-on: x
            continue-on-error: ${{ matrix.may }}
            strategy: {max-parallel: 1, matrix: {include: [{n: 1, may: true}, {n: 2, may: false}]}}
            steps: [{run: 'exit ${{ matrix.n == 1 }}'}]
          after: {needs: legs, runs-on: x, steps: [{run: 'echo ${{ needs.legs.result }}'}]}
        """
    )
    ran = here.run(code=None)
    legs = {one["leg"]: (one["outcome"], one["conclusion"]) for one in ran.of("job_finished", job="legs")}
    assert legs[0] == ("failure", "success")
    assert legs[1][1] != "cancelled"


def test_jobs_of_one_group_run_one_after_the_other(here: Here) -> None:
    meet = "mkdir ../../../together && sleep 0.1 && rmdir ../../../together"
    here.write(
        f"""
        on: push
        jobs:
          a: {{concurrency: {{group: one, queue: max}}, runs-on: x, steps: [{{run: '{meet}'}}]}}
          b: {{concurrency: {{group: One, queue: max}}, runs-on: x, steps: [{{run: '{meet}'}}]}}
        """
    )
    assert set(here.run().end["jobs"].values()) == {"success"}
