"""The pages say enough: an implementation from their words alone comes to what the vectors expect."""

from __future__ import annotations

from typing import Any

import pytest

from p2pwf.core.ids import Cid
from tests.protocols.kit import binary, events_of, load, named
from tests.protocols.reference import Fold, Roster, View, World, role_of

RUNS = load("runs")


@pytest.mark.parametrize("case", load("roster")["cases"], ids=named)
def test_the_words_of_the_page_give_the_members(case: dict[str, Any]) -> None:
    accepted = [event for event in events_of(case["events"]) if event.cid.text not in case["refused"]]
    world = World(accepted)
    roster = Roster(world, accepted)
    expected = case["expected"]
    assert roster.members() == expected["members"]
    cuts = {
        peer: [
            {
                "event": cut.cid.text,
                "roles": sorted(roles),
                "readmissions": [add.cid.text for add in roster.readmissions(peer, cut)],
            }
            for one, roles, cut in sorted(roster.cuts, key=lambda entry: (entry[2].lamport, entry[2].cid))
            if one == peer
        ]
        for peer, _, _ in roster.cuts
    }
    assert cuts == expected["cuts"]
    assert sorted(event.cid.text for event in accepted if roster.leaves_void(event)) == expected["void"]
    for event in events_of(case["events"]):
        if case["refused"].get(event.cid.text) == "role":
            before = World([*accepted, event])
            held = before.at(event).members().get(event.author, {"roles": []})["roles"]
            assert not held or role_of(event) not in (None, *held)


@pytest.mark.parametrize("case", RUNS["cases"], ids=named)
def test_the_words_of_the_page_give_the_state_of_the_run(case: dict[str, Any]) -> None:
    expected = case["expected"]
    fold = Fold(World(events_of(RUNS["events"][cid] for cid in case["events"])), Cid(binary(case["run"])))
    view = View(fold, fold.world.events)
    idle = [event.cid.text for event in fold.events if event.cid not in fold.counting]
    assert sorted(idle) == expected["without_effect"]
    assert sorted(event.cid.text for event in fold.events if fold.void(event)) == expected["void"]
    for leg in expected["legs"]:
        job, index = leg["job"], leg["leg"]
        planned = view.legs(job)[index]
        outcome = view.outcome(job, index)
        assert planned["name"] == leg["name"]
        assert fold.order(job, index, planned["labels"], fold.known) == leg["order"]
        assert view.owner(job, index, 1) == leg["placed"] or leg["attempt"] == 1
        assert view.newest(job, index) == leg["attempt"]
        assert view.owner(job, index, leg["attempt"]) == leg["owner"]
        assert (outcome.cid.text if outcome else None) == leg["outcome"]
    assert {job: view.result(job) for job in fold.jobs} == expected["results"]
    assert view.conclusion() == expected["conclusion"]
    end = view.end()
    assert (end.cid.text if end else None) == expected["end"]
