"""All honest peers accept the same set, whatever the order of arrival."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from p2pwf.clock import Accepted, Clock, Invalid, Missing, Pending
from p2pwf.clock.clock import MAX_UPDATES
from p2pwf.core.events import Event, SignedBlock, author_event, parse
from p2pwf.core.ids import block_cid
from p2pwf.errors import Refused
from p2pwf.testing.sim import verify_once
from tests.kit import Writer, network, roster_of, settle, share, signer


def fresh(writer: Writer) -> Clock:
    return Clock(writer.desk.network, verify_once)


def forged(writer: Writer, **changes: object) -> Event:
    """The event that a writer would write next, with some fields changed, signed as changed."""
    parents, tip = writer.desk.clock.parents(writer.peer)
    assert tip is not None
    fields: dict[str, object] = {
        "net": writer.desk.network,
        "seq": tip.seq + 1,
        "prev": tip.cid,
        "parents": [node.cid for node in parents],
        "lamport": 1 + max(node.lamport for node in (*parents, tip)),
        "time": 5,
        "type": "member.update",
        "body": {"name": "new", "labels": [], "slots": 1},
    }
    return author_event(writer.signer, **{**fields, **changes})  # type: ignore[arg-type]


def test_any_order_of_arrival_gives_the_same_clock() -> None:
    one, two = network(2)
    one.rename("a")
    two.rename("b")
    share(one, two)
    two.rename("c")
    events = one.events + two.events[len(one.events) :]
    events = list({event.cid: event for event in events}.values())
    assert len(events) <= 6
    seen = set()
    for order in permutations(events):
        clock, pending = fresh(one), Pending()
        assert settle(clock, pending, order) == {}
        assert len(pending) == 0
        seen.add(str(roster_of(clock)))
    assert len(seen) == 1


def test_an_event_waits_for_its_links_and_says_which() -> None:
    one, two = network(2)
    first, second = two.rename("a"), two.rename("b")
    clock = fresh(one)
    settle(clock, Pending(), one.events)
    assert clock.accept(second) == Missing((first.cid,))
    assert second.cid not in clock.dag


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lamport": 99}, "lamport"),
        ({"lamport": 2}, "lamport"),
        ({"seq": 7}, "prev"),
        ({"net": block_cid(b"other")}, "another network"),
        ({"type": "member.add", "body": None}, "role admin"),
        ({"time": 2**50}, None),
        ({"time": 0}, None),
    ],
)
def test_t20_t21_what_no_honest_peer_writes_is_refused_and_a_wrong_wall_clock_is_not(
    changes: dict[str, object], why: str | None
) -> None:
    one, two = network(2)
    if "body" in changes:
        body = {"peer": signer(9).peer_id, "roles": ["run"], "name": "x", "labels": [], "slots": 1, "tip": None}
        changes = {**changes, "body": body}
    one.learn(two.rename("old"))
    result = one.desk.clock.accept(forged(two, **changes))
    if why is None:
        assert isinstance(result, Accepted)
    else:
        assert isinstance(result, Invalid)
        assert why in result.reason


def test_a_signature_of_another_key_is_refused() -> None:
    one, two = network(2)
    one.learn(two.rename("old"))
    event = forged(two)
    stolen = parse(SignedBlock(event.signed.block, one.signer.sign(event.signed.block)))
    assert isinstance(one.desk.clock.accept(stolen), Invalid)
    assert isinstance(one.desk.clock.accept(event), Accepted)


def test_t02_a_stranger_writes_nothing() -> None:
    one, _ = network(2)
    stranger = Writer(9, one.desk.network)
    heads = [node.cid for node in one.desk.clock.dag.heads()]
    event = author_event(
        stranger.signer,
        net=one.desk.network,
        seq=0,
        prev=None,
        parents=heads,
        lamport=1 + max(node.lamport for node in one.desk.clock.dag.heads()),
        time=0,
        type="member.update",
        body={"name": "me", "labels": [], "slots": 1},
    )
    result = one.desk.clock.accept(event)
    assert isinstance(result, Invalid)
    assert "not a member" in result.reason


def test_t13_an_event_of_another_network_is_refused() -> None:
    one, _ = network(2)
    other = Writer(7)
    assert isinstance(one.desk.clock.accept(other.events[0]), Invalid)


def test_heads_are_what_nothing_stands_on() -> None:
    one, two, three = network(3)
    two.rename("a")
    three.rename("b")
    share(one, two, three)
    assert {node.author for node in one.desk.clock.dag.heads()} == {two.peer, three.peer}
    joined = one.rename("c")
    assert [node.cid for node in one.desk.clock.dag.heads()] == [joined.cid]
    assert one.desk.clock.dag.digest() != two.desk.clock.dag.digest()
    share(one, two)
    assert one.desk.clock.dag.digest() == two.desk.clock.dag.digest()


def test_random_histories_arrive_in_random_orders_to_the_same_clock() -> None:
    for seed in range(20):
        choose = random.Random(seed)
        writers = network(4)
        for step in range(25):
            writer = choose.choice(writers)
            if choose.random() < 0.3:
                share(writer, choose.choice(writers))
            elif writer is writers[0] and choose.random() < 0.3:
                writer.add(signer(20 + step).peer_id)
            elif writer is writers[0] and choose.random() < 0.1 and len(writers) > 2:
                writer.remove(choose.choice(writers[1:]).peer)
            elif writer.desk.standing().holds(writer.peer, None):
                writer.rename(f"{seed}-{step}")
        events = list({event.cid: event for writer in writers for event in writer.events}.values())
        results = set()
        for _ in range(4):
            choose.shuffle(events)
            clock, pending = fresh(writers[0]), Pending()
            assert settle(clock, pending, events) == {}
            results.add(str(roster_of(clock)))
        assert len(results) == 1, f"seed {seed}"


def test_a_member_changes_itself_only_so_often() -> None:
    one, two = network(2)
    share(one, two)
    for number in range(MAX_UPDATES):
        two.rename(f"name {number}")
    with pytest.raises(Refused, match="changed itself"):
        two.rename("once more")
    one.rename("the others may go on")
