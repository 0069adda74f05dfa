"""protocols/clock.md: the vectors of the messages, both ways, and of what two peers send each other."""

from __future__ import annotations

import random
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from p2pwf.clock import messages
from p2pwf.clock.messages import Attempt, Message, MessageError, decode_message, encode_message
from p2pwf.clock.sync import frontier, lacking
from p2pwf.core.events import SignedBlock, parse
from p2pwf.core.ids import Cid, PeerId
from tests.protocols.kit import Reader, binary, by_hand, load, named, plain, signed

VECTORS = load("clock")


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number % 128 + 128])
        number //= 128
    return out + bytes([number])


def attempts(value: list[list[Any]]) -> tuple[Attempt, ...]:
    return tuple(Attempt(*one) for one in value)


def hello(value: dict[str, Any]) -> Message:
    lines = {PeerId(peer): tuple((seq, tag) for seq, tag in tips) for peer, tips in value["frontier"].items()}
    return messages.Hello(
        value["net"],
        value["boot"],
        value["digest"],
        lines,
        value["reply"],
        value["version"],
        tuple(value["caps"]),
        value.get("time"),
    )


BUILD: dict[str, Callable[[dict[str, Any]], Message]] = {
    "hello": hello,
    "digest": lambda value: messages.Digest(value["digest"]),
    "events": lambda value: messages.Events(
        tuple(
            SignedBlock(block, value["sigs"][64 * number : 64 * number + 64])
            for number, block in enumerate(value["blocks"])
        )
    ),
    "want": lambda value: messages.Want(tuple(value["ids"])),
    "stored": lambda value: messages.Stored(tuple(value["ids"])),
    "beat": lambda value: messages.Beat(attempts(value["held"])),
    "probe": lambda value: messages.Probe(attempts(value["asked"])),
    "peers": lambda value: messages.Peers({PeerId(peer): tuple(one) for peer, one in value["peers"].items()}),
    "pruned": lambda value: messages.Pruned(SignedBlock(value["block"], value["sig"])),
    "presence": lambda value: messages.Presence(
        value["boot"], tuple(value["addrs"]), value["version"], value["load"], value["slots"]
    ),
}


def test_every_kind_of_message_is_there() -> None:
    assert {vector["message"]["t"] for vector in VECTORS["accepted"]} == set(BUILD)
    assert {kind.__name__.lower() for kind in Message.__args__} == set(BUILD)


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=named)
def test_the_words_of_the_page_give_the_frames(vector: dict[str, Any]) -> None:
    block = by_hand(vector["message"])
    assert block.hex() == vector["block"]
    assert (varint(len(block)) + block).hex() == vector["frame"]


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=named)
def test_the_package_reads_and_writes_them(vector: dict[str, Any]) -> None:
    value = plain(vector["message"])
    assert isinstance(value, dict)
    message = BUILD[value["t"]](value)
    assert decode_message(bytes.fromhex(vector["block"])) == message
    assert encode_message(message).hex() == vector["block"]


@pytest.mark.parametrize("vector", VECTORS["extended"], ids=named)
def test_fields_that_nobody_knows_change_nothing(vector: dict[str, Any]) -> None:
    base = next(one for one in VECTORS["accepted"] if one["name"] == vector["same_as"])
    assert decode_message(bytes.fromhex(vector["block"])) == decode_message(bytes.fromhex(base["block"]))


@pytest.mark.parametrize("vector", VECTORS["ignored"], ids=named)
def test_messages_that_nobody_knows_are_passed_over(vector: dict[str, Any]) -> None:
    assert decode_message(bytes.fromhex(vector["block"])) is None


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=named)
def test_what_no_honest_peer_sends_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        decode_message(bytes.fromhex(vector["block"]))


def reader_of(vector: dict[str, Any], side: str, shuffle: int | None = None) -> Reader:
    reader = Reader(vector["network"])
    events = [parse(signed(one)) for one in vector["events"] if one[side]]
    if shuffle is not None:
        random.Random(shuffle).shuffle(events)
    reader.learn(events)
    assert len(reader.clock.dag) == len(events)
    return reader


def named_frontier(reader: Reader) -> dict[str, list[dict[str, object]]]:
    lines = frontier(reader.clock.dag)
    return {peer: [{"seq": seq, "tag": tag.hex()} for seq, tag in tips] for peer, tips in lines.items()}


@pytest.mark.parametrize("shuffle", [None, 1, 2])
@pytest.mark.parametrize("vector", VECTORS["sync"], ids=named)
def test_each_side_says_what_it_has_and_sends_what_the_other_lacks(vector: dict[str, Any], shuffle: int | None) -> None:
    readers = {side: reader_of(vector, side, shuffle) for side in ("here", "there")}
    for side, other in (("here", "there"), ("there", "here")):
        expected, dag = vector[side], readers[side].clock.dag
        assert [node.cid.text for node in dag.heads()] == expected["heads"]
        digest = sha256(b"".join(sorted(map(binary, expected["heads"])))).hexdigest()
        assert digest == expected["digest"] == dag.digest().hex()
        assert named_frontier(readers[side]) == expected["frontier"]
        sent = lacking(dag, frontier(readers[other].clock.dag))
        assert [node.cid.text for node in sent] == expected["sends"]


@pytest.mark.parametrize("vector", VECTORS["sync"], ids=named)
def test_the_tag_of_a_tip_is_the_start_of_its_digest(vector: dict[str, Any]) -> None:
    for side in ("here", "there"):
        ids = [binary(event["cid"]) for event in vector["events"]]
        for tips in vector[side]["frontier"].values():
            assert all(any(cid[4:12].hex() == tip["tag"] for cid in ids) for tip in tips)


@pytest.mark.parametrize("vector", VECTORS["sync"], ids=named)
def test_what_is_sent_makes_both_sides_equal(vector: dict[str, Any]) -> None:
    events = {one["cid"]: parse(signed(one)) for one in vector["events"]}
    readers = {side: reader_of(vector, side) for side in ("here", "there")}
    for side, other in (("here", "there"), ("there", "here")):
        readers[other].learn(events[cid] for cid in vector[side]["sends"])
    assert readers["here"].clock.dag.digest() == readers["there"].clock.dag.digest()
    assert all(len(reader.pending) == 0 for reader in readers.values())


def test_a_want_names_events_by_id() -> None:
    want = decode_message(encode_message(messages.Want((Cid(binary(VECTORS["sync"][0]["network"])),))))
    assert isinstance(want, messages.Want)
    assert [cid.text for cid in want.ids] == [VECTORS["sync"][0]["network"]]
