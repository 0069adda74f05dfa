"""What any member may write, said again and again, costs the others nothing, and means the same in every order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from p2pwf.clock import Accepted, Clock, Invalid, Pending
from p2pwf.core.events import Event, author_event
from p2pwf.errors import Refused
from p2pwf.roster import Membership, Roster, evaluate
from p2pwf.testing.sim import verify_once
from tests.kit import Writer, network, roster_of, settle, share

FLOOD = 300


def forked(*members: Writer) -> tuple[Event, Event]:
    """Two events of one seq by the last of these members, known to all of them; sorted by id."""
    author = members[-1]
    twin = Writer(len(members), author.desk.network)
    twin.learn(*sorted(author.events, key=lambda event: event.order))
    left, right = author.rename("left"), twin.rename("right")
    for one in members:
        one.learn(*(event for event in (left, right) if event.cid not in one.desk.clock.dag))
    first, second = sorted((left, right), key=lambda event: event.cid)
    return first, second


def prove(by: Writer, first: Event, second: Event) -> Event:
    return by.write("member.fork", {"first": first.cid, "second": second.cid})


def beside(author: Writer, first: Event, second: Event, time: int) -> Event:
    """One more proof of the seq that the author's next event has: each is a twin of the others."""
    parents, tip = author.desk.clock.parents(author.peer)
    links = [*parents, author.desk.clock.dag[first.cid]]
    return author_event(
        author.signer,
        net=author.desk.network,
        seq=tip.seq + 1 if tip else 0,
        prev=tip.cid if tip else None,
        parents=[node.cid for node in parents],
        lamport=1 + max(node.lamport for node in links),
        time=time,
        type="member.fork",
        body={"first": first.cid, "second": second.cid},
    )


def known_to(writer: Writer, without: list[Event]) -> Clock:
    """A clock that has all that a writer knows, but for some events."""
    clock = Clock(writer.desk.network, verify_once)
    rest = [event for event in writer.events if event not in without]
    assert settle(clock, Pending(), sorted(rest, key=lambda event: event.order)) == {}
    return clock


def test_proofs_by_several_members_at_once_count_in_every_order_of_arrival() -> None:
    one, two, three, four = network(4)
    pair = forked(one, two, three, four)
    aside = four.rename("aside")
    news = [prove(one, *pair), prove(two, *pair), prove(three, *pair), aside]
    results = set()
    for order in permutations(news):
        clock = known_to(one, news)
        assert settle(clock, Pending(), order) == {}
        assert {cut.event.cid for cut in clock.roster.cuts[four.peer]} == {event.cid for event in news[:3]}
        assert clock.dag[aside.cid].void
        results.add(str(roster_of(clock)))
    assert len(results) == 1


def test_of_proofs_by_one_author_one_counts_in_every_order_of_arrival() -> None:
    one, two, three = network(3)
    pair = forked(one, two, three)
    news = [beside(two, *pair, time) for time in range(4)] + [prove(one, *pair)]
    results = set()
    for order in permutations(news):
        clock = known_to(one, news)
        assert settle(clock, Pending(), order) == {}
        cuts = {cut.event.cid for cut in clock.roster.cuts[three.peer]}
        assert cuts == {news[4].cid, min(news[:4], key=lambda event: event.order).cid}
        results.add(str(roster_of(clock)))
    assert len(results) == 1


def test_a_fork_that_is_proven_in_its_past_is_not_proven_again() -> None:
    one, two, three = network(3)
    pair = forked(one, two, three)
    prove(one, *pair)
    share(one, two)
    for writer in (one, two):
        with pytest.raises(Refused, match="proven already"):
            prove(writer, *pair)
    assert one.desk.clock.fork_of(three.peer) is None


