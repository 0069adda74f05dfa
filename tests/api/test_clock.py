"""The public Merkle clock: merging whatever diverged, refusing what was forged, and staying JSON."""

from __future__ import annotations

import json
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf import MerkleClock, hamming_distance, select_task_owner
from p2pwf.ledger import MAX_PARENTS, BadClock, make_node

DATA = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)  # fmt: skip


def hashes(clock: MerkleClock) -> list[str]:
    return [node.hash for node in clock.nodes]


def grown(seed: int, count: int = 4, steps: int = 60) -> list[MerkleClock]:
    """Clocks that appended and merged each other at random."""
    random = Random(seed)
    clocks = [MerkleClock(f"peer {index}") for index in range(count)]
    for step in range(steps):
        clock = random.choice(clocks)
        if random.random() < 0.2:
            clock.merge(random.choice(clocks))
        else:
            clock.append({"step": step})
    return clocks


def test_a_node_stands_on_the_one_before_it() -> None:
    clock = MerkleClock("a")
    assert (clock.get_head(), clock.head_hash, clock.logical_clock, clock.verify_chain()) == (None, None, 0, True)
    first, second = clock.append({"n": 1}), clock.append({"n": 2})
    assert (first.parent_hash, first.logical_clock, first.peer_id, first.data) == (None, 1, "a", {"n": 1})
    assert (second.parent_hash, second.logical_clock) == (first.hash, 2)
    assert first.timestamp <= second.timestamp
    assert clock.get_head() == second
    assert (clock.head_hash, clock.logical_clock, len(clock)) == (second.hash, 2, 2)
    assert len(bytes.fromhex(second.hash)) == 32


@given(st.lists(DATA, max_size=6))
def test_a_clock_survives_json_and_still_verifies(data: list[dict[str, Any]]) -> None:
    clock = MerkleClock("ä\0 any name")
    for one in data:
        clock.append(one)
    again = MerkleClock.from_dict(json.loads(json.dumps(clock.to_dict())))
    assert again.verify_chain()
    assert again.to_dict() == clock.to_dict()
    assert again.append({}).logical_clock == len(data) + 1


@given(st.integers(0, 10_000))
def test_merging_gives_everybody_the_same_nodes_and_head_whatever_the_order(seed: int) -> None:
    clocks = grown(seed)
    merged = []
    for order in list(permutations(clocks))[:6]:
        one = MerkleClock("reader")
        for clock in order:
            one.merge(clock)
            one.merge(clock)
        merged.append(one)
        assert one.verify_chain()
    assert len({tuple(hashes(one)) for one in merged}) == 1
    assert {one.head_hash for one in merged} == {merged[0].head_hash}
    assert set(hashes(merged[0])) == {hash for clock in clocks for hash in hashes(clock)}


@given(st.integers(0, 10_000))
def test_what_comes_after_a_merge_stands_on_every_head(seed: int) -> None:
    one, two, *_ = grown(seed)
    one.merge(two)
    heads, height = one.heads(), one.logical_clock
    node = one.append({"joined": True})
    assert (list(node.parents), node.logical_clock) == ([head.hash for head in heads], height + 1)
    assert one.heads() == [node]
    assert one.verify_chain()


def test_more_heads_than_one_node_may_stand_on_are_taken_by_the_next_ones() -> None:
    clock = MerkleClock("reader")
    for index in range(MAX_PARENTS + 5):
        other = MerkleClock(f"peer {index}")
        other.append({"n": index})
        assert clock.merge(other) == 1
    assert len(clock.append({}).parents) == MAX_PARENTS
    assert len(clock.append({}).parents) == 6
    assert len(clock.heads()) == 1
    assert clock.verify_chain()


def test_merging_a_clock_with_itself_or_twice_changes_nothing() -> None:
    clock, other = MerkleClock("a"), MerkleClock("b")
    clock.append({"n": 1})
    other.append({"n": 2})
    assert clock.merge(clock) == 0
    assert clock.merge(other) == 1
    assert clock.merge(other) == 0
    assert (len(clock), len(other)) == (2, 1)


def test_two_clocks_share_nothing_after_a_merge() -> None:
    clock, other = MerkleClock("a"), MerkleClock("b")
    given = {"list": [1]}
    node = other.append(given)
    clock.merge(other)
    given["list"].append(2)
    node.data["list"].append(3)
    assert clock.verify_chain()
    assert not other.verify_chain()
    other.append({"more": True})
    assert len(clock) == 1


FORGERIES: dict[str, Any] = {
    "data": {"n": 9},
    "peer_id": "mallory",
    "timestamp": 1.0,
    "logical_clock": 7,
    "hash": "0" * 64,
    "parents": [],
}


@pytest.mark.parametrize("field", FORGERIES)
def test_a_forged_node_does_not_verify_and_is_refused_with_all_that_comes_with_it(field: str) -> None:
    clock = MerkleClock("honest")
    for index in range(4):
        clock.append({"n": index})
    told = clock.to_dict()
    told["nodes"][2][field] = FORGERIES[field]
    if field == "parents":
        told["nodes"][2]["parent_hash"] = None
    forged = MerkleClock.from_dict(told)
    assert not forged.verify_chain()
    mine = MerkleClock("me")
    mine.append({"mine": True})
    before = mine.to_dict()
    with pytest.raises(BadClock):
        mine.merge(forged)
    assert mine.to_dict() == before
    assert mine.verify_chain()


def test_a_rehashed_node_with_a_clock_that_does_not_follow_is_refused() -> None:
    clock = MerkleClock("me")
    first = clock.append({})
    for parents, height in (((first.hash,), 9), ((first.hash,), 1), (("ab" * 32,), 2), ((first.hash,) * 2, 2), ((), 5)):
        with pytest.raises(BadClock):
            clock.add(make_node("mallory", {}, parents, height, 0.0))
    assert hashes(clock) == [first.hash]


