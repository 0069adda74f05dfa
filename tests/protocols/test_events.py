"""protocols/events.md: the vectors of the codec and of events, both ways; any order of arrival gives the same set."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from p2pwf.core.dagcbor import DagCborError, decode, encode
from p2pwf.core.events import EventError, author_event, parse
from p2pwf.core.ids import parse_cid, peer_id_of, public_key_of
from p2pwf.core.sign import DOMAIN, Signer
from tests.protocols.kit import Reader, by_hand, cid_of, events_of, load, named, plain, signed

VECTORS = load("events")
CHAIN = VECTORS["accepted"]
KEYS = {key["peer_id"]: key for key in VECTORS["keys"]}
NETWORK = CHAIN[0]["cid"]
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58(data: bytes) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def test_peer_ids_hold_their_keys() -> None:
    for key in VECTORS["keys"]:
        public = bytes(SigningKey(bytes.fromhex(key["seed"])).verify_key)
        assert public.hex() == key["public_key"]
        assert base58(bytes.fromhex("002408011220") + public) == key["peer_id"] == peer_id_of(public)
        assert public_key_of(key["peer_id"]) == public
        assert Signer(bytes.fromhex(key["seed"])).peer_id == key["peer_id"]


@pytest.mark.parametrize("vector", VECTORS["dag_cbor"]["accepted"], ids=named)
def test_a_value_has_one_encoding(vector: dict[str, Any]) -> None:
    block = bytes.fromhex(vector["block"])
    assert by_hand(vector["value"]) == block == encode(plain(vector["value"]))
    assert decode(block) == plain(vector["value"])
    assert encode(decode(block)) == block


@pytest.mark.parametrize("vector", VECTORS["dag_cbor"]["refused"], ids=named)
def test_no_other_encoding_is_read(vector: dict[str, Any]) -> None:
    with pytest.raises(DagCborError):
        decode(bytes.fromhex(vector["block"]))


@pytest.mark.parametrize("vector", CHAIN, ids=named)
def test_the_words_of_the_page_give_the_events(vector: dict[str, Any]) -> None:
    """Block, CID and signature, from the fields and the seed, with none of the package's code."""
    block = by_hand(vector["message"])
    assert block.hex() == vector["block"]
    assert cid_of(block) == vector["cid"]
    key = KEYS[vector["message"]["author"]]
    signature = SigningKey(bytes.fromhex(key["seed"])).sign(bytes.fromhex(VECTORS["domain"]) + block).signature
    assert signature.hex() == vector["signature"]


@pytest.mark.parametrize("vector", CHAIN, ids=named)
def test_the_package_reads_and_writes_them(vector: dict[str, Any]) -> None:
    message = plain(vector["message"])
    assert isinstance(message, dict)
    event = parse(signed(vector))
    assert event.cid == parse_cid(vector["cid"])
    assert {
        name: getattr(event, name) for name in ("author", "seq", "prev", "lamport", "time", "type", "body", "net")
    } == {name: value for name, value in message.items() if name not in ("v", "parents", "after")}
    signer = Signer(bytes.fromhex(KEYS[event.author]["seed"]))
    fields = {name: value for name, value in message.items() if name not in ("v", "author")}
    assert author_event(signer, **fields).signed == signed(vector)
    assert DOMAIN.hex() == VECTORS["domain"]


def test_every_type_of_event_is_there() -> None:
    from p2pwf.core.bodies import FORMS

    assert {vector["message"]["type"] for vector in CHAIN} == {*FORMS, "later.idea"}


def test_the_chain_is_accepted_in_its_order() -> None:
    reader = Reader(NETWORK)
    for event in events_of(CHAIN):
        assert reader.take(event) is None, event.type


@pytest.mark.parametrize("seed", range(5))
def test_the_chain_is_accepted_in_any_order_of_arrival(seed: int) -> None:
    events = events_of(CHAIN)
    expected = Reader(NETWORK)
    expected.learn(events)
    random.Random(seed).shuffle(events)
    reader = Reader(NETWORK)
    reader.learn(events)
    assert reader.refused == {}
    assert reader.clock.dag.digest() == expected.clock.dag.digest()
    assert len(reader.clock.dag) == len(CHAIN)


@cache
def whole_chain() -> Reader:
    reader = Reader(NETWORK)
    reader.learn(events_of(CHAIN))
    return reader


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=named)
def test_what_breaks_a_rule_is_refused_for_it(vector: dict[str, Any]) -> None:
    if vector["class"] == "form":
        with pytest.raises(EventError):
            parse(signed(vector))
        return
    before = whole_chain().clock.dag.digest()
    assert whole_chain().take(parse(signed(vector))) == vector["class"]
    assert whole_chain().clock.dag.digest() == before


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=named)
def test_nothing_is_wrong_with_a_refused_event_but_its_fault(vector: dict[str, Any]) -> None:
    """The signature of each is its author's, so that a reader cannot refuse it for another reason."""
    block, signature = bytes.fromhex(vector["block"]), bytes.fromhex(vector["signature"])
    is_signed = False
    for key in KEYS.values():
        try:
            VerifyKey(bytes.fromhex(key["public_key"])).verify(DOMAIN + block, signature)
        except (BadSignatureError, ValueError):
            continue
        is_signed = key["peer_id"].encode() in block or "author" in vector["why"] or vector["why"] == "a list"
    assert is_signed == (vector["class"] != "signature" and len(signature) == 64)
