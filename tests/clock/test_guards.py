"""The attacks on the log of THREATS, and for each guard its twin: without it, the attack gets through."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import pytest

from p2pwf.clock import Accepted, Clock, Invalid, Missing, Pending, pending
from p2pwf.core import events
from p2pwf.core.dagcbor import DagCborError, decode, encode, read
from p2pwf.core.events import Event, EventError, SignedBlock, author_event, parse
from p2pwf.core.ids import block_cid
from p2pwf.testing.sim import verify_once
from tests.clock.test_acceptance import forged
from tests.clock.test_pending import FLOODER, fill
from tests.kit import Writer, network, settle


def flipped(event: Event, position: int) -> SignedBlock:
    block = bytearray(event.signed.block)
    block[position] ^= 1
    return SignedBlock(bytes(block), event.signed.signature)


def readable(event: Event) -> list[Event]:
    """What an event with one bit flipped may still be, somewhere."""
    found = []
    for position in range(len(event.signed.block)):
        try:
            found.append(parse(flipped(event, position)))
        except EventError:
            continue
    return found


def test_t12_without_the_check_of_signatures_a_flipped_bit_is_taken() -> None:
    one, two = network(2)
    one.learn(two.rename("old"))
    news = two.rename("new")
    taken = {True: 0, False: 0}
    for guarded in taken:
        for changed in readable(news):
            clock = Clock(one.desk.network, verify_once if guarded else lambda *_: True)
            settle(clock, Pending(), one.events)
            taken[guarded] += isinstance(clock.accept(changed), Accepted)
    assert taken[True] == 0
    assert taken[False] > 0


def test_t13_an_event_that_is_sent_again_changes_nothing() -> None:
    one, two = network(2)
    one.learn(two.rename("a"))
    before = one.desk.clock.dag.digest()
    one.learn(*one.events, *two.events)
    assert one.desk.clock.dag.digest() == before
    assert len(one.desk.clock.dag) == len(one.events)


def test_t13_t20_t21_without_the_rules_of_links_a_foreign_event_and_a_leap_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = network(2)
    one.learn(two.rename("old"))
    foreign, leap = Writer(7).events[0], forged(two, lamport=99)
    assert isinstance(one.desk.clock.accept(foreign), Invalid)
    assert isinstance(one.desk.clock.accept(leap), Invalid)
    monkeypatch.setattr(Clock, "_wrong", lambda *_: None)
    assert isinstance(one.desk.clock.accept(leap), Accepted)
    assert isinstance(one.desk.clock.accept(foreign), Accepted)


@pytest.mark.parametrize("lamport", [2**63, 2**64 - 1, 2**53 + 1, 0])
def test_t21_a_lamport_number_beyond_its_bound_is_not_even_read(lamport: int) -> None:
    _, two = network(2)
    two.rename("old")
    with pytest.raises(EventError):
        forged(two, lamport=lamport)


def test_t06_without_the_cut_what_was_backdated_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = network(2)
    one.remove(two.peer)
    late = two.rename("backdated")
    monkeypatch.setattr(Clock, "_is_void", lambda *_: False)
    one.learn(late)
    assert not one.desk.clock.dag[late.cid].void
    assert late.cid in {node.cid for node in one.desk.clock.dag.heads()}


def test_t07_t09_without_the_rule_of_roles_a_member_admits_whom_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.kit import signer

    one, two = network(2)
    one.learn(two.rename("old"))
    friend = signer(9).peer_id
    body = {"peer": friend, "roles": ["admin"], "name": "x", "labels": [], "slots": 1, "tip": None}
    event = forged(two, type="member.add", body=body)
    clock = one.desk.clock
    assert isinstance(clock.accept(event), Invalid)
    monkeypatch.setattr(Clock, "_forbidden", lambda *_: None)
    assert isinstance(clock.accept(event), Accepted)


def lenient(block: bytes) -> bytes:
    """The same value with one number longer than it need be: what most readers of CBOR take for the same."""
    return block.replace(encode("seq") + b"\x01", encode("seq") + b"\x18\x01", 1)


def test_t15_another_encoding_of_an_event_is_no_event() -> None:
    _, two = network(2)
    two.rename("a")
    event = two.rename("b")
    other = lenient(event.signed.block)
    assert other != event.signed.block
    with pytest.raises(EventError):
        parse(SignedBlock(other, two.signer.sign(other)))


def test_t15_with_a_lenient_reader_one_event_has_two_ids() -> None:
    """The twin: a reader that takes any CBOR."""
    import cbor2

    _, two = network(2)
    two.rename("a")
    block = two.rename("b").signed.block
    shown = [cbor2.loads(each)["seq"] for each in (block, lenient(block))]
    assert shown == [1, 1]
    assert block_cid(block) != block_cid(lenient(block))


def test_t16_without_the_bound_depth_is_the_stacks() -> None:
    bomb = b"\x81" * 100_000 + b"\x00"
    with pytest.raises(DagCborError):
        decode(bomb)
    with pytest.raises(RecursionError):
        read(bomb, 0, 10**6)


def test_t17_without_the_share_a_flood_fills_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_PER_SENDER", 10**6)
    pool = Pending()
    fill(pool, FLOODER, 1500)
    assert len(pool) == 1500


def test_t18_a_loop_of_links_would_wait_for_itself_and_be_let_go() -> None:
    """Ids are hashes, so there is none; were there one, nothing of it would be accepted."""
    one, two = network(2)
    first, second = two.rename("a"), two.rename("b")
    a, b = (attrs.evolve(event, cid=block_cid(bytes([number]))) for number, event in enumerate((first, second)))
    a = attrs.evolve(a, parents=(b.cid,), prev=None, seq=0)
    b = attrs.evolve(b, parents=(a.cid,), prev=None, seq=0)
    clock, pool = one.desk.clock, Pending()
    for event in (a, b):
        result = clock.accept(event)
        assert isinstance(result, Missing)
        pool.add(event, result.links, FLOODER, 0.0)
    pool.expire(pending.KEPT)
    assert len(pool) == 0


def test_t18_without_letting_go_the_loop_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "KEPT", math.inf)
    _, two = network(2)
    event = two.rename("a")
    pool = Pending()
    pool.add(event, [block_cid(b"what waits for it")], FLOODER, 0.0)
    pool.expire(1e9)
    assert len(pool) == 1


def test_t18_no_event_can_name_itself() -> None:
    """The block would have to hold its own hash."""
    _, two = network(2)
    event = two.rename("a")
    naming_itself = forged(two, parents=[event.cid])
    assert naming_itself.cid not in naming_itself.links()


def many_parents(writer: Writer, number: int) -> Callable[[], Event]:
    parents = [block_cid(number.to_bytes(4)) for number in range(number)]
    return lambda: author_event(
        writer.signer, net=writer.desk.network, seq=0, prev=None, parents=parents, lamport=2, time=0, type="x", body={}
    )


@pytest.mark.parametrize("number", [17, 24, 20_000])
def test_t19_more_parents_than_sixteen_are_refused(number: int) -> None:
    with pytest.raises(EventError):
        many_parents(Writer(1), number)()


def test_t19_without_the_bound_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin; beyond 23 the form of an envelope has no room at all."""
    monkeypatch.setattr(events, "MAX_PARENTS", 10**6)
    assert len(many_parents(Writer(1), 23)().parents) == 23
    with pytest.raises(EventError):
        many_parents(Writer(1), 24)()


def test_t14_without_the_proof_a_forked_author_stays_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = network(2)
    twin = Writer(2, one.desk.network)
    twin.learn(*sorted(one.events, key=lambda event: event.order))
    left, right = two.rename("left"), twin.rename("right")
    one.learn(left, right)
    clock = one.desk.clock
    assert clock.fork_of(two.peer) is not None
    monkeypatch.setattr(type(clock.dag), "forks", lambda *_: ())
    assert clock.fork_of(two.peer) is None
    assert clock.roster.holds(two.peer, "run")
