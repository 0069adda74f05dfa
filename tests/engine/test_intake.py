"""What comes in from peers, some of whom flood: nobody else's events are lost or left unasked for."""

from __future__ import annotations

from p2pwf.clock.messages import Want
from p2pwf.clock.pending import ASK_AGAIN, MAX_PER_SENDER
from p2pwf.core.events import SignedBlock, author_event
from p2pwf.core.ids import Cid, PeerId, block_cid
from p2pwf.engine.inputs import Now
from p2pwf.engine.intake import Intake
from p2pwf.engine.outputs import Send
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
