"""What checking one file may cost is bounded, and no file that somebody would write comes near the bound."""

from __future__ import annotations

import pytest

from p2pwf.workflow import parse
from p2pwf.workflow.action import parse_action
from p2pwf.workflow.effort import MAX_EFFORT, Effort, TooComplex
from p2pwf.workflow.matrix import MAX_LEGS, build_legs

HEAD = "on: push\njobs:\n"
STEPS = HEAD + "  a:\n    runs-on: x\n    steps:\n"
JOB = "  j#: {runs-on: x, strategy: {matrix: {os: [a, b]}}, steps: [{uses: a/b@v1}, {run: 'echo ${{ matrix.os }}'}]}\n"


def codes(text: str) -> list[str]:
    return [finding.code for finding in parse(text).diagnostics]


def filters(count: int) -> str:
    values = ", ".join(map(str, range(16)))
    excluded = ", ".join(["{a: x}"] * count)
    matrix = f"{{a: [{values}], b: [{values}], exclude: [{excluded}]}}"
    return f"{{runs-on: x, strategy: {{matrix: {matrix}}}, steps: [{{run: a}}]}}\n"


DEAR = {
    "expressions": STEPS + "".join(f"      - run: ${{{{ vars.a{number} }}}}\n" for number in range(6000)),
    "wrong expressions": STEPS + "".join(f"      - run: ${{{{ a{number} }}}}\n" for number in range(6000)),
    "one text of expressions": STEPS + "      - run: " + "".join(f"${{{{env.a{one}}}}}" for one in range(15000)) + "\n",
    "long expressions": STEPS + "".join(f"      - run: ${{{{ {'0||' * 6900}{one} }}}}\n" for one in range(11)),
    "steps": STEPS + "      - run: a\n" * 9000,
    "jobs": HEAD + "".join(f"  j{number}: {{runs-on: x, steps: [{{run: a}}]}}\n" for number in range(3000)),
    "patterns": "on: {push: {branches: [" + ", ".join(f"b{one}*" for one in range(12000)) + f"]}}}}\n{HEAD[9:]}"
    "  a: {runs-on: x, steps: [{run: a}]}\n",
    "names of events": "on: [" + ", ".join(f"n{one}" for one in range(12000)) + f"]\n{HEAD[9:]}"
    "  a: {runs-on: x, steps: [{run: a}]}\n",
    "unknown keys": HEAD + "".join(f"  j: {{k{one}: 1}}\n".replace("j:", f"j{one}:") for one in range(9000)),
    "lenient JSON": STEPS + f"      - run: ${{{{ fromJSON('[{',' * 20000}]') }}}}\n" * 12,
    "filters of matrices": HEAD + "".join(f"  j{number}: {filters(100)}" for number in range(20)),
    "schedules": "on:\n  schedule:\n"
    + "    - cron: '0 0 29 2 1'\n" * 6000
    + "jobs:\n  a: {runs-on: x, steps: [{run: a}]}\n",
    "needs": HEAD
    + "".join(
        f"  j{number}: {{runs-on: x, needs: [{', '.join(f'j{one}' for one in range(max(0, number - 60), number))}], "
        "steps: [{run: a}]}\n"
        for number in range(400)
    ),
}


@pytest.mark.parametrize("kind", DEAR)
def test_what_would_cost_too_much_ends_in_a_finding(kind: str) -> None:
    found = parse(DEAR[kind]).diagnostics
    assert found[0].code == "too-complex"
    assert found[0].hint is not None
    assert parse(DEAR[kind]).workflow is None


def test_what_aliases_stand_for_counts_for_the_bound_of_nodes_only() -> None:
    read = f"on: push\nenv: {{a: b}}\nx: &x [{'a, ' * 30_000}]\n"
    assert "too-complex" not in codes(read)
    assert "too-complex" in codes(read + f"y: [{'a, ' * 10_000}]\n")
    assert "too-complex" not in codes(read + f"y: *x\nz: [{'a, ' * 9_000}]\n")
    assert codes(read + f"y: *x\nz: *x\nq: [{'a, ' * 9_000}]\n") == ["yaml-nodes"]


def test_what_was_found_before_is_told_as_well() -> None:
    assert codes(DEAR["wrong expressions"])[:2] == ["too-complex", "expression-unavailable"]


def test_hundreds_of_ordinary_jobs_check() -> None:
    assert codes(HEAD + "".join(JOB.replace("#", str(number)) for number in range(500))) == []


def test_a_full_matrix_with_a_hundred_filters_checks() -> None:
    assert codes(f"{HEAD}  j: {filters(100)}") == []


def test_an_action_is_bounded_too() -> None:
    steps = "".join(f"    - {{run: 'a', shell: '${{{{ inputs.a{number} }}}}'}}\n" for number in range(5000))
    parsed = parse_action(f"name: a\ndescription: b\nruns:\n  using: composite\n  steps:\n{steps}")
    assert "too-complex" in [finding.code for finding in parsed.diagnostics]


def test_the_bound_is_one_sum() -> None:
    effort = Effort()
    effort.spend(MAX_EFFORT)
    with pytest.raises(TooComplex):
        effort.spend(1)


def test_filters_do_not_go_through_all_combinations_one_by_one() -> None:
    values = list(map(float, range(16)))
    legs = build_legs(
        {"a": values, "b": values, "exclude": [{"a": 3.0, "b": 4.0}] * 300, "include": [{"a": 5.0, "c": 1}]}
    )
    assert len(legs) == MAX_LEGS - 1
    assert sum("c" in leg for leg, _ in legs) == 16
