"""From a workflow file to the body of its submission: what is worked out at the door, and what is refused there."""

from __future__ import annotations

from typing import Any

import pytest

from p2pwf.core.bodies import FORMS
from p2pwf.core.forms import has_form
from p2pwf.errors import InvalidWorkflow, UsageError
from p2pwf.node.submission import SourceFacts, Wanted, make_body

STEPS = "runs-on: x, steps: [{run: x}]"


def body(text: str, **wanted: Any) -> dict[str, Any]:
    made, _ = make_body(Wanted(text=text.encode(), source=SourceFacts(), force=True, **wanted))
    assert has_form({**made, "absent": []}, FORMS["run.submit"])
    return made


def test_the_title_is_what_run_name_comes_to_on_one_line() -> None:
    text = "run-name: |\n  Deploy ${{ inputs.to }}\n  by ${{ github.actor }}, ${{ github.run_number }}\n"
    text += f"on: {{workflow_dispatch: {{inputs: {{to: }}}}}}\njobs: {{a: {{{STEPS}}}}}\n"
    assert body(text, inputs={"to": "prod"}, run_number=7)["title"] == "Deploy prod by local, 7"


def test_a_workflow_that_others_call_is_submitted_as_if_somebody_had_called_it() -> None:
    call = "{inputs: {n: {type: number, required: true}, at: {type: string, default: '${{ github.ref_name }}'}}}"
    text = f"on: {{workflow_call: {call}}}\njobs: {{a: {{name: 'to ${{{{ inputs.n }}}}', {STEPS}}}}}\n"
    made = body(text, inputs={"N": "4"})
    assert (made["event"], made["inputs"], made["payload"]) == ("workflow_dispatch", {"n": 4, "at": "main"}, {})
    assert made["plan"]["jobs"][0]["legs"][0]["name"] == "to 4"
    with pytest.raises(UsageError, match="the input 'n' is required"):
        body(text)


def test_the_group_of_a_run_is_worked_out_with_its_event_and_inputs() -> None:
    text = "concurrency: {group: 'ci-${{ github.ref_name }}', cancel-in-progress: '${{ github.event.draft }}'}\n"
    text += f"on: push\njobs: {{a: {{{STEPS}}}}}\n"
    group = body(text, payload={"draft": True})["concurrency"]
    assert group == {"group": "ci-main", "cancel_in_progress": True, "queue": "single", "supersedes": []}


@pytest.mark.parametrize(
    "wanted",
    [
        {"pins": [""]},
        {"pins": ["l" * 257]},
        {"pins": ["a\nb"]},
        {"pins": ["x"] * 33},
        {"key": ""},
        {"key": "\x1b"},
        {"name": "\udc9b"},
    ],
)
def test_labels_and_keys_that_no_event_can_hold_are_told_by_their_name(wanted: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"label|not a key|not a name") as caught:
        body(f"on: push\njobs: {{a: {{{STEPS}}}}}\n", **wanted)
    assert caught.value.hint is not None


def test_a_group_by_the_id_of_the_run_is_that_of_no_other() -> None:
    text = f"concurrency: '${{{{ github.head_ref || github.run_id }}}}'\non: push\njobs: {{a: {{{STEPS}}}}}\n"
    assert body(text, run_id="one")["concurrency"]["group"] != body(text, run_id="two")["concurrency"]["group"]


@pytest.mark.parametrize(
    ("concurrency", "message"),
    [
        ("'${{ github.nope }}'", "must be a string, not empty"),
        ("{group: g, cancel-in-progress: '${{ github.ref }}'}", "for cancel-in-progress"),
        ("'${{ github.event }}'", "not empty"),
    ],
)
def test_a_group_that_comes_to_nothing_usable_is_refused(concurrency: str, message: str) -> None:
    with pytest.raises(InvalidWorkflow, match=message) as caught:
        body(f"concurrency: {concurrency}\non: push\njobs: {{a: {{{STEPS}}}}}\n")
    assert caught.value.diagnostics[0]["line"] == 1


def test_jobs_have_groups_for_each_leg() -> None:
    jobs = f"jobs: {{a: {{concurrency: 'at-${{{{ matrix.to }}}}', strategy: {{matrix: {{to: [x, y]}}}}, {STEPS}}}}}\n"
    (job,) = body(f"on: push\n{jobs}")["plan"]["jobs"]
    assert [leg["concurrency"]["group"] for leg in job["legs"]] == ["at-x", "at-y"]


def test_a_group_of_a_leg_that_comes_to_nothing_is_refused_too() -> None:
    jobs = f"jobs: {{a: {{concurrency: '${{{{ matrix.to }}}}', strategy: {{matrix: {{to: ['', y]}}}}, {STEPS}}}}}\n"
    with pytest.raises(InvalidWorkflow, match="must be a string, not empty"):
        body(f"on: push\n{jobs}")


def test_a_parallel_bound_beyond_all_legs_is_none_to_speak_of() -> None:
    jobs = f"jobs: {{a: {{strategy: {{max-parallel: 1000000, matrix: {{v: [1]}}}}, {STEPS}}}}}\n"
    assert body(f"on: push\n{jobs}")["plan"]["jobs"][0]["max_parallel"] == 4096
