"""Which event starts a run, with which inputs; schedules; tags; what the runner refuses."""

from __future__ import annotations

import pytest

from p2pwf.errors import UsageError
from p2pwf.workflow import (
    Workflow,
    choose_event,
    declared_events,
    dispatch_inputs,
    parse,
    payload_inputs,
    tags_in,
    unsupported,
)
from p2pwf.workflow.cron import cron_fault

JOBS = "jobs: {a: {runs-on: x, steps: [{run: x}]}}\n"
INPUTS = """
on:
  workflow_dispatch:
    inputs:
      Word: {default: hello}
      must: {required: true}
      flag: {type: boolean}
      on: {type: boolean, default: true}
      count: {type: number, default: 2.0}
      pick: {type: choice, options: [a, 2]}
      where: {type: environment}
"""


def flow(on: str) -> Workflow:
    return parse(on + JOBS).require()


@pytest.mark.parametrize(
    ("on", "event"),
    [
        ("on: push\n", "push"),
        ("on: [push, workflow_dispatch]\n", "workflow_dispatch"),
        ("on: {schedule: [{cron: '0 0 * * *'}]}\n", "schedule"),
        ("name: offline-workflow\n", "workflow_dispatch"),
    ],
)
def test_event_is_dispatch_or_the_only_one_declared(on: str, event: str) -> None:
    assert choose_event(flow(on)) == event


def test_another_event_may_be_preferred() -> None:
    workflow = flow("on: [workflow_dispatch, push]\n")
    assert choose_event(workflow, preferred="push") == "push"
    assert choose_event(flow("on: issues\n"), preferred="push") == "issues"


def test_several_events_must_be_chosen_from() -> None:
    workflow = flow("on: {push: , pull_request: {types: [opened]}}\n")
    assert declared_events(workflow) == ("push", "pull_request")
    assert choose_event(workflow, "push") == "push"
    with pytest.raises(UsageError) as several:
        choose_event(workflow)
    assert several.value.hint == "choose one with --event: push, pull_request"
    with pytest.raises(UsageError, match="does not declare the event 'issues'"):
        choose_event(workflow, "issues")


def test_inputs_get_their_types_and_defaults() -> None:
    inputs = dispatch_inputs(flow(INPUTS), {"MUST": "given", "flag": "true"})
    assert inputs == {
        "Word": "hello",
        "must": "given",
        "flag": True,
        "on": True,
        "count": 2,
        "pick": "a",
        "where": "",
    }
    assert payload_inputs(inputs)["flag"] == "true"
    assert payload_inputs(inputs)["count"] == "2"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "the input 'must' is required"),
        ({"must": "x", "other": "y"}, "unknown input 'other'"),
        ({"must": "x", "flag": "yes"}, "must be true or false"),
        ({"must": "x", "count": "many"}, "must be a number"),
        ({"must": "x", "count": "Infinity"}, "must be a number"),
        ({"must": "x", "pick": "c"}, "cannot be 'c'"),
        ({"must": ["x"]}, "not a collection"),
    ],
)
def test_input_that_does_not_fit_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dispatch_inputs(flow(INPUTS), given)


@pytest.mark.parametrize(
    "text", ["* * * * *", "*/5 0-23/2 1,15 JAN-MAR mon", "0 0 * * 6", "5/15 * * * *", "0 0 30 2 *", "0 0 * dec SUN-sat"]
)
def test_schedule_of_github_is_taken(text: str) -> None:
    assert cron_fault(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "* * * *", "* * * * * *", "@hourly", "60 * * * *", "0 0 L * *", "0 0 * * 1#2", "*/0 * * * *"),
        *("*/90 * * * *", "0 0 * * 7", "5-1 * * * *", "0 0 * FRI *", "1,,2 * * * *", "/5 * * * *", "-5 * * * *"),
        *("*-5 * * * *", "1-2-3 * * * *", "0 0 0 * *", "0 0 W * *", "x" * 500, "\u0663 * * * *"),
    ],
)
def test_other_schedules_are_not(text: str) -> None:
    assert cron_fault(text) is not None


def test_tags_are_found_in_names_and_labels_in_any_case() -> None:
    assert tags_in(["my P2P-Workflow 2", "x"]) == ("p2p-workflow",)
    assert tags_in(["p2p workflow"]) == ()
    assert flow("on: push\nlabels: [x-OFFLINE-workflow]\n").tags == ("offline-workflow",)
    assert parse("on: push\njobs: {p2p-workflow: {steps: [{run: x}]}}").require().tags == ("p2p-workflow",)
    named = "on: push\njobs: {a: {name: offline-workflow, labels: p2p-workflow, steps: [{run: x}]}}"
    assert parse(named).require().tags == ("p2p-workflow", "offline-workflow")


def test_untagged_file_is_judged_as_github_judges_it() -> None:
    codes = [finding.message for finding in parse("name: x\njobs: {a: {steps: [{run: x}]}}").diagnostics]
    assert codes == ["Required property is missing: on", "Required property is missing: runs-on"]


def test_needs_meet_their_jobs_in_any_case() -> None:
    text = (
        "on: push\njobs:\n  One: {runs-on: x, steps: [{run: x}]}\n  two: {needs: ONE, runs-on: x, steps: [{run: x}]}\n"
    )
    assert parse(text).require().job("two").needs == ("One",)


@pytest.mark.parametrize(
    ("job", "what"),
    [
        ("runs-on: x, snapshot: a, steps: [{run: x}]", "custom images"),
    ],
)
def test_what_the_runner_cannot_do_is_said_with_its_place(job: str, what: str) -> None:
    findings = unsupported(parse(f"on: push\njobs:\n  a: {{{job}}}\n").require())
    assert what in findings[0].message
    assert findings[0].line == 3


def test_what_the_runner_can_do_is_not_refused() -> None:
    text = "on: push\njobs: {a: {runs-on: x, steps: [{uses: Actions/Checkout@v4}, {run: x}]}}\n"
    assert unsupported(parse(text).require()) == ()
