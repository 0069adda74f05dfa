"""What comes in from peers, some of whom flood: nobody else's events are lost or left unasked for."""

from __future__ import annotations

from p2pwf.clock.messages import Want
from p2pwf.clock.pending import ASK_AGAIN, MAX_PER_SENDER
from p2pwf.core.events import SignedBlock, author_event
from p2pwf.core.ids import Cid, PeerId, block_cid
from p2pwf.engine.inputs import Now
from p2pwf.engine.intake import MAX_REFUSED, Intake
from p2pwf.engine.outputs import Misbehaved, Send
from tests.kit import Writer, network, signer

FLOODER, OTHER = signer(60).peer_id, signer(61).peer_id


def orphans(writer: Writer, count: int, start: int = 0) -> list[SignedBlock]:
    """Signed by keys that nobody knows, on events that nobody has."""
    return [
        author_event(
            signer(number % 100 + 100),
            net=writer.desk.network,
            seq=0,
            prev=None,
            parents=[block_cid(number.to_bytes(4))],
            lamport=9,
            time=0,
            type="x.note",
            body={},
        ).signed
        for number in range(start, start + count)
    ]


def wanted(writer: Writer) -> list[tuple[PeerId, tuple[Cid, ...]]]:
    """Who was asked for what, since the last look."""
    sent = [(one.peer, one.message) for one in writer.desk.drain() if isinstance(one, Send)]
    return [(peer, message.ids) for peer, message in sent if isinstance(message, Want)]


def test_t17_a_flood_starves_nobody_else() -> None:
    one, two = network(2)
    intake = Intake(one.desk)
    news = [two.rename(f"name {number}") for number in range(200)]
    late, early = [event.signed for event in news[100:]], [event.signed for event in news[:100]]
    intake.blocks(two.peer, late)
    one.desk.drain()
    intake.blocks(FLOODER, orphans(one, MAX_PER_SENDER))
    intake.blocks(FLOODER, late)
    intake.blocks(FLOODER, orphans(one, MAX_PER_SENDER, start=MAX_PER_SENDER))
    assert len(intake.pending) == MAX_PER_SENDER + len(late)
    intake.blocks(two.peer, early)
    assert all(event.cid in one.desk.clock.dag for event in news)
    assert len(intake.pending) == MAX_PER_SENDER


def test_what_a_flood_brought_first_is_not_lost_with_it() -> None:
    one, two = network(2)
    intake = Intake(one.desk)
    first, second = two.rename("a"), two.rename("b")
    intake.blocks(FLOODER, [second.signed, *orphans(one, 10)])
    intake.blocks(two.peer, [second.signed])
    intake.blocks(FLOODER, orphans(one, MAX_PER_SENDER, start=100))
    intake.blocks(two.peer, [first.signed])
    assert second.cid in one.desk.clock.dag


def test_a_sender_is_asked_for_what_its_own_events_miss() -> None:
    one, two = network(2)
    intake = Intake(one.desk)
    first, second = two.rename("a"), two.rename("b")
    intake.blocks(FLOODER, orphans(one, 600))
    one.desk.drain()
    intake.blocks(two.peer, [second.signed])
    assert wanted(one) == [(two.peer, (first.cid,))]


def test_each_time_another_peer_is_asked_first() -> None:
    one, two = network(2)
    intake = Intake(one.desk)
    first, second = two.rename("a"), two.rename("b")
    intake.blocks(two.peer, [second.signed])
    one.desk.drain()
    asked = []
    for number in range(1, 4):
        one.desk.now = Now(number * 2 * ASK_AGAIN, 0)
        intake.ask_again([two.peer, OTHER, FLOODER])
        asked += wanted(one)
    assert {ids for _, ids in asked} == {(first.cid,)}
    assert {peer for peer, _ in asked} == {two.peer, OTHER, FLOODER}


def test_an_event_of_a_later_version_is_nobodys_fault() -> None:
    """A newer peer may write it, and any peer that knows it passes it on."""
    one, two = network(2)
    intake = Intake(one.desk)
    block = two.rename("a").signed.block
    later = block.replace(b"\x61v\x01", b"\x61v\x02", 1)
    assert later != block
    intake.blocks(OTHER, [SignedBlock(later, two.signer.sign(later))] * 50)
    assert (intake.later, intake.invalid) == (50, 0)
    assert not any(isinstance(output, Misbehaved) for output in one.desk.drain())
    assert later not in {event.signed.block for event in one.events}


def test_unknown_types_pass_and_are_nobodys_fault() -> None:
    one, two = network(2)
    intake = Intake(one.desk)
    event = two.write("future.thing", {"any": [1]})
    intake.blocks(OTHER, [event.signed])
    assert event.cid in one.desk.clock.dag
    assert not any(isinstance(output, Misbehaved) for output in one.desk.drain())


def test_of_one_message_only_so_much_is_refused_before_the_rest_is_left_unread() -> None:
    one, two = network(2)
    intake = Intake(one.desk)
    forged = [SignedBlock(event.signed.block, bytes(64)) for event in (two.rename(f"{n}") for n in range(100))]
    intake.blocks(FLOODER, forged)
    assert intake.invalid == MAX_REFUSED
    assert len([output for output in one.desk.drain() if isinstance(output, Misbehaved)]) == MAX_REFUSED
