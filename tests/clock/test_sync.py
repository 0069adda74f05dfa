"""Two peers come to hold one set, at the cost of the difference; a wrong hint costs a resend, never a wrong set."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.clock import Accepted, Missing
from p2pwf.clock.messages import (
    MAX_FRAME,
    TAG_LENGTH,
    Attempt,
    Beat,
    Digest,
    Events,
    Hello,
    Message,
    MessageError,
    Presence,
    Probe,
    Stored,
    Want,
    decode_message,
    encode_message,
)
from p2pwf.clock.sync import FORK_REACH, MAX_LINES, frontier, lacking
from p2pwf.core.dagcbor import encode
from p2pwf.core.events import MAX_SEQ, Event
from p2pwf.core.ids import block_cid, peer_id_of
from tests.kit import Writer, network, share, signer


def exchange(one: Writer, two: Writer) -> int:
    """One round each way, with requests by id for what is missing; returns how many events travelled."""
    sent = 0
    for _ in range(4):
        for source, target in ((one, two), (two, one)):
            held = {event.cid: event for event in source.events}
            queue = [held[node.cid] for node in lacking(source.desk.clock.dag, frontier(target.desk.clock.dag))]
            sent += len(queue)
            waiting: list[Event] = []
            while queue:
                event = queue.pop(0)
                if event.cid in target.desk.clock.dag:
                    continue
                result = target.desk.clock.accept(event)
                if isinstance(result, Missing):
                    waiting.append(event)
                    queue = [held[cid] for cid in result.links if cid in held] + [event] + queue
                    sent += len(result.links)
                    assert len(waiting) < 500
                    continue
                assert isinstance(result, Accepted), result
                target.desk.take(event, result)
                target.events.append(event)
        if one.desk.clock.dag.digest() == two.desk.clock.dag.digest():
            break
    return sent


def test_equal_peers_send_nothing() -> None:
    one, two = network(2)
    assert exchange(one, two) == 0


def test_what_travels_is_the_difference() -> None:
    one, two = network(2)
    for number in range(200):
        one.rename(f"shared {number}")
    share(one, two)
    for number in range(7):
        one.rename(f"mine {number}")
        two.rename(f"yours {number}")
    assert exchange(one, two) == 14
    assert one.desk.clock.dag.digest() == two.desk.clock.dag.digest()


@pytest.mark.parametrize("seed", range(15))
def test_random_subsets_converge(seed: int) -> None:
    choose = random.Random(seed)
    writers = network(4)
    for _ in range(60):
        writer = choose.choice(writers)
        if choose.random() < 0.2:
            share(*choose.sample(writers, 2))
        else:
            writer.rename(str(choose.random()))
    one, two = choose.sample(writers, 2)
    exchange(one, two)
    assert one.desk.clock.dag.digest() == two.desk.clock.dag.digest()


def test_the_branches_of_a_forked_author_travel_too() -> None:
    one, two = network(2)
    share(one, two)
    twin = Writer(2, one.desk.network)
    twin.learn(*sorted(one.events, key=lambda event: event.order))
    for number in range(12):
        two.rename(f"left {number}")
        twin.rename(f"right {number}")
    one.learn(*two.events[len(one.events) :])
    exchange(one, twin)
    dag = one.desk.clock.dag
    assert dag.is_forked(two.peer)
    assert len(dag.tips(two.peer)) == 2
    assert dag.digest() == twin.desk.clock.dag.digest()
    third = Writer(3, one.desk.network)
    exchange(one, third)
    assert third.desk.clock.dag.digest() == dag.digest()


def deep_twin(one: Writer, two: Writer, above: int) -> Writer:
    """Who knows what `one` does and a twin far below the end of the chain of `two`, which `one` knows."""
    other, twin = Writer(9, one.desk.network), Writer(2, one.desk.network)
    for writer in (other, twin):
        writer.learn(*sorted(one.events, key=lambda event: event.order))
    twin.rename("aside")
    for number in range(above):
        two.rename(f"name {number}")
    share(one, two)
    other.learn(*two.events[len(other.events) :], twin.events[-1])
    return other


def test_a_twin_far_below_a_tip_is_found_in_one_round() -> None:
    one, two = network(2)
    share(one, two)
    other = deep_twin(one, two, above=FORK_REACH * 2)
    assert exchange(one, other) == 1
    assert one.desk.clock.dag.digest() == other.desk.clock.dag.digest()


def test_a_twin_is_found_too_where_the_other_side_is_ahead() -> None:
    one, two = network(2)
    share(one, two)
    other = deep_twin(one, two, above=FORK_REACH * 2)
    for number in range(20):
        two.rename(f"further {number}")
    share(one, two)
    sent = lacking(other.desk.clock.dag, frontier(one.desk.clock.dag))
    assert [node.cid for node in sent] == [other.events[-1].cid]
    assert exchange(one, other) == 21


def test_branches_that_parted_long_ago_need_no_asking() -> None:
    one, two = network(2)
    share(one, two)
    twin = Writer(2, one.desk.network)
    twin.learn(*sorted(one.events, key=lambda event: event.order))
    for number in range(FORK_REACH - 1):
        two.rename(f"left {number}")
        twin.rename(f"right {number}")
    one.learn(*two.events[len(one.events) :])
    for source, target in ((one, twin), (twin, one)):
        links = {link for event in source.events[-FORK_REACH:] for link in event.links()}
        sent = {node.cid for node in lacking(source.desk.clock.dag, frontier(target.desk.clock.dag))}
        assert links <= sent | {node.cid for node in target.desk.clock.dag}


MESSAGES: list[Message] = [
    Hello(block_cid(b"n"), b"12345678", b"d" * 32, {signer(1).peer_id: ((3, b"t" * 8),)}, True, "1.0", ("x",)),
    Digest(b"d" * 32),
    Events((Writer(1).events[0].signed,)),
    Want((block_cid(b"1"), block_cid(b"2"))),
    Stored((block_cid(b"1"),)),
    Beat((Attempt(block_cid(b"r"), "build", 0, 1),)),
    Probe((Attempt(block_cid(b"r"), "build", 2, 8),)),
    Presence(b"12345678", ("/ip4/127.0.0.1/tcp/1",), "1.0", 1, 2),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_from_its_frame(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_the_remotes_fault(data: bytes) -> None:
    with suppress(MessageError):
        decode_message(data)


@pytest.mark.parametrize(
    "frame",
    [
        {"t": "hello"},
        {"t": "digest", "digest": b"short"},
        {"t": "events", "blocks": [b"block"]},
        {"t": "events", "blocks": [b"block"], "sigs": b"short signature"},
        {"t": "want", "ids": ["text"]},
        {"t": "beat", "held": [[block_cid(b"r"), "job", -1, 1]]},
        {"t": "presence", "boot": b"12345678", "addrs": [1], "version": "", "load": 0, "slots": 0},
        {"t": 7},
        [],
    ],
)
def test_a_malformed_frame_is_the_remotes_fault(frame: object) -> None:
    with pytest.raises(MessageError):
        decode_message(encode(frame))


def test_a_frame_of_a_kind_to_come_is_passed_over() -> None:
    assert decode_message(encode({"t": "tomorrow", "more": [1]})) is None


def test_a_frontier_of_many_authors_fits_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {peer_id_of(number.to_bytes(32)): ((MAX_SEQ, b"t" * TAG_LENGTH),) for number in range(MAX_LINES)}
    hello = Hello(block_cid(b"net"), b"b" * 32, bytes(32), lines, True, "v" * 256)
    assert len(encode_message(hello)) <= MAX_FRAME
    one, *others = network(6)
    one.learn(*(event for other in others for event in [other.rename("x")]))
    one.rename("a longer chain")
    monkeypatch.setattr("p2pwf.clock.sync.MAX_LINES", 3)
    named = frontier(one.desk.clock.dag)
    assert len(named) == 3
    assert one.peer in named
