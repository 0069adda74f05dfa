"""Vectors of the fold: the events of a run, and what they come to on every peer."""

from __future__ import annotations

from typing import Any, cast

from p2pwf.clock import Clock
from p2pwf.runs import Run
from p2pwf.runs.view import keys_of, status
from scripts.core_vectors.stories import Case, all_cases
from scripts.core_vectors.story import fold
from scripts.core_vectors.text import block_json, to_json


def is_cancelled(clock: Clock, run: Run) -> bool:
    """Whether a run is to be brought to its end without starting anything more."""
    return bool(run.tally.cancels) or clock.dag[run.id].void or clock.roster.drops_runs_of(run.submitter)


def check(case: Case, clock: Clock, run: Run) -> None:
    """Compare what the implementation says with what was written by hand."""
    title = case.title
    idle = {cid for cid, entry in run.events.items() if not entry.counts}
    assert idle == {event.cid for event in case.idle}, (title, [run.events[cid].type for cid in idle])
    for key in keys_of(run):
        outcome = run.tally.finish(key)
        expected = case.outcomes.get(key)
        assert (outcome.cid if outcome else None) == (expected.cid if expected else None), (title, key)
    for key, owner in case.owners.items():
        assert run.owner(key) == (owner.peer if owner else None), (title, key)
    assert status(run) == case.status, (title, status(run))
    assert {name: run.tally.result(name) for name in case.results} == dict(case.results), title
    assert (run.tally.end.cid if run.tally.end else None) == (case.end.cid if case.end else None), title
    assert is_cancelled(clock, run) == case.cancelled, title


def described(clock: Clock, run: Run) -> dict[str, object]:
    """What every peer has to come to."""
    tally = run.tally
    steered = run.submission.body if tally.priority is None else tally.priority.body
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
                "start": None if start is None else start.cid.text,
                "outcome": None if outcome is None else outcome.cid.text,
            }
        )
    return {
        "clock_head": run.placement.clock_head.hex(),
        "without_effect": sorted(cid.text for cid, entry in run.events.items() if not entry.counts),
        "void": sorted(cid.text for cid, entry in run.events.items() if clock.dag[cid].void),
        "legs": legs,
        "results": {name: tally.result(name) for name in run.plan.jobs},
        "outputs": {name: tally.outputs(name) for name in run.plan.jobs},
        "priority": to_json(cast(Any, steered)["priority"]),
        "cancelled": is_cancelled(clock, run),
        "conclusion": tally.conclusion(),
        "end": None if tally.end is None else tally.end.cid.text,
        "status": status(run),
    }


def run_vectors() -> dict[str, object]:
    """All vectors of the fold. Events that cases share stand once, under their id."""
    events: dict[str, dict[str, str]] = {}
    found: list[dict[str, object]] = []
    for case in all_cases():
        story = case.story
        clock, run = fold(story.scene, story.run.cid)
        check(case, clock, run)
        ordered = sorted(story.scene.events.values(), key=lambda event: event.order)
        events.update({event.cid.text: {"type": event.type, **block_json(event)} for event in ordered})
        found.append(
            {
                "title": case.title,
                "network": story.scene.genesis.cid.text,
                "run": story.run.cid.text,
                "events": [event.cid.text for event in ordered],
                "expected": described(clock, run),
            }
        )
    return {"protocol": "runs", "version": 1, "events": events, "cases": found}
