"""What the runner does around steps: contexts, environments, times, places."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

import attrs
import pytest
import trio

from p2pwf.runner import Annotation, StepResult, read_log, run_job
from p2pwf.runner.hashfiles import hash_files
from tests.runner.kit import FAST, Bench, alive, make_request, workflow
from tests.runner.test_processes import until


async def test_the_condition_of_a_step_sees_the_steps_own_env(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {if: env.A == 'step', env: {A: step}, run: 'echo yes'}
        - {if: env.A == 'step', run: 'echo no'}
        - {if: env.B == 'x', env: {B: '${{ env.A }}'}, run: 'echo job first'}
        """,
        job="env: {A: x}",
    )
    assert ran.outcomes() == ["success", "skipped", "success"]


async def test_the_job_context_says_status_and_workflow(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: echo "${{ job.status }} ${{ job.workflow_ref }} ${{ job.workflow_sha }}"
        - run: echo "${{ job.workflow_repository }} ${{ job.workflow_file_path }} [${{ job.container.id }}]"; exit 1
        - {if: always(), run: 'echo ${{ job.status }}'}
        """,
        facts={"repository": "me/tool", "sha": "b" * 40},
    )
    assert ran.text(1) == f"success me/tool/.github/workflows/test.yml@refs/heads/main {'b' * 40}"
    assert ran.text(2) == "me/tool .github/workflows/test.yml []"
    assert ran.text(3) == "failure"


async def test_a_called_job_knows_the_file_it_stands_in(bench: Bench) -> None:
    step = "echo ${{ job.workflow_ref }} ${{ job.workflow_repository }} ${{ job.workflow_file_path }}"
    called = f"on: workflow_call\njobs: {{x: {{runs-on: linux, steps: [{{run: '{step}'}}]}}}}\n"
    near, far = ".github/workflows/near.yml", "them/lib/.github/workflows/far.yml@v1"
    text = f"on: push\njobs:\n  near: {{uses: ./{near}}}\n  far: {{uses: {far}}}\n"
    for path, job, shown in (
        ("ci.yml", "near/x", f"me/tool/{near}@refs/heads/main me/tool {near}"),
        ("ci.yml", "far/x", f"{far} them/lib .github/workflows/far.yml"),
        ("odd@name.yml", "near/x", f"me/tool/{near}@refs/heads/main me/tool {near}"),
    ):
        asked = attrs.evolve(
            make_request(text, {"repository": "me/tool"}),
            job_id=job,
            workflow_path=path,
            called={near: called, far: called},
        )
        with closing(bench.new_log()) as log:
            assert (await run_job(asked, bench.env(log))).outcome == "success"
        assert shown in [line.text for line in read_log(log.path)]


async def test_the_url_of_an_environment_is_evaluated_at_the_end(bench: Bench) -> None:
    ran = await bench.run(
        "- {id: d, run: 'echo at=example.org >> $GITHUB_OUTPUT'}",
        job="environment: {name: 'stage-${{ matrix.n }}', url: 'https://${{ steps.d.outputs.at }}'}",
        matrix={"n": "1"},
    )
    assert "The URL of the environment stage-1 is https://example.org" in ran.said()
    ran = await bench.run("- run: echo on", job="environment: live")
    assert ran.result.outcome == "success"


async def test_node_options_are_refused_by_command_too(bench: Bench) -> None:
    ran = await bench.run(
        "- run: echo '::set-env name=Node_Options::--x'\n- {if: always(), run: 'echo [$Node_Options]'}",
        job="env: {ACTIONS_ALLOW_UNSECURE_COMMANDS: true}",
    )
    assert ran.outcomes() == ["failure", "success"]
    assert ran.text(2) == "[]"


async def test_cancel_timeout_minutes_bounds_what_goes_on_after_a_cancellation(bench: Bench) -> None:
    mark = "4711200917"
    event = trio.Event()
    steps = f"- {{if: always(), run: sleep 1000 {mark}}}\n- {{if: always(), run: echo never}}"
    with closing(bench.new_log()) as log:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                await until(lambda: alive(mark))
                event.set()

            nursery.start_soon(cancel)
            limits = attrs.evolve(FAST, cancel_s=1000.0)
            asked = make_request(workflow(steps, "cancel-timeout-minutes: 0.002"))
            result = await run_job(asked, bench.env(log, limits, event))
    assert [step.outcome for step in result.steps] == ["cancelled", "skipped"]
    assert alive(mark) == []


@attrs.define
class Seen:
    """Looks on, and keeps what it is told."""

    told: list[str] = attrs.field(factory=list)

    def step_started(self, number: int, name: str) -> None:
        self.told.append(f"{number} {name}")

    def step_finished(self, result: StepResult, annotations: Sequence[Annotation]) -> None:
        self.told.append(f"{result.number} {result.outcome} {[one.message for one in annotations]}")


async def test_whoever_looks_on_is_told_of_every_step_once(bench: Bench) -> None:
    seen = Seen()
    source = {"a/action.yml": "runs: {using: composite, steps: [{run: echo inner, shell: bash}]}"}
    steps = """
        - {name: one, run: 'echo ::notice::hi'}
        - {if: false, run: x}
        - uses: ./a
        - {id: b, background: true, run: x}
        """
    with closing(bench.new_log()) as log:
        asked = attrs.evolve(make_request(workflow(steps)), source=bench.pack(source))
        await run_job(asked, attrs.evolve(bench.env(log), progress=seen))
    assert seen.told[:5] == ["1 one", "1 success ['hi']", "2 skipped []", "3 Run ./a", "3 success []"]
    assert sorted(line.partition(" [")[0] for line in seen.told[5:]) == [
        *("4 Run x", "4 failure", "5 Wait for all background steps", "5 failure"),
    ]


async def test_the_workspace_may_hold_the_source_from_the_start(bench: Bench) -> None:
    with closing(bench.new_log()) as log:
        asked = attrs.evolve(make_request(workflow("- run: cat a/b")), source=bench.pack({"a/b": "there"}))
        result = await run_job(asked, attrs.evolve(bench.env(log), prefill=True))
    assert result.outcome == "success"


async def test_hash_files_follows_links_when_asked_to(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: mkdir -p a/b && echo x > a/b/f && ln -s a l && ln -s .. a/b/up
        - run: |
            echo "${{ hashFiles('l/**/f') }}"
            echo "${{ hashFiles('--follow-symbolic-links', 'l/b/f') }}"
            echo "${{ hashFiles('a/b/f') }}"
        - {continue-on-error: true, run: "echo ${{ hashFiles('--other', 'a') }}"}
        """
    )
    not_followed, followed, plain = ran.text(2).split("\n")
    assert not_followed == ""
    assert followed == plain != ""
    assert "Invalid glob option --other" in ran.messages()[0]


