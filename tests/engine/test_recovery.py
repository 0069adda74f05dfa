"""A node that was restored under its old id hears everyone before it writes, and so does not fork its chain."""

from __future__ import annotations

from p2pwf.clock.messages import Beat, Events, Presence, encode_message
from p2pwf.core.events import Event
from p2pwf.engine.inputs import AddMember, Frame, PeerDown, PeerUp, Tick
from p2pwf.engine.outputs import Alarm, Output, Publish, Ready, Send, SendEvents
from p2pwf.engine.recovery import RESTORED, restored_value
from p2pwf.errors import Refused
from tests.engine.test_engine import Bench, exchange, founder, only, pair, replies, submit
from tests.kit import signer


def restored(bench: Bench, disk: list[Event], without: tuple[str, ...] = ()) -> Bench:
    """The node of a bench on an older copy of its disk."""
    copy = Bench(bench.key, bench.genesis, bench.slots)
    copy.disk = list(disk)
    copy.meta = {RESTORED: restored_value(without)}
    copy.boot()
    return copy


def link(one: Bench, two: Bench) -> list[Output]:
    """A stream between two nodes comes up, and carries all that they say to each other; what came of it in all."""
    seen: list[Output] = []
    waiting = [(one, two, one.give(PeerUp(two.peer))), (two, one, two.give(PeerUp(one.peer)))]
    one.wait(1)
    while waiting:
        here, there, outputs = waiting.pop(0)
        seen += outputs
        for output in outputs:
            if isinstance(output, Send) and output.peer == there.peer:
                waiting.append((there, here, there.give(Frame(here.peer, encode_message(output.message)))))
            elif isinstance(output, SendEvents) and output.peer == there.peer:
                events = tuple(event.signed for event in here.disk if event.cid in output.ids)
                waiting.append((there, here, there.give(Frame(here.peer, encode_message(Events(events))))))
    return [*seen, *one.wait(1)]


def refusal(bench: Bench) -> str:
    error = next(replies(submit(bench, {"x": []}))).error
    assert isinstance(error, Refused)
    return error.message


def test_it_writes_nothing_until_it_has_what_the_members_have_and_then_goes_on_from_there() -> None:
    one, two = pair()
    backup = list(one.disk)
    submit(one, {"late": []})
    exchange(one, two)
    last = max(event.seq for event in one.disk if event.author == one.peer)
    again = restored(one, backup)
    assert not only(again.wait(60), Ready)
    assert "heard two" in refusal(again)
    outputs = link(again, two)
    assert only(outputs, Ready)
    assert not only(outputs, Alarm)
    assert RESTORED not in again.meta
    submit(again, {"x": []})
    assert min(event.seq for event in again.disk[-1:]) > last
    exchange(again, two)
    assert not list(two.engine.desk.clock.dag.forked())
    again.boot()
    assert again.engine.desk.frozen is None


def test_a_crash_before_all_were_heard_begins_anew() -> None:
    one, two = pair()
    one.give(AddMember("add", signer(3).peer_id, ("run",), "three", (), 1))
    exchange(one, two)
    again = restored(one, one.disk)
    link(again, two)
    assert "heard three" in refusal(again)
    again.boot()
    assert "heard three, two" in refusal(again) or "heard two, three" in refusal(again)


def test_members_that_it_learns_of_have_to_be_heard_too_but_not_those_that_are_gone_for_good() -> None:
    one, two = pair()
    backup = list(one.disk)
    three = signer(3).peer_id
    one.give(AddMember("add", three, ("run",), "three", (), 1))
    exchange(one, two)
    again = restored(one, backup)
    link(again, two)
    assert "heard three" in refusal(again)
    assert only(link(restored(one, backup, (three,)), two), Ready)


def test_a_peer_that_it_was_told_to_dial_has_to_be_heard_although_the_backup_knows_nothing_of_it() -> None:
    one = founder()
    backup = list(one.disk)
    two = Bench(signer(2), one.genesis)
    one.give(AddMember("add", two.peer, ("run",), "two", (), 1))
    two.disk = list(one.disk)
    two.boot()
    again = restored(one, backup)
    assert again.engine.desk.frozen is None  # a network of one, as far as it knows
    assert RESTORED in again.meta  # until the first input
    again.boot(frozenset({two.peer}))
    assert f"heard {two.peer}" in refusal(again)
    assert only(link(again, two), Ready)
    assert again.engine.desk.roster.holds(two.peer, "run")


def test_meanwhile_it_keeps_nobody_from_taking_its_jobs_over() -> None:
    one, two = pair()
    submit(one, {f"job{number}": [] for number in range(8)})
    exchange(one, two)
    three = signer(3).peer_id
    one.give(AddMember("add", three, ("run",), "three", (), 1))
    exchange(one, two)
    again = restored(one, one.disk)
    again.wait(1)
    assert list(again.engine.conductor.held())
    outputs = [*link(again, two), *again.wait(12)]
    assert not [one for one in only(outputs, Send) if isinstance(one.message, Beat)]
    told = [one.message for one in only(outputs, Publish) if isinstance(one.message, Presence)]
    assert {presence.slots for presence in told} == {0}


def test_then_it_begins_the_jobs_anew_that_it_had_started() -> None:
    one, two = pair()
    submit(one, {f"job{number}": [] for number in range(8)})
    exchange(one, two)
    again = restored(one, one.disk)
    again.wait(60)
    link(again, two)
    again.wait(2)
    started = [event for event in one.disk if event.type == "job.start" and event.author == one.peer]
    assert started
    begun_anew = [event for event in again.disk if event.type == "job.reassign"]
    assert {event.body["reason"] for event in begun_anew} == {"interrupted"}
    assert len(begun_anew) == len(started)


def test_an_event_of_its_own_that_comes_in_later_stops_it_as_ever() -> None:
    one, two = pair()
    again = restored(one, one.disk)
    link(again, two)
    assert again.engine.desk.frozen is None
    submit(one, {"x": []})  # the old node was not gone
    outputs = again.hear(two, one.disk)
    assert [alarm.message for alarm in only(outputs, Alarm)]
    assert "another node writes with this node's key" in refusal(again)
    again.give(PeerDown(two.peer))
    assert not only(again.give(Tick()), Ready)
