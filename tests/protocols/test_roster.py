"""protocols/membership.md: sets of membership events, and what every peer comes to, whatever the order of arrival."""

from __future__ import annotations

import random
from typing import Any

import pytest

from p2pwf.core.ids import Cid
from tests.protocols.kit import Reader, binary, events_of, load, named

CASES = load("roster")["cases"]


def comes_to(reader: Reader) -> dict[str, object]:
    """What a reader says, as the vectors say it."""
    roster, dag = reader.clock.roster, reader.clock.dag
    members = {
        peer: {
            "roles": sorted(member.roles),
            "name": member.name,
            "labels": list(member.labels),
            "slots": member.slots,
        }
        for peer, member in roster.members.items()
    }
    cuts = {
        peer: [
            {
                "event": cut.event.cid.text,
                "roles": sorted(cut.roles),
                "readmissions": [add.cid.text for add in cut.readmissions],
            }
            for cut in sorted(cuts, key=lambda cut: cut.event.order)
        ]
        for peer, cuts in roster.cuts.items()
    }
    return {
        "members": members,
        "cuts": cuts,
        "void": sorted(node.cid.text for node in dag if node.void),
        "heads": [node.cid.text for node in dag.heads()],
    }


def expected_of(case: dict[str, Any]) -> dict[str, object]:
    return {name: value for name, value in case["expected"].items() if name != "without_effect"}


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_events_give_the_members(case: dict[str, Any]) -> None:
    reader = Reader(case["network"])
    for vector, event in zip(case["events"], events_of(case["events"]), strict=True):
        assert event.cid.text == vector["cid"]
        assert reader.take(event) == case["refused"].get(vector["cid"])
    assert comes_to(reader) == expected_of(case)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_order_of_arrival_does_not_matter(case: dict[str, Any]) -> None:
    events = events_of(case["events"])
    chance = random.Random(case["title"])
    for _ in range(8):
        chance.shuffle(events)
        reader = Reader(case["network"])
        reader.learn(events)
        assert reader.refused == case["refused"]
        assert comes_to(reader) == expected_of(case)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_cut_has_effect_or_is_said_to_have_none(case: dict[str, Any]) -> None:
    expected = case["expected"]
    effective = {cut["event"] for cuts in expected["cuts"].values() for cut in cuts}
    for event in events_of(case["events"]):
        if event.type in ("member.remove", "member.fork") and event.cid.text not in case["refused"]:
            assert (event.cid.text in effective) != (event.cid.text in expected["without_effect"])


@pytest.mark.parametrize("case", CASES, ids=named)
def test_an_event_is_judged_by_the_roster_below_it(case: dict[str, Any]) -> None:
    """The roster at a frontier is that of the events below, and of nothing else."""
    reader = Reader(case["network"])
    reader.learn(events_of(case["events"]))
    by_id = {event.cid: event for event in events_of(case["events"])}
    for node in reader.clock.dag:
        below: set[Cid] = set()
        todo = list(by_id[node.cid].links())
        while todo:
            cid = todo.pop()
            if cid not in below:
                below.add(cid)
                todo += by_id[cid].links()
        if below:
            alone = Reader(case["network"])
            alone.learn(by_id[cid] for cid in below)
            roster = reader.clock.roster_at(node.frontier)
            assert {(one.peer, one.roles, one.slots) for one in roster.members.values()} == {
                (one.peer, one.roles, one.slots) for one in alone.clock.roster.members.values()
            }
    assert binary(case["network"]) in reader.clock.dag
