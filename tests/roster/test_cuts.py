"""Cuts: a stolen key cannot backdate, the last admin stays, and every peer comes to the same members."""

from __future__ import annotations

from itertools import permutations

import pytest

from p2pwf.clock import Clock, Invalid, Pending
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid
from p2pwf.testing.sim import verify_once
from tests.kit import Writer, network, roster_of, settle, share, signer


def events_of(*writers: Writer) -> list[Event]:
    return list({event.cid: event for writer in writers for event in writer.events}.values())


def test_t06_what_a_removed_peer_writes_aside_of_its_removal_is_void() -> None:
    one, two, three = network(3)
    kept = two.rename("before")
    share(one, two)
    one.remove(two.peer)
    late = two.rename("backdated")  # two does not know yet, or pretends so
    for reader in (one, three):
        share(reader, one, two) if reader is three else one.learn(late)
    clock = one.desk.clock
    assert not clock.roster.holds(two.peer, None)
    assert not clock.dag[kept.cid].void
    assert clock.dag[late.cid].void
    assert late.cid not in {node.cid for node in clock.dag.heads()}
    assert clock.dag.digest() == three.desk.clock.dag.digest()


def test_a_removed_peer_that_knows_of_it_is_refused() -> None:
    one, two = network(2)
    one.remove(two.peer)
    two.learn(*[event for event in one.events if event.cid not in two.desk.clock.dag])
    with pytest.raises(Exception, match="not a member"):
        two.rename("still here")


def test_t06_whom_a_cut_peer_let_in_after_the_cut_goes_with_it() -> None:
    one, two = network(2)
    one.add(two.peer, "admin", "run", "submit")
    share(one, two)
    early = Writer(5, one.desk.network)
    two.add(early.peer)
    share(one, two, early)
    one.remove(two.peer)
    accomplice = Writer(6, one.desk.network)
    two.add(accomplice.peer)
    accomplice.learn(*sorted(two.events, key=lambda event: event.order))
    deed = accomplice.rename("in")
    one.learn(*[event for event in two.events if event.cid not in one.desk.clock.dag], deed)
    assert one.desk.clock.roster.holds(early.peer, "run")
    assert not one.desk.clock.roster.holds(accomplice.peer, None)
    assert one.desk.clock.dag[deed.cid].void


def test_t09_the_last_admin_cannot_be_removed_by_anyone() -> None:
    one, two = network(2)
    one.add(two.peer, "admin", "run", "submit")
    share(one, two)
    one.remove(two.peer)
    two.remove(one.peer)
    share(one, two)
    assert one.desk.clock.roster.holds(one.peer, "admin")
    assert not one.desk.clock.roster.holds(two.peer, "admin")
    assert roster_of(one.desk.clock) == roster_of(two.desk.clock)


def test_t06_of_two_admins_who_remove_each_other_the_one_nearer_to_the_founder_stays() -> None:
    founder, two = network(2)
    founder.add(two.peer, "admin", "run", "submit")
    share(founder, two)
    three = Writer(3, founder.desk.network)
    two.add(three.peer, "admin", "run")
    share(founder, two, three)
    three.remove(two.peer)
    two.remove(three.peer)
    events = events_of(founder, two, three)
    founder.learn(*sorted((e for e in events if e.cid not in founder.desk.clock.dag), key=lambda e: e.order))
    assert founder.desk.clock.roster.holds(two.peer, "admin")
    assert not founder.desk.clock.roster.holds(three.peer, None)


def test_cuts_mean_the_same_in_every_order_of_arrival() -> None:
    founder, two, three = network(3)
    founder.add(two.peer, "admin", "run", "submit")
    share(founder, two, three)
    base = events_of(founder)
    news = [
        founder.remove(three.peer),
        two.remove(founder.peer),
        three.rename("aside"),
        two.add(signer(8).peer_id),
    ]
    results = set()
    for order in permutations(news):
        clock = Clock(founder.desk.network, verify_once)
        settle(clock, Pending(), sorted(base, key=lambda event: event.order))
        settle(clock, Pending(), order)
        results.add(str(roster_of(clock)))
    assert len(results) == 1


def test_losing_a_role_voids_acts_of_that_role_only() -> None:
    one, two = network(2)
    run = two.submit({"a": []})
    share(one, two)
    one.remove(two.peer, "submit")
    late = two.submit({"b": []})
    named = two.rename("still a member")
    one.learn(late.submission, named)
    dag = one.desk.clock.dag
    assert one.desk.clock.roster.members[two.peer].roles == {"run"}
    assert not dag[run.id].void
    assert dag[late.id].void
    assert not dag[named.cid].void
    assert one.desk.clock.roster.members[two.peer].name == "still a member"