def test_a_cut_off_head_is_missed() -> None:
    clock = MerkleClock("a")
    for index in range(3):
        clock.append({"n": index})
    told = clock.to_dict()
    del told["nodes"][-1]
    assert not MerkleClock.from_dict(told).verify_chain()


@pytest.mark.parametrize(
    "data",
    [{"x": float("nan")}, {"x": float("inf")}, {"x": {1}}, {1: 2}, {"x": b"y"}, {"x": 2**70}, {"x": "\ud800"}, [1]],
)
def test_data_that_json_cannot_hold_is_refused_and_changes_nothing(data: Any) -> None:
    clock = MerkleClock("a")
    with pytest.raises(ValueError, match=r".+"):
        clock.append(data)
    assert len(clock) == 0


@pytest.mark.parametrize(
    "told", [{}, [], {"peer_id": 1, "nodes": [], "head_hash": None}, {"peer_id": "a", "nodes": [1]}]
)
def test_what_is_no_clock_is_refused(told: Any) -> None:
    with pytest.raises(BadClock):
        MerkleClock.from_dict(told)


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_a_pruned_clock_verifies_goes_on_and_is_not_filled_again(seed: int, keep: int) -> None:
    one, two, *_ = grown(seed)
    one.merge(two)
    whole = MerkleClock.from_dict(one.to_dict())
    heads = one.heads()
    dropped = one.prune(keep)
    assert dropped == len(whole) - len(one)
    assert len(one) <= max(keep, 0) + len(heads)
    assert one.heads() == heads
    assert one.verify_chain()
    assert one.merge(whole) == 0
    assert MerkleClock.from_dict(json.loads(json.dumps(one.to_dict()))).verify_chain()
    whole.append({"later": True})
    assert one.merge(whole) == 1
    assert one.append({}).logical_clock == whole.logical_clock + 1
    assert one.verify_chain()
    assert whole.merge(one) == 1
    assert whole.verify_chain()


def test_a_clock_that_lies_about_what_it_pruned_is_refused() -> None:
    clock = MerkleClock("a")
    for index in range(4):
        clock.append({"n": index})
    liar = MerkleClock.from_dict(clock.to_dict())
    liar.prune(1)
    told = liar.to_dict()
    told["pruned"] = dict.fromkeys(told["pruned"], 9)
    assert not MerkleClock.from_dict(told).verify_chain()
    told["nodes"][0]["logical_clock"] = 10
    assert not MerkleClock.from_dict(told).verify_chain()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("ab" * 32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_any_change_to_a_told_clock_is_refused_or_does_not_verify(data: st.DataObject) -> None:
    clock = grown(3, count=2, steps=12)[0]
    clock.prune(5)
    told = json.loads(json.dumps(clock.to_dict()))
    where: Any = told
    while True:
        key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
        if not isinstance(where[key], (dict, list)) or not where[key] or data.draw(st.booleans()):
            break
        where = where[key]
    before = where[key]
    if data.draw(st.booleans()):
        del where[key]
    else:
        where[key] = data.draw(ANYTHING)
    mine = MerkleClock("me")
    mine.append({})
    try:
        changed = MerkleClock.from_dict(told)
        verifies = changed.verify_chain()
        assert mine.merge(changed) >= 0
        assert mine.verify_chain()
        assert verifies
    except BadClock:
        assert len(mine) == 1
        return
    # What may be told otherwise: whose the clock is, its height (it follows from the nodes), and the list of parents,
    # where there is one or none; and a number may be written otherwise.
    harmless = (
        key in ("peer_id", "logical_clock", "parents", "pruned") or where is told["pruned"] or where[key] == before
    )
    assert harmless, (key, before)


def test_heights_made_up_for_pruned_nodes_are_refused_by_who_holds_them() -> None:
    clock = MerkleClock("a")
    third = [clock.append({"n": index}) for index in range(4)][2]
    forged = make_node("mallory", {}, (third.hash,), 10, 0.0)
    told = {
        "peer_id": "mallory",
        "nodes": [forged.to_dict()],
        "head_hash": forged.hash,
        "logical_clock": 10,
        "pruned": {third.hash: 9},
    }
    liar = MerkleClock.from_dict(told)
    assert liar.verify_chain()  # nothing in it says otherwise
    for one, other in ((clock, liar), (liar, clock)):
        with pytest.raises(BadClock, match="contradicts"):
            one.merge(other)
    assert (len(clock), len(liar)) == (4, 1)


def test_a_height_that_leaves_no_room_above_is_refused() -> None:
    parent = "ab" * 32
    node = make_node("mallory", {}, (parent,), 2**53 + 1, 0.0)
    told = {
        "peer_id": "mallory",
        "nodes": [node.to_dict()],
        "head_hash": node.hash,
        "logical_clock": 2**53 + 1,
        "pruned": {parent: 2**53},
    }
    with pytest.raises(BadClock):
        MerkleClock("a").merge(MerkleClock.from_dict(told))


@pytest.mark.parametrize("keep", [0, -1, True, 1.5, "2"])
def test_less_than_one_node_cannot_be_kept(keep: Any) -> None:
    with pytest.raises(BadClock):
        MerkleClock("a").prune(keep)


def test_a_head_places_a_task_whatever_the_order_of_peers() -> None:
    clock = MerkleClock("a")
    node = clock.append({"n": 1})
    peers = ["alice", "bob", "carol", "", "名前"]
    placed = {select_task_owner(node.hash, "ab" * 32, list(order)) for order in permutations(peers)}
    assert len(placed) == 1
    assert hamming_distance("00", b"\xff") == 8
