"""Workflow files over several members: matrices, calls and what jobs give each other, decided by whoever owns them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import pytest

from p2pwf.core.ids import Cid
from p2pwf.engine.inputs import CancelRun
from p2pwf.errors import InvalidWorkflow
from p2pwf.node.views import run_status
from tests.engine.kit import Net, of_workflows

STEPS = "runs-on: linux, steps: [{run: x}]"
LIB = "lib.yml"


def text(jobs: str, head: str = "on: push\n") -> str:
    return head + "jobs:\n" + textwrap.indent(textwrap.dedent(jobs), "  ")


def library(jobs: str, call: str = "") -> Mapping[str, str]:
    on = "on: workflow_call\n"
    if call:
        on = "on:\n  workflow_call:\n" + textwrap.indent(textwrap.dedent(call), "    ").rstrip() + "\n"
    return {LIB: text(jobs, on)}


def legs(net: Net, run: Cid) -> set[tuple[str, int]]:
    return set(net.running(run))


@pytest.fixture
def net() -> Net:
    return of_workflows(3)


# -- matrices -------------------------------------------------------------------------------------------------------


def test_a_leg_that_fails_takes_its_siblings_along(net: Net) -> None:
    run = net.submit_text(text(f"a: {{strategy: {{max-parallel: 2, matrix: {{v: [1, 2, 3]}}}}, {STEPS}}}\n"))
    assert legs(net, run) == {("a", 0), ("a", 1)}
    net.end(run, "a", 0, "failure")
    assert net.asked_to_stop(run) == {("a", 1)}
    net.end(run, "a", 1, "cancelled")
    assert not legs(net, run)
    assert net.results(run) == {"a": "failure"}


def test_without_fail_fast_the_others_go_on(net: Net) -> None:
    run = net.submit_text(text(f"a: {{strategy: {{fail-fast: false, matrix: {{v: [1, 2, 3]}}}}, {STEPS}}}\n"))
    net.end(run, "a", 1, "failure")
    assert not net.asked_to_stop(run)
    net.end(run, "a", 0)
    net.end(run, "a", 2)
    assert net.results(run) == {"a": "failure"}


def test_no_more_legs_run_at_a_time_than_may_wherever_they_run(net: Net) -> None:
    run = net.submit_text(text(f"a: {{strategy: {{max-parallel: 2, matrix: {{v: [1, 2, 3, 4, 5]}}}}, {STEPS}}}\n"))
    order = []
    while running := sorted(legs(net, run)):
        assert len(running) <= 2
        order.append(running[0][1])
        net.end(run, *running[0])
    assert order == [0, 1, 2, 3, 4]


def test_a_job_that_may_fail_leaves_the_run_green_and_what_needs_it_running(net: Net) -> None:
    """The runner has applied continue-on-error to the conclusion that it reports."""
    run = net.submit_text(text(f"a: {{continue-on-error: true, {STEPS}}}\nb: {{needs: a, {STEPS}}}\n"))
    net.end(run, "a", result="success")
    assert legs(net, run) == {("b", 0)}


OPEN = f"""
find: {{{STEPS}, outputs: {{m: x}}}}
each:
  needs: find
  name: On ${{{{ matrix.on }}}} for ${{{{ needs.find.outputs.who }}}}
  runs-on: ${{{{ matrix.on }}}}
  strategy:
    fail-fast: ${{{{ needs.find.outputs.fast == 'yes' }}}}
    max-parallel: ${{{{ fromJSON(needs.find.outputs.most) }}}}
    matrix: ${{{{ fromJSON(needs.find.outputs.m) }}}}
  steps: [{{run: x}}]