def test_a_readmitted_peer_goes_on_from_the_tip_it_is_given() -> None:
    one, two = network(2)
    two.rename("known")
    share(one, two)
    one.remove(two.peer)
    dead = two.rename("dead branch")
    one.learn(dead)
    back = one.add(two.peer)
    assert back.body["tip"] == one.desk.clock.dag.tips(two.peer)[-1].cid != dead.cid
    again = Writer(2, one.desk.network)
    again.learn(*sorted((event for event in one.events if event.cid != dead.cid), key=lambda event: event.order))
    alive = again.rename("back")
    one.learn(alive)
    assert not one.desk.clock.dag[alive.cid].void
    assert one.desk.clock.dag[dead.cid].void
    assert one.desk.clock.roster.members[two.peer].name == "back"
    two.learn(*[event for event in one.events if event.cid not in two.desk.clock.dag and event is not alive])


def test_a_readmitted_peer_may_not_go_on_from_elsewhere() -> None:
    one, two = network(2)
    two.rename("known")
    share(one, two)
    one.remove(two.peer)
    dead = two.rename("dead branch")
    one.learn(dead)
    one.add(two.peer)
    from p2pwf.core.events import author_event

    heads = one.desk.clock.dag.heads()
    wrong = author_event(
        two.signer,
        net=one.desk.network,
        seq=dead.seq + 1,
        prev=dead.cid,
        parents=[node.cid for node in heads],
        lamport=1 + max(*(node.lamport for node in heads), dead.lamport),
        time=0,
        type="member.update",
        body={"name": "sneaky", "labels": [], "slots": 1},
    )
    assert isinstance(one.desk.clock.accept(wrong), Invalid)


def fork_of(one: Writer, two: Writer) -> tuple[Event, Event]:
    """Two events of one seq by `two`, both known to `one`."""
    twin = Writer(2, one.desk.network)
    twin.learn(*sorted(one.events, key=lambda event: event.order))
    left, right = two.rename("left"), twin.rename("right")
    one.learn(left, right)
    return left, right


def test_t14_a_proven_fork_cuts_its_author_on_every_peer() -> None:
    one, two, three = network(3)
    left, right = fork_of(one, two)
    first, second = sorted((left.cid, right.cid))
    assert one.desk.clock.roster.holds(two.peer, "run")
    proof = one.write("member.fork", {"first": first, "second": second})
    assert not one.desk.clock.roster.holds(two.peer, None)
    results = set()
    for order in permutations([left, right, proof]):
        clock, pending = Clock(one.desk.network, verify_once), Pending()
        settle(clock, pending, sorted(three.events, key=lambda event: event.order))
        assert settle(clock, pending, order) == {}
        results.add(str(roster_of(clock)))
    assert len(results) == 1


def test_no_fork_is_made_up() -> None:
    one, two = network(2)
    first = two.rename("a")
    second = two.rename("b")
    one.learn(first, second)
    for pair in ((first.cid, second.cid), (first.cid, first.cid), (one.events[0].cid, first.cid)):
        low, high = sorted(pair)
        with pytest.raises(Exception, match="fork"):
            one.write("member.fork", {"first": Cid(low), "second": Cid(high)})


def test_a_member_may_leave_by_itself() -> None:
    one, two = network(2)
    gone = two.remove(two.peer)
    one.learn(gone)
    assert not one.desk.clock.roster.holds(two.peer, None)
    with pytest.raises(Exception, match="role admin"):
        Writer.remove(three := network(3)[2], three.desk.clock.dag.heads()[0].author)


def test_t06_a_backdated_twin_is_void_whether_it_arrives_before_or_after_the_cut() -> None:
    one, two, three = network(3)
    two.rename("kept")
    share(one, two, three)
    twin = Writer(2, one.desk.network)
    twin.learn(*sorted((event for event in one.events if event.author != two.peer), key=lambda event: event.order))
    backdated = twin.rename("backdated")  # of the seq that is kept
    cut = one.remove(two.peer)
    results = set()
    for order in permutations([backdated, cut]):
        clock, pending = Clock(one.desk.network, verify_once), Pending()
        settle(clock, pending, sorted(three.events, key=lambda event: event.order))
        assert settle(clock, pending, order) == {}
        assert clock.dag[backdated.cid].void
        results.add(str(roster_of(clock)))
    assert len(results) == 1
