"""Expressions of a step that fail, and annotations by the hundred: what GitHub does with them."""

from __future__ import annotations

from tests.runner.kit import Bench


async def test_a_script_that_cannot_be_evaluated_may_be_gone_past(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {run: "echo ${{ fromJSON('bad') }}", continue-on-error: true}
        - run: echo next
        """
    )
    assert ran.text() == "next"
    assert ran.outcomes() == ["failure", "success"]
    assert ran.result.conclusion == "success"


async def test_a_name_that_cannot_be_evaluated_is_a_warning_and_the_step_runs(bench: Bench) -> None:
    ran = await bench.run("""- {name: "n ${{ fromJSON(github.ref) }}", run: echo ran}""")
    assert ran.text() == "ran"
    assert [one.level for one in ran.result.annotations] == ["warning"]


async def test_a_time_that_cannot_be_evaluated_is_an_error_and_the_step_runs(bench: Bench) -> None:
    ran = await bench.run("""- {timeout-minutes: "${{ fromJSON(github.ref) }}", run: echo ran}""")
    assert ran.text() == "ran"
    assert ran.outcomes() == ["success"]
    assert [one.level for one in ran.result.annotations] == ["error"]


async def test_whether_to_go_on_is_asked_after_the_step(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {run: "echo ran; exit 1", continue-on-error: "${{ fromJSON(github.ref) }}"}
        - run: echo not reached
        """
    )
    assert ran.text() == "ran"
    assert ran.result.conclusion == "failure"
    ran = await bench.run("""- {run: "true", continue-on-error: "${{ fromJSON(github.ref) }}"}""")
    assert ran.outcomes() == ["success"]


async def test_the_same_annotation_counts_once_and_no_step_takes_the_room_of_another(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: for i in $(seq 60); do echo "::warning::the same"; done
        - run: for i in $(seq 60); do echo "::warning::number $i"; done
        - run: |
            echo "::error::the real reason"
            exit 1
        """
    )
    messages = ran.messages()
    assert messages[:2] == ["the same", "number 1"]
    assert "number 10" in messages
    assert "number 11" not in messages
    assert messages[-2:] == ["the real reason", "Process completed with exit code 1."]


async def test_errors_take_the_place_of_warnings_where_there_is_no_more_room(bench: Bench) -> None:
    steps = "\n".join(
        f"""        - run: for i in $(seq 10); do echo "::warning::{step} $i"; echo "::notice::{step} $i"; done"""
        for step in range(3)
    )
    ran = await bench.run(f'\n{steps}\n        - run: for i in $(seq 9); do echo "::error::e $i"; done\n')
    levels = [one.level for one in ran.result.annotations]
    assert len(levels) == 50
    assert levels.count("error") == 9
