"""protocols/runs.md: the events of a run, and what they come to on every peer, whatever the order of arrival."""

from __future__ import annotations

import random
from typing import Any

import pytest

from p2pwf.core.events import Event
from p2pwf.core.ids import Cid
from p2pwf.runs import Run
from p2pwf.runs.view import keys_of, status
from tests.protocols.kit import Reader, binary, events_of, load, named

VECTORS = load("runs")
CASES = VECTORS["cases"]


def events_in(case: dict[str, Any]) -> list[Event]:
    return events_of(VECTORS["events"][cid] for cid in case["events"])


def is_cancelled(reader: Reader, run: Run) -> bool:
    """From the words of the page."""
    cuts = reader.clock.roster.cuts.get(run.submitter, ())
    gone = run.submitter not in reader.clock.roster.members
    void = reader.clock.dag[run.id].void
    return bool(run.tally.cancels) or void or (gone and not any(cut.event.keep_runs for cut in cuts))


def comes_to(reader: Reader, run: Run) -> dict[str, object]:
    """What a reader says, as the vectors say it."""
    tally = run.tally
    legs = []
    for key in keys_of(run):
        state, outcome = tally.leg(key), tally.finish(key)
        start = state.starts.get(state.attempt)
        legs.append(
            {
                "job": key[0],
                "leg": key[1],
                "name": tally.leg_of(key).name,
                "order": run.order(key, run.roster),
                "placed": run.placed(key),
                "attempt": state.attempt,
                "owner": run.owner(key),
                "start": start.cid.text if start else None,
                "outcome": outcome.cid.text if outcome else None,
            }
        )
    return {
        "clock_head": run.placement.clock_head.hex(),
        "without_effect": sorted(cid.text for cid, entry in run.events.items() if not entry.counts),
        "void": sorted(cid.text for cid in run.events if reader.clock.dag[cid].void),
        "legs": legs,
        "results": {name: tally.result(name) for name in run.plan.jobs},
        "outputs": {name: tally.outputs(name) for name in run.plan.jobs},
        "cancelled": is_cancelled(reader, run),
        "conclusion": tally.conclusion(),
        "end": tally.end.cid.text if tally.end else None,
        "status": status(run),
    }


def expected_of(case: dict[str, Any]) -> dict[str, object]:
    return {name: value for name, value in case["expected"].items() if name != "priority"}


def priority_of(run: Run) -> object:
    body = run.submission.body if run.tally.priority is None else run.tally.priority.body
    value = body["priority"]
    return {"/": {"float": repr(value)}} if isinstance(value, float) else value


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_events_give_the_state_of_the_run(case: dict[str, Any]) -> None:
    reader = Reader(case["network"])
    events = events_in(case)
    assert [event.cid.text for event in events] == case["events"]
    for event in events:
        assert reader.take(event) is None
    run = reader.runs[Cid(binary(case["run"]))]
    assert comes_to(reader, run) == expected_of(case)
    assert priority_of(run) == case["expected"]["priority"]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_order_of_arrival_does_not_matter(case: dict[str, Any]) -> None:
    events = events_in(case)
    chance = random.Random(case["title"])
    for _ in range(4):
        chance.shuffle(events)
        reader = Reader(case["network"])
        reader.learn(events)
        assert reader.refused == {}
        assert comes_to(reader, reader.runs[Cid(binary(case["run"]))]) == expected_of(case)


def test_the_generator_gives_the_files_as_they_are() -> None:
    import runpy

    from tests.protocols.kit import ROOT

    texts = runpy.run_path(str(ROOT / "scripts/vectors_core.py"))["texts"]()
    for name, text in texts.items():
        assert (ROOT / f"protocols/vectors/{name}.json").read_text(encoding="utf-8") == text, name
