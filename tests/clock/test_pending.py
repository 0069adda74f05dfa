"""What waits for its links is bounded by who sent it, so that a flood is the flooder's own loss."""

from __future__ import annotations

from p2pwf.clock import Pending
from p2pwf.clock.pending import ASK_AGAIN, KEPT, MAX_PENDING, MAX_PER_SENDER, MAX_SENDER_BYTES
from p2pwf.core.events import Event, author_event
from p2pwf.core.ids import Cid, PeerId, block_cid
from tests.kit import network, signer

NETWORK = block_cid(b"network")
FLOODER, HONEST = signer(100).peer_id, signer(101).peer_id


def orphan(number: int, key: int = 1, body: dict[str, object] | None = None) -> Event:
    """An event of any author, on an invented one."""
    return author_event(
        signer(key),
        net=NETWORK,
        seq=0,
        prev=None,
        parents=[link(number)],
        lamport=2,
        time=number,
        type="x.note",
        body=body or {},
    )


def link(number: int) -> Cid:
    return block_cid(b"parent" + number.to_bytes(4))


def fill(pending: Pending, sender: PeerId, count: int, start: int = 0, now: float = 0.0) -> list[Event]:
    events = [orphan(start + number, key=number % 200) for number in range(count)]
    for event in events:
        pending.add(event, event.parents, sender, now)
    return events


def test_t17_a_flood_from_one_peer_in_many_names_pushes_out_its_own_first() -> None:
    pending = Pending()
    honest = orphan(99_999)
    pending.add(honest, honest.parents, HONEST)
    fill(pending, FLOODER, MAX_PER_SENDER + 200)
    assert len(pending) == MAX_PER_SENDER + 1
    assert pending.dropped == 200
    assert [event.cid for event, _ in pending.arrived(link(99_999))] == [honest.cid]


def test_a_peer_holds_only_so_many_bytes_here() -> None:
    pending = Pending()
    large: dict[str, object] = {"x": "y" * (MAX_SENDER_BYTES // 5)}
    for number in range(8):
        event = orphan(number, body=large)
        pending.add(event, event.parents, FLOODER)
    assert len(pending) == 4
    assert pending.dropped == 4


def test_when_all_is_full_who_has_the_most_makes_room() -> None:
    pending = Pending()
    few = fill(pending, HONEST, 10)
    for number in range(MAX_PENDING // MAX_PER_SENDER + 1):
        fill(pending, signer(110 + number).peer_id, MAX_PER_SENDER, start=(number + 1) * 10_000)
    assert len(pending) == MAX_PENDING
    assert all(event.cid in pending for event in few)


def test_what_another_peer_sends_too_is_not_lost_with_a_flood() -> None:
    pending = Pending()
    shared = orphan(77_777)
    pending.add(shared, shared.parents, FLOODER)
    fill(pending, FLOODER, 50)
    pending.again(shared.cid, HONEST)
    fill(pending, FLOODER, MAX_PER_SENDER + 100, start=1000)
    assert shared.cid in pending
    assert pending.arrived(link(77_777)) == [(shared, HONEST)]


def test_what_waits_too_long_is_let_go() -> None:
    pending = Pending()
    old = fill(pending, FLOODER, 3, now=5.0)
    (young,) = fill(pending, HONEST, 1, start=10, now=6.0)
    pending.expire(5.0 + KEPT)
    assert not any(event.cid in pending for event in old)
    assert young.cid in pending
    assert pending.ask(500.0, 9, FLOODER) == ()
    assert pending.dropped == 3


def test_a_missing_id_is_asked_for_once_in_a_while() -> None:
    pending = Pending()
    fill(pending, HONEST, 3)
    assert set(pending.ask(0.0, 2, HONEST)) <= {link(0), link(1), link(2)}
    assert len(pending.ask(0.0, 2, HONEST)) == 1
    assert pending.ask(ASK_AGAIN / 2, 9, HONEST) == ()
    assert set(pending.ask(ASK_AGAIN, 9, HONEST)) == {link(0), link(1), link(2)}
    pending.arrived(link(1))
    assert set(pending.ask(9.0, 9, HONEST)) == {link(0), link(2)}


def test_an_id_that_waits_here_itself_is_not_asked_for() -> None:
    one, two = network(2)
    first, second, third = two.rename("a"), two.rename("b"), two.rename("c")
    pending = Pending()
    pending.add(third, [second.cid], HONEST)
    pending.add(second, [first.cid], FLOODER)
    assert pending.ask_in_turns(0.0, 9) == (first.cid,)
    pending.refused(first.cid)
    assert len(pending) == 0
    assert pending.ask_in_turns(99.0, 9) == ()
    assert one.peer != two.peer


def test_asking_gives_each_sender_its_turn() -> None:
    pending = Pending()
    fill(pending, FLOODER, MAX_PER_SENDER)
    fill(pending, HONEST, 3, start=50_000)
    asked = pending.ask_in_turns(0.0, 64)
    assert len(asked) == 64
    assert {link(50_000), link(50_001), link(50_002)} <= set(asked)


def test_what_waits_for_a_refused_event_is_let_go() -> None:
    _, two = network(2)
    first, second, third = two.rename("a"), two.rename("b"), two.rename("c")
    pending = Pending()
    pending.add(third, [second.cid])
    pending.add(second, [first.cid])
    assert pending.refused(first.cid) == 2
    assert len(pending) == 0