sum: {{needs: each, {STEPS}}}
"""


def test_legs_names_and_labels_come_from_the_outputs_of_another_job(net: Net) -> None:
    run = net.submit_text(text(OPEN))
    net.end(run, "find", m='{"on": ["linux", "Linux", "self-hosted"]}', who="you", fast="no", most="2")
    net.wait(1)
    started = net.running(run)
    assert {start.leg_name for start in started.values()} == {"On linux for you", "On Linux for you"}
    net.end(run, "each", 0, "failure")
    assert legs(net, run) == {("each", 1), ("each", 2)}  # neither fail-fast nor more than two
    net.end(run, "each", 1)
    net.end(run, "each", 2)
    assert net.results(run) == {"find": "success", "each": "failure", "sum": "skipped"}


def test_fail_fast_may_come_from_the_outputs_of_another_job(net: Net) -> None:
    run = net.submit_text(text(OPEN))
    net.end(run, "find", m='{"on": ["linux", "self-hosted"]}', who="you", fast="yes", most="5")
    net.wait(1)
    net.end(run, "each", 0, "failure")
    assert net.asked_to_stop(run) == {("each", 1)}


def test_fixed_parts_of_an_open_strategy_hold(net: Net) -> None:
    jobs = f"""
    find: {{{STEPS}}}
    each:
      needs: find
      strategy: {{fail-fast: false, max-parallel: 1, matrix: {{v: '${{{{ fromJSON(needs.find.outputs.v) }}}}'}}}}
      {STEPS.replace(", ", chr(10) + "      ")}
    """
    run = net.submit_text(text(jobs))
    net.end(run, "find", v="[1, 2]")
    net.wait(1)
    assert legs(net, run) == {("each", 0)}
    net.end(run, "each", 0, "failure")
    assert legs(net, run) == {("each", 1)}


@pytest.mark.parametrize("matrix", ["[]", "nonsense", '{"v": []}', '{"v": [' + "1," * 256 + "1]}"])
def test_a_matrix_that_cannot_be_worked_out_fails_its_job_and_says_why(net: Net, matrix: str) -> None:
    run = net.submit_text(text(OPEN))
    net.end(run, "find", m=matrix, who="you", fast="no", most="0")
    net.wait(1)
    assert net.results(run) == {"find": "success", "each": "failure", "sum": "skipped"}
    jobs = {job["job"]: job for job in run_status(net.members[0].engine, net.run(run))["jobs"]}
    assert jobs["each"]["error"]


def test_outputs_of_a_matrix_are_those_of_the_last_leg_to_write(net: Net) -> None:
    run = net.submit_text(text(f"a: {{strategy: {{matrix: {{v: [1, 2, 3]}}}}, {STEPS}}}\nb: {{needs: a, {STEPS}}}\n"))
    net.end(run, "a", 2, one="c", two="c")
    net.end(run, "a", 0, one="a", two="")
    net.end(run, "a", 1, one="", two="")
    (start,) = net.running(run).values()
    assert start.needs["a"]["outputs"] == {"one": "a", "two": "c"}


# -- calls ----------------------------------------------------------------------------------------------------------

CALLED = library(
    f"""
    build: {{{STEPS}}}
    test: {{needs: build, {STEPS}}}
    """,
    "outputs: {out: {value: '${{ jobs.test.outputs.o }}'}}",
)


def test_called_jobs_run_and_the_call_ends_without_a_runner(net: Net) -> None:
    run = net.submit_text(text(f"call: {{uses: ./{LIB}}}\nlast: {{needs: call, {STEPS}}}\n"), CALLED)
    assert legs(net, run) == {("call/build", 0)}
    net.end(run, "call/build")
    net.end(run, "call/test", o="made")
    (start,) = net.running(run).values()
    assert start.attempt.job == "last"
    assert start.needs == {"call": {"result": "success", "outputs": {"out": "made"}}}
    net.end(run, "last")
    assert net.run(run).tally.conclusion() == "success"
    starts = [leg for leg, state in net.run(run).tally.legs.items() if state.starts]
    assert ("call", 0) not in starts


def test_a_called_job_that_fails_fails_the_call(net: Net) -> None:
    run = net.submit_text(text(f"call: {{uses: ./{LIB}}}\nlast: {{needs: call, {STEPS}}}\n"), CALLED)
    net.end(run, "call/build", result="failure")
    assert net.results(run) == {"call/build": "failure", "call/test": "skipped", "call": "failure", "last": "skipped"}


def test_a_caller_that_is_skipped_skips_all_of_it(net: Net) -> None:
    run = net.submit_text(text(f"call: {{if: false, uses: ./{LIB}}}\nlast: {{needs: call, {STEPS}}}\n"), CALLED)
    assert set(net.results(run).values()) == {"skipped"}


def test_a_cancelled_run_cancels_its_calls(net: Net) -> None:
    run = net.submit_text(text(f"call: {{uses: ./{LIB}}}\n"), CALLED)
    net.members[0].give(CancelRun("cancel", run))
    net.share()
    net.end(run, "call/build", result="cancelled")
    assert set(net.results(run).values()) == {"cancelled"}


def test_outputs_of_a_call_that_cannot_be_worked_out_fail_it_and_say_why(net: Net) -> None:
    files = library(f"a: {{{STEPS}}}\n", "outputs: {out: {value: '${{ fromJSON(jobs.a.outputs.o) }}'}}")
    run = net.submit_text(text(f"call: {{uses: ./{LIB}}}\n"), files)
    net.end(run, "call/a", o="not json")
    assert net.results(run)["call"] == "failure"
    jobs = {job["job"]: job for job in run_status(net.members[0].engine, net.run(run))["jobs"]}
    assert "fromJson" in jobs["call"]["error"]


def test_an_input_of_the_wrong_type_fails_the_called_jobs_once_it_is_known(net: Net) -> None:
    files = library(f"a: {{{STEPS}}}\n", "inputs: {n: {type: number}}")
    jobs = (
        f"first: {{{STEPS}}}\ncall: {{needs: first, uses: ./{LIB}, with: {{n: '${{{{ needs.first.outputs.n }}}}'}}}}\n"
    )
    run = net.submit_text(text(jobs), files)
    net.end(run, "first", n="3")
    assert net.results(run) == {"first": "success", "call/a": "failure", "call": "failure"}


def test_a_leg_of_a_call_that_fails_takes_the_other_legs_along(net: Net) -> None:
    run = net.submit_text(text(f"call: {{strategy: {{matrix: {{v: [1, 2]}}}}, uses: ./{LIB}}}\n"), CALLED)
    net.end(run, "call (1)/build")
    net.end(run, "call (2)/build", result="failure")
    assert net.asked_to_stop(run) == {("call (1)/test", 0)}
    net.end(run, "call (1)/test", result="cancelled")
    assert net.results(run)["call"] == "failure"


def test_legs_of_a_call_go_on_without_fail_fast_and_no_more_at_a_time_than_may(net: Net) -> None:
    strategy = "strategy: {fail-fast: false, max-parallel: 1, matrix: {v: [1, 2]}}"
    run = net.submit_text(text(f"call: {{{strategy}, uses: ./{LIB}}}\n"), CALLED)
    assert legs(net, run) == {("call (1)/build", 0)}
    net.end(run, "call (1)/build", result="failure")
    assert legs(net, run) == {("call (2)/build", 0)}
    net.end(run, "call (2)/build")
    net.end(run, "call (2)/test", o="two")
    assert net.results(run)["call"] == "failure"


def test_the_owner_of_a_call_that_is_gone_is_no_loss() -> None:
    net = of_workflows(3)
    while True:
        run = net.submit_text(text(f"call: {{uses: ./{LIB}}}\n"), CALLED)
        net.end(run, "call/build")
        whole = net.run(run)
        owner = whole.owner(("call", 0))
        if owner not in (net.members[0].peer, whole.owner(("call/test", 0))):
            break
        net.end(run, "call/test")
    net.lose(next(member for member in net.members if member.peer == owner))
    net.end(run, "call/test", o="x")
    net.wait(20)
    assert net.results(run)["call"] == "success"
    assert net.run(run).tally.end is not None


# -- groups of whole calls ------------------------------------------------------------------------------------------

GROUPED = f"call: {{concurrency: {{group: prod, queue: max}}, uses: ./{LIB}}}\n"


def test_a_call_holds_its_group_from_its_first_job_to_its_last() -> None:
    net = of_workflows()
    first, second = (net.submit_text(text(GROUPED), CALLED) for _ in range(2))
    assert legs(net, first) == {("call/build", 0)}
    assert not legs(net, second)
    net.end(first, "call/build")
    assert legs(net, first) == {("call/test", 0)}
    assert not legs(net, second)
    net.end(first, "call/test")
    assert legs(net, second) == {("call/build", 0)}


def test_jobs_of_one_call_share_its_group() -> None:
    net = of_workflows()
    run = net.submit_text(text(GROUPED), library(f"a: {{{STEPS}}}\nb: {{{STEPS}}}\n"))
    assert legs(net, run) == {("call/a", 0), ("call/b", 0)}


def test_the_group_of_a_called_file_may_be_that_of_the_run() -> None:
    net = of_workflows()
    group = "concurrency: '${{ github.workflow }}-${{ github.ref }}'\n"
    called = {LIB: group + CALLED[LIB]}
    run = net.submit_text(text(f"call: {{uses: ./{LIB}}}\n", "on: push\n" + group), called)
    net.end(run, "call/build")
    net.end(run, "call/test")
    assert net.results(run)["call"] == "success"


def test_of_calls_that_wait_the_newest_stays_and_one_may_cancel_what_runs() -> None:
    net = of_workflows()
    wait, cancel = (GROUPED.replace("queue: max", more) for more in ("queue: single", "cancel-in-progress: true"))
    first, second, third = (net.submit_text(text(wait), CALLED) for _ in range(3))
    assert net.results(second)["call"] == "cancelled"
    assert not legs(net, third)
    fourth = net.submit_text(text(cancel), CALLED)
    assert net.asked_to_stop(first) == {("call/build", 0)}
    assert net.results(third)["call"] == "cancelled"
    net.end(first, "call/build", result="cancelled")
    assert legs(net, fourth) == {("call/build", 0)}


def test_calls_and_jobs_that_want_each_others_groups_come_to_an_end() -> None:
    net = of_workflows(3)
    files = [
        library(f"a: {{{STEPS}}}\nb: {{needs: a, concurrency: {{group: {inner}, queue: max}}, {STEPS}}}\n")
        for inner in ("x", "y")
    ]
    runs = [
        net.submit_text(text(GROUPED.replace("prod", outer)), file)
        for outer, file in zip(("y", "x", "y", "x"), files * 2, strict=True)
    ]
    for _ in range(20):
        for (job, leg), start in net.running().items():
            net.end(start.attempt.run, job, leg)
        net.wait(1.5)
    assert [net.run(run).tally.conclusion() for run in runs] == ["success"] * 4


def test_groups_that_a_plan_cannot_say_are_refused_with_their_place() -> None:
    net = of_workflows()
    each = "concurrency: '${{ matrix.v }}', strategy: {matrix: {v: [1, 2]}}"
    for jobs, files, message in (
        (f"call: {{{each}, uses: ./{LIB}}}\n", CALLED, "for each leg"),
        (GROUPED, {LIB: "concurrency: x\n" + CALLED[LIB]}, "has one as well"),
        (
            f"a: {{{STEPS}}}\ncall: {{needs: a, concurrency: '${{{{ needs.a.result }}}}', uses: ./{LIB}}}\n",
            CALLED,
            "depends on the outputs",
        ),
    ):
        with pytest.raises(InvalidWorkflow, match=message):
            net.submit_text(text(jobs), files)
