"""What an environment of a job has goes over the rest; and what is wrong with a secret is told without it (T47)."""

from __future__ import annotations

import attrs
import pytest

from p2pwf.runner import Limits, run_job
from p2pwf.runner.masking import Masker
from p2pwf.runner.values import JobResult
from tests.runner.kit import Bench, make_request

CALLS = """
on: push
jobs: {call: {uses: ./b.yml, secrets: {x: "${{ fromJSON(secrets.A) }}"}}}
"""
CALLED = """
on: {workflow_call: {secrets: {x: {required: true}}}}
jobs: {j: {runs-on: x, steps: [{run: "true"}]}}
"""


async def failed_call(bench: Bench) -> JobResult:
    request = attrs.evolve(
        make_request(CALLS, secrets={"A": "open_sesame"}), job_id="call/j", called={"b.yml": CALLED}, legs=1
    )
    log = bench.new_log()
    result = await run_job(request, bench.env(log, Limits(), None))
    log.close()
    return result


async def test_t47_what_is_wrong_with_a_secret_is_told_without_it(bench: Bench) -> None:
    result = await failed_call(bench)
    assert result.outcome == "failure"
    assert result.error
    assert "open_sesame" not in result.error


async def test_t47_a_secret_shows_in_an_error_without_the_guard(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Masker, "mask", lambda _, text: text)
    result = await failed_call(bench)
    assert "open_sesame" in (result.error or ""), "if the reader of JSON told nothing, this test would guard nothing"


async def test_what_the_environment_of_a_job_has_goes_over_the_rest_and_is_masked(bench: Bench) -> None:
    ran = await bench.run(
        "- run: echo $T/${{ secrets.OTHER }} ${{ vars.where }}/${{ vars.what }}",
        job="env: {T: '${{ secrets.token }}'}",
        facts={"vars": {"Where": "everywhere", "WHAT": "all"}},
        secrets={"TOKEN": "of-the-network", "OTHER": "another-one"},
        own_secrets={"TOKEN": "of-the-environment"},
        own_vars={"WHERE": "here"},
    )
    assert ran.text() == "***/*** here/all"
    ran = await bench.run("- run: echo of-the-environment", own_secrets={"TOKEN": "of-the-environment"})
    assert ran.text() == "***"


async def test_the_variables_of_an_environment_decide_nothing_about_legs(bench: Bench) -> None:
    ran = await bench.run(
        "- run: echo ${{ matrix.n }} ${{ vars.N }}",
        job="strategy: {matrix: {n: ['${{ vars.N }}']}}",
        facts={"vars": {"N": "1"}},
        own_vars={"N": "2"},
        matrix={"n": "1"},
    )
    assert ran.text() == "1 2"