def test_a_proof_without_effect_does_not_stand_in_the_way_of_another() -> None:
    one, two, three = network(3)
    pair = forked(one, two, three)
    twin = Writer(2, one.desk.network)
    twin.learn(*sorted(two.events, key=lambda event: event.order))
    left, right = two.rename("left"), twin.rename("right")
    one.learn(left, right)
    prove(one, *sorted((left, right), key=lambda event: event.cid))
    idle = prove(two, *pair)  # aside of the proof against its own author
    one.learn(idle)
    assert one.desk.clock.roster.holds(three.peer, "run")
    assert one.desk.clock.fork_of(three.peer) is not None
    prove(one, *pair)
    assert not one.desk.clock.roster.holds(three.peer, None)


def test_a_readmitted_peer_that_forks_again_is_cut_again() -> None:
    one, two, three = network(3)
    prove(one, *forked(one, two, three))
    share(one, two)
    one.add(three.peer)
    back = Writer(3, one.desk.network)
    back.learn(*sorted(one.events, key=lambda event: event.order))
    assert one.desk.clock.fork_of(three.peer) is None
    share(two, one)
    pair = forked(one, two, back)
    found = one.desk.clock.fork_of(three.peer)
    assert found is not None
    assert {node.cid for node in found} == {event.cid for event in pair}
    prove(one, *pair)
    assert not one.desk.clock.roster.holds(three.peer, None)


def test_an_admin_that_admits_itself_beside_another_event_has_forked() -> None:
    one, two = network(2)
    one.add(two.peer, "admin")
    share(one, two)
    twin = Writer(2, one.desk.network)
    twin.learn(*sorted(two.events, key=lambda event: event.order))
    pair = sorted((two.add(two.peer, "admin"), twin.rename("right")), key=lambda event: event.cid)
    one.learn(*pair)
    found = one.desk.clock.fork_of(two.peer)
    assert found is not None
    assert {node.cid for node in found} == {event.cid for event in pair}
    prove(one, *pair)
    assert not one.desk.clock.roster.holds(two.peer, None)


def test_a_flood_of_proofs_is_one_cut_and_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = network(3)
    pair = forked(one, two, three)
    flood = sorted((beside(two, *pair, time) for time in range(FLOOD)), key=lambda event: event.order)
    walks: list[int] = []

    def counted(events: Sequence[Membership]) -> Roster:
        walks.append(len(events))
        return evaluate(events)

    monkeypatch.setattr("p2pwf.clock.clock.evaluate", counted)
    for event in flood:
        assert isinstance(one.desk.clock.accept(event), Accepted)
    assert len(walks) <= 3
    assert len(one.desk.clock.roster.cuts[three.peer]) == 1


def test_a_role_is_given_up_once() -> None:
    one, two = network(2)
    two.remove(two.peer, "run")
    for role in ("run", "admin"):
        with pytest.raises(Refused, match="none of the roles"):
            two.remove(two.peer, role)
    two.remove(two.peer)
    one.learn(*two.events[len(one.events) :])
    assert not one.desk.clock.roster.holds(two.peer, None)


def test_events_of_types_to_come_are_kept_up_to_a_bound_of_their_author(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = network(3)
    first = two.write("x.note", {"n": 0})
    monkeypatch.setattr("p2pwf.clock.clock.MAX_UNKNOWN", 4 * len(first.signed.block) - 1)  # three of them
    kept = [first, two.write("x.note", {"n": 1}), two.rename("does not count"), two.write("x.note", {"n": 2})]
    with pytest.raises(Refused, match="unknown types"):
        two.write("x.note", {"n": 3})
    kept += [two.rename("known ones go on"), three.write("x.note", {"n": 0})]
    for order in permutations(kept):
        clock = known_to(one, kept)
        assert settle(clock, Pending(), order) == {}
    late = forge_note(two)
    assert isinstance(two.desk.clock.accept(late), Invalid)


def forge_note(author: Writer) -> Event:
    """The note that an author would write next if there were no bound."""
    parents, tip = author.desk.clock.parents(author.peer)
    assert tip is not None
    return author_event(
        author.signer,
        net=author.desk.network,
        seq=tip.seq + 1,
        prev=tip.cid,
        parents=[node.cid for node in parents],
        lamport=1 + max(node.lamport for node in parents),
        time=0,
        type="x.note",
        body={"n": 9},
    )
