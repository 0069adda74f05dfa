"""What a former member is given, and what it believes: the events up to its cut, by the rules of the clock alone."""

from __future__ import annotations

from functools import partial

from p2pwf.clock.messages import Events, Hello, encode_message
from p2pwf.clock.sync import frontier
from p2pwf.core.events import Event, author_event
from p2pwf.core.ids import Cid
from p2pwf.engine.inputs import AddMember, Frame, RemoveMember
from p2pwf.engine.outputs import Misbehaved
from p2pwf.node.shell import Gate
from p2pwf.node.standing import cuts_of, is_removed, told, was_member
from p2pwf.testing import make_submission
from tests.engine.kit import Member, Net


def hello_of(member: Member) -> Hello:
    desk = member.engine.desk
    return Hello(desk.network, desk.config.boot, desk.clock.dag.digest(), frontier(desk.clock.dag), False, "test")


def events_of(member: Member, cids: list[Cid]) -> list[Event]:
    by_id = {event.cid: event for event in member.disk}
    return [by_id[cid] for cid in cids]


def tell(member: Member, source: Member, events: list[Event]) -> list[Misbehaved]:
    """Give events as a frame of a member; what was held against it."""
    frame = Frame(source.peer, encode_message(Events(tuple(event.signed for event in events))))
    return [output for output in member.give(frame) if isinstance(output, Misbehaved)]


def away_and_removed() -> tuple[Net, Member]:
    """A network of two, and its third member, which was removed while it was away, after much that it never saw."""
    net = Net(3)
    away = net.members[2]
    net.lose(away)
    for at in (0, 1, 0):
        net.submit(make_submission({"a": []}), at)
    net.members[0].give(RemoveMember("r", away.peer))
    net.share()
    return net, away


def test_a_former_member_is_given_all_up_to_its_cut_and_nothing_after_it() -> None:
    net, away = away_and_removed()
    before = set(net.members[1].engine.desk.runs)
    after = net.submit(make_submission({"b": []}))
    for source in net.members:
        given = told(source.engine, away.peer, hello_of(away))
        assert set(before) <= set(given)
        assert after not in given
        assert given[-1] == cuts_of(source.engine, away.peer)[-1]
    assert not is_removed(away.engine)
    source = net.members[1]
    assert tell(away, source, events_of(source, told(source.engine, away.peer, hello_of(away)))) == []
    assert is_removed(away.engine)
    assert told(source.engine, away.peer, hello_of(away)) == []


def test_what_is_void_is_given_too_if_the_cut_stands_on_it() -> None:
    net = Net(4)
    one, two, three, away = net.members
    net.lose(away)
    late = net.submit(make_submission({"a": []}), 2, share=False)
    tell(two, three, events_of(three, [late]))
    net.submit(make_submission({"b": []}), 1, share=False)  # on top of the first
    one.give(RemoveMember("r", three.peer))  # knowing neither
    net.share()
    one.give(RemoveMember("r", away.peer))
    assert one.engine.desk.clock.dag[late].void
    given = told(one.engine, away.peer, hello_of(away))
    assert late in given
    assert tell(away, one, events_of(one, given)) == []
    assert is_removed(away.engine)


def test_a_peer_that_lies_talks_nobody_out_of_a_network() -> None:
    net = Net(3)
    one, liar, honest = net.members
    desk = liar.engine.desk
    parents, tip = desk.clock.parents(liar.peer)
    forged = author_event(
        liar.key,
        net=desk.network,
        seq=0 if tip is None else tip.seq + 1,
        prev=None if tip is None else tip.cid,
        parents=(node.cid for node in parents),
        after=(),
        lamport=1 + max(node.lamport for node in parents),
        time=0,
        type="member.remove",
        body={"peer": honest.peer, "roles": ["admin", "run", "submit"], "keep_runs": False},
    )
    assert tell(honest, liar, [forged])
    assert not is_removed(honest.engine)
    net, away = away_and_removed()
    one = net.members[0]
    (cut,) = events_of(one, list(cuts_of(one.engine, away.peer)))
    assert tell(away, one, [cut]) == []  # it is true, and yet shows nothing before what it stands on is here
    assert not is_removed(away.engine)


def test_who_was_removed_trusts_its_introducer_no_more_than_the_roster_does() -> None:
    net, away = away_and_removed()
    source, gone = net.members
    source.give(RemoveMember("r", gone.peer))
    everything = list(source.disk)
    holds = partial(lambda peer: away.engine.desk.roster.holds(peer, None))
    gate = Gate(holds, frozenset({gone.peer, source.peer}), partial(was_member, away.engine))
    assert gate.is_member(gone.peer)
    tell(away, source, everything)
    assert is_removed(away.engine)
    assert not gate.is_member(gone.peer)
    assert gate.is_member(source.peer)


def test_a_removed_node_is_a_member_again_once_it_has_the_admission() -> None:
    net, away = away_and_removed()
    source = net.members[0]
    tell(away, source, events_of(source, told(source.engine, away.peer, hello_of(away))))
    source.give(AddMember("a", away.peer, ("run", "submit"), "back", ("linux",), 1))
    assert told(source.engine, away.peer, hello_of(away)) == []
    tell(away, source, source.disk)
    assert not is_removed(away.engine)