async def test_the_order_of_secrets_masks_and_summaries_of_a_job(bench: Bench) -> None:
    """A secret stays hidden in names, summaries, annotations and outputs, whatever shows first."""
    ran = await bench.run(
        """
        - name: with ${{ secrets.S }}
          run: |
            echo "$X" >> $GITHUB_STEP_SUMMARY; echo "::error title=$X,file=$X::$X"; echo "o=$X" >> $GITHUB_OUTPUT
          env: {X: 'a-${{ secrets.S }}-b'}
        """,
        secrets={"S": "grünes Männchen"},
    )
    assert "grünes" not in repr(ran.result)
    assert ran.result.steps[0].name == "with ***"
    assert ran.result.steps[0].summary == "a-***-b\n"
    assert ran.result.annotations[0].title == "a-***-b"


HASHING: Final = r"""{if: "hash\x46iles('large') != ''", run: echo hashed, shell: sh}"""
"""However it is spelled: what YAML makes of an escape is not in the text of the file."""


@pytest.mark.parametrize("step", [HASHING, "{uses: ./a}"], ids=["of a step", "of an action"])
async def test_hashing_stops_with_the_job_and_never_holds_the_event_loop(
    bench: Bench, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set[bool]()

    def seen(*arguments: Any) -> str:
        threads.add(threading.current_thread() is threading.main_thread())
        return hash_files(*arguments)

    monkeypatch.setattr("p2pwf.runner.state.hash_files", seen)
    limits = attrs.evolve(FAST, cancel_s=0.1)
    with trio.fail_after(60):  # the runner's own bound is longer
        ran = await bench.run(
            f"- run: truncate -s 8T large\n- {step}",
            job="timeout-minutes: 0.02",
            limits=limits,
            source={"a/action.yml": f"runs: {{using: composite, steps: [{HASHING}]}}"},
        )
    assert threads == {False}
    assert "hashed" not in ran.text()
    assert ran.result.outcome == "cancelled"


async def test_hashing_stops_when_the_node_leaves(bench: Bench) -> None:
    with trio.fail_after(60), trio.move_on_after(0.5) as leaving:
        await bench.run("- run: truncate -s 8T large\n- {if: \"hashFiles('large')\", run: x}")
    assert leaving.cancelled_caught
