"""Plans and decisions: what is fixed at submission, what waits for needs, and which jobs run."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from p2pwf.core.dagcbor import decode, encode
from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow import (
    RunFacts,
    Workflow,
    build_plan,
    expand_job,
    job_continue_on_error,
    job_strategy,
    parse,
    run_group,
    should_run,
)

Needs = dict[str, dict[str, object]]


def workflow(jobs: str, head: str = "on: push\n") -> Workflow:
    return parse(head + "jobs:\n" + textwrap.indent(textwrap.dedent(jobs), "  ")).require()


def outcome(result: str, **outputs: str) -> dict[str, object]:
    return {"result": result, "outputs": outputs}


STEPS = "steps: [{run: x}]"


def test_plan_is_plain_data_in_declared_order() -> None:
    made = build_plan(
        workflow(f"""
            second: {{needs: first, runs-on: [Linux, X64], {STEPS}}}
            first:
              runs-on: ${{{{ matrix.os }}}}
              name: ${{{{ matrix.os }}}}!
              continue-on-error: ${{{{ matrix.n == 2 }}}}
              strategy: {{fail-fast: false, max-parallel: 3, matrix: {{os: [Ubuntu], n: [1, 2, 2.5]}}}}
              {STEPS}
            """),
        RunFacts(),
    )
    leg = {"name": "Ubuntu!", "labels": ["ubuntu"], "continue_on_error": False, "concurrency": None}
    assert made == {
        "jobs": [
            {
                "id": "second",
                "needs": ["first"],
                "legs": [
                    {**leg, "name": "second", "matrix": None, "labels": ["linux", "x64"]},
                ],
                "fail_fast": True,
                "max_parallel": 0,
            },
            {
                "id": "first",
                "needs": [],
                "legs": [
                    {**leg, "matrix": {"os": "Ubuntu", "n": 1}},
                    {**leg, "matrix": {"os": "Ubuntu", "n": 2}, "continue_on_error": True},
                    {**leg, "matrix": {"os": "Ubuntu", "n": 2.5}},
                ],
                "fail_fast": False,
                "max_parallel": 3,
            },
        ]
    }
    assert decode(encode(made)) == made


def test_whole_numbers_of_a_plan_are_integers() -> None:
    made = build_plan(workflow(f"a: {{runs-on: x, strategy: {{matrix: {{v: [3.0, 1e3]}}}}, {STEPS}}}"), RunFacts())
    assert "'matrix': {'v': 3}" in str(made)
    assert "'matrix': {'v': 1000}" in str(made)


@pytest.mark.parametrize(
    "part",
    [
        "runs-on: '${{ needs.a.outputs.x }}'",
        "{runs-on: x, strategy: {matrix: '${{ fromJSON(needs.a.outputs.x) }}'}}",
        "{runs-on: x, strategy: {matrix: {v: ['${{ NEEDS.a.result }}']}}}",
        "{runs-on: x, name: 'after ${{ needs.a.result }}'}",
        "{runs-on: x, concurrency: 'g-${{ needs.a.result }}'}",
        "{runs-on: x, continue-on-error: '${{ needs.a.result == 1 }}'}",
    ],
)
def test_job_whose_legs_depend_on_needs_is_left_open(part: str) -> None:
    body = part[1:-1] if part.startswith("{") else part
    made = build_plan(workflow(f"a: {{runs-on: x, {STEPS}}}\nb: {{needs: a, {body}, {STEPS}}}"), RunFacts())
    assert "'id': 'b', 'needs': ['a'], 'legs': None" in str(made)


def test_if_and_env_may_use_needs_and_the_legs_are_fixed_all_the_same() -> None:
    made = build_plan(
        workflow(f"""
            a: {{runs-on: x, {STEPS}}}
            b: {{needs: a, runs-on: x, if: needs.a.result, env: {{A: '${{{{ needs.a.result }}}}'}}, {STEPS}}}
            """),
        RunFacts(),
    )
    assert "'legs': None" not in str(made)


def test_open_job_expands_from_the_outputs_of_its_needs() -> None:
    flow = workflow(f"""
        a: {{runs-on: x, {STEPS}}}
        b:
          needs: a
          strategy:
            max-parallel: ${{{{ fromJSON(needs.a.outputs.p) }}}}
            matrix: ${{{{ fromJSON(needs.a.outputs.m) }}}}
          runs-on: ${{{{ matrix.on }}}}
          {STEPS}
        """)
    needs: Needs = {"a": outcome("success", m='{"on": ["A", "B"]}', p="1")}
    legs = expand_job(flow, "b", RunFacts(), needs)
    assert [(leg["name"], leg["labels"]) for leg in legs] == [("b (A)", ["a"]), ("b (B)", ["b"])]
    assert job_strategy(flow, "b", RunFacts(), needs).max_parallel == 1


@pytest.mark.parametrize(
    ("outputs", "message"),
    [("not json", "Error parsing fromJson"), ('{"v": []}', "does not contain any values"), ('"text"', "mapping")],
)
def test_open_job_that_cannot_expand_says_where_and_why(outputs: str, message: str) -> None:
    flow = workflow(f"""
        a: {{runs-on: x, {STEPS}}}
        b: {{needs: a, runs-on: x, strategy: {{matrix: '${{{{ fromJSON(needs.a.outputs.m) }}}}'}}, {STEPS}}}
        """)
    with pytest.raises(InvalidWorkflow, match=message) as caught:
        expand_job(flow, "b", RunFacts(), {"a": outcome("success", m=outputs)})
    assert caught.value.diagnostics[0]["line"] == 5


@pytest.mark.parametrize("runs_on", ["'${{ github.nope }}'", "'${{ fromJSON(''[[1]]'') }}'"])
def test_runs_on_without_a_label_is_an_error(runs_on: str) -> None:
    with pytest.raises(InvalidWorkflow):
        build_plan(workflow(f"a: {{runs-on: {runs_on}, {STEPS}}}"), RunFacts())


def test_runs_on_takes_a_group_and_arrays_from_expressions() -> None:
    flow = workflow(f"""
        a: {{runs-on: {{group: Big, labels: [L1, l1]}}, {STEPS}}}
        b: {{runs-on: '${{{{ fromJSON(vars.LABELS) }}}}', {STEPS}}}
        """)
    facts = RunFacts(vars={"LABELS": '["self-hosted", "GPU"]'})
    assert [expand_job(flow, job, facts, {})[0]["labels"] for job in ("a", "b")] == [
        ["big", "l1"],
        ["self-hosted", "gpu"],
    ]


def test_tagged_job_without_runs_on_takes_any_runner() -> None:
    flow = workflow(f"a: {{{STEPS}}}", head="name: p2p-workflow x\n")
    assert expand_job(flow, "a", RunFacts(), {})[0]["labels"] == []


RESULTS = ("success", "failure", "cancelled", "skipped")


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize(
    ("condition", "runs_after"),
    [
        ("", {"success"}),
        ("true", {"success"}),
        ("success()", {"success"}),
        ("failure()", {"failure"}),
        ("always()", set(RESULTS)),
        ("!cancelled()", set(RESULTS)),
        ("${{ ALWAYS() && needs.a.result == 'skipped' }}", {"skipped"}),
        ("needs.a.result != 'success'", set()),
        ("!failure()", {"success", "cancelled", "skipped"}),
        ("success('a') || failure('a')", {"success", "failure"}),
        ("false", set()),
        ("'text'", {"success"}),
        ("github.event_name == 'push'", {"success"}),
    ],
)
def test_job_runs_after_a_need_with_a_result(condition: str, runs_after: set[str], result: str) -> None:
    clause = f'if: "{condition}", ' if condition else ""
    flow = workflow(f"a: {{runs-on: x, {STEPS}}}\nb: {{needs: a, runs-on: x, {clause}{STEPS}}}")
    facts = RunFacts(event="push")
    assert should_run(flow, "b", facts, {"a": outcome(result)}, {"a": result}, cancelled=False) == (
        result in runs_after
    )


def test_implicit_success_looks_at_every_ancestor_not_only_at_direct_needs() -> None:
    flow = workflow(f"""
        a: {{runs-on: x, {STEPS}}}
        b: {{needs: a, if: always(), runs-on: x, {STEPS}}}
        c: {{needs: b, runs-on: x, {STEPS}}}
        d: {{needs: b, if: failure(), runs-on: x, {STEPS}}}
        """)
    needs: Needs = {"b": outcome("success")}
    assert not should_run(flow, "c", RunFacts(), needs, {"b": "success", "a": "failure"}, cancelled=False)
    assert not should_run(flow, "c", RunFacts(), needs, {"b": "success", "a": "skipped"}, cancelled=False)
    assert should_run(flow, "d", RunFacts(), needs, {"b": "success", "a": "failure"}, cancelled=False)
    assert should_run(flow, "c", RunFacts(), needs, {"b": "success", "a": "success"}, cancelled=False)


@pytest.mark.parametrize(
    ("condition", "runs"), [("success()", False), ("always()", True), ("cancelled()", True), ("failure()", False)]
)
def test_in_a_cancelled_run_only_what_asks_for_it_runs(condition: str, runs: bool) -> None:
    flow = workflow(f"a: {{runs-on: x, if: {condition}, {STEPS}}}")
    assert should_run(flow, "a", RunFacts(), {}, {}, cancelled=True) is runs


def test_text_around_an_expression_makes_a_condition_true() -> None:
    flow = workflow(f"a: {{runs-on: x, if: \"${{{{ false }}}} == 'x'\", {STEPS}}}")
    assert should_run(flow, "a", RunFacts(), {}, {}, cancelled=False)


def test_condition_that_cannot_be_evaluated_is_an_error() -> None:
    flow = workflow(f"a: {{runs-on: x, if: fromJSON(github.ref), {STEPS}}}")
    with pytest.raises(InvalidWorkflow, match="fromJson"):
        should_run(flow, "a", RunFacts(), {}, {}, cancelled=False)


def test_continue_on_error_is_judged_for_each_leg() -> None:
    flow = workflow(f"""
        a: {{runs-on: x, continue-on-error: '${{{{ matrix.v == 1 }}}}', strategy: {{matrix: {{v: [1, 2]}}}}, {STEPS}}}
        """)
    assert job_continue_on_error(flow, "a", RunFacts(), {}, {"v": 1})
    assert not job_continue_on_error(flow, "a", RunFacts(), {}, {"v": 2})


def test_groups_of_a_run_and_of_its_legs_are_evaluated() -> None:
    head = 'on: push\nconcurrency: {group: "${{ github.workflow }}-${{ github.ref_name }}", cancel-in-progress: true}\n'
    jobs = """
        a:
          runs-on: x
          strategy: {matrix: {n: [1, 2]}}
          concurrency: {group: "site-${{ matrix.n }}", queue: max}
          steps: [{run: x}]
        b:
          runs-on: x
          steps: [{run: x}]
    """
    flow = workflow(jobs, head)
    facts = RunFacts(workflow_name="deploy", ref="refs/heads/main")
    assert run_group(flow, facts) == {"group": "deploy-main", "cancel_in_progress": True, "queue": "single"}
    plan: Any = build_plan(flow, facts)
    groups = [leg["concurrency"] for job in plan["jobs"] for leg in job["legs"]]
    assert groups == [*({"group": f"site-{n}", "cancel_in_progress": False, "queue": "max"} for n in (1, 2)), None]
