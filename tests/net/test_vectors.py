"""The vectors of protocols/vectors/{transport,blob,logs,join}.json, both ways.

First encoded here from the page's words alone, with none of the package's code; then asked of the package, both to
read and to write; then the schemas; last, the generator must give the files as they are.
"""

from __future__ import annotations

import json
import runpy
import sys
from base64 import b32decode
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.pubsub.pb import rpc_pb2

from p2pwf.core.ids import Cid, parse_cid
from p2pwf.errors import RemoteError
from p2pwf.net import JoinReply, JoinRequest, blob_messages, gossip, joins, links, logs
from p2pwf.net.framing import FrameDecoder, encode_length

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = ("transport", "blob", "logs", "join")
VECTORS: dict[str, dict[str, Any]] = {
    name: json.loads((ROOT / f"protocols/vectors/{name}.json").read_text(encoding="utf-8")) for name in PROTOCOLS
}
ACCEPTED = [(name, vector) for name in PROTOCOLS for vector in VECTORS[name]["accepted"]]
REFUSED = [(name, vector) for name in PROTOCOLS for vector in VECTORS[name]["refused"]]
BEYOND_CDDL = {
    "a block, not a blob",  # the first bytes of a CID
    "to hold a block",
    "a blob for a run",
    "a blob for a network",
    "an offset beyond the end",  # a relation of two fields
    "a job id of 257 characters",  # characters, where CDDL counts bytes
    "a name of 65 characters",
    "a label of 65 characters",
    "a reason of 501 characters",
}
"""What the pages rule and a schema cannot."""
LAX = {"to fetch and to hold", "a list", "absent with a size", "a number for a label", "a link for a secret"}
"""What the schemas refuse, and pycddl 0.6 lets pass: mostly what no branch of a choice allows."""


def named(vector: Any) -> str:
    return str(vector.get("name") or vector["why"]) if isinstance(vector, dict) else str(vector)


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for extra, length in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 256**length:
            return bytes([major << 5 | extra]) + number.to_bytes(length)
    raise ValueError(number)


def by_hand(value: Any) -> bytes:
    """DAG-CBOR of a value of the files, written here anew."""
    match value:
        case {"/": str(cid)}:
            body = cid[1:].upper()
            link = b"\0" + b32decode(body + "=" * (-len(body) % 8))
            return head(6, 42) + head(2, len(link)) + link
        case {"/": {"bytes": str(content)}}:
            return head(2, len(content) // 2) + bytes.fromhex(content)
        case None:
            return b"\xf6"
        case int():
            return head(0, value)
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(by_hand, value))
        case _:
            ordered = sorted(value, key=lambda key: (len(key), key))
            return head(5, len(value)) + b"".join(by_hand(key) + by_hand(value[key]) for key in ordered)


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number % 128 + 128])
        number //= 128
    return out + bytes([number])


@st.composite
def messages_of_any_kind(draw: st.DrawFn) -> bytes:
    """A block of the files with some bytes changed."""
    block = bytearray(bytes.fromhex(draw(st.sampled_from(ACCEPTED + REFUSED))[1]["block"]))
    for at, value in draw(st.lists(st.tuples(st.integers(0, len(block) - 1), st.integers(0, 255)), max_size=3)):
        block[at] = value
    return bytes(block)


@pytest.mark.parametrize(("_protocol", "vector"), ACCEPTED, ids=named)
def test_the_words_of_the_page_give_the_bytes(_protocol: str, vector: dict[str, Any]) -> None:
    block = by_hand(vector["message"])
    assert block.hex() == vector["block"]
    assert (varint(len(block)) + block).hex() == vector["frame"]


def cid(value: Any) -> Cid:
    return parse_cid(value["/"])


def opening(message: dict[str, Any]) -> object:
    return bytes.fromhex(message["boot"]["/"]["bytes"]), message["link"]


def blob_request(message: dict[str, Any]) -> object:
    if "hold" in message:
        return blob_messages.Hold(map(cid, message["hold"]))
    return blob_messages.Fetch(cid(message["cid"]), message["offset"], message["length"], message["via"])


def blob_answer(message: dict[str, Any]) -> object:
    if message["status"] == "ok":
        return blob_messages.Sending(message["offset"], message["size"])
    return blob_messages.Refusal(message["status"])


def blob_held(message: dict[str, Any]) -> object:
    return blob_messages.Held(map(cid, message["held"]))


def log_request(message: dict[str, Any]) -> object:
    return logs.LogRequest(
        cid(message["run"]), message["job"], message["leg"], message["attempt"], message["from"], message["via"]
    )


def join_request(message: dict[str, Any]) -> object:
    network, secret = message["network"], message["secret"]
    return JoinRequest(
        cid(network) if network else None,
        bytes.fromhex(secret["/"]["bytes"]) if secret else None,
        message["name"],
        message["labels"],
        message["slots"],
    )


def join_reply(message: dict[str, Any]) -> object:
    network = message["network"]
    return JoinReply(message["status"], cid(network) if network else None, message["reason"])


Codec = tuple[Callable[[dict[str, Any]], object], Callable[[bytes], object], Callable[[Any], bytes]]
CODECS: dict[tuple[str, str], Codec] = {
    ("transport", "opening"): (opening, links.decode_opening, lambda value: links.encode_opening(*value)),
    ("blob", "request"): (blob_request, blob_messages.decode_request, blob_messages.encode),
    ("blob", "answer"): (blob_answer, blob_messages.decode_fetch_answer, blob_messages.encode),
    ("blob", "held"): (blob_held, blob_messages.decode_held, blob_messages.encode),
    ("logs", "request"): (log_request, logs.decode_request, lambda value: bytes(value.encode())),
    ("logs", "head"): (lambda message: message["status"], logs.decode_head, logs.encode_head),
    ("join", "request"): (join_request, joins.decode_request, joins.encode_request),
    ("join", "reply"): (join_reply, joins.decode_reply, joins.encode_reply),
}


@pytest.mark.parametrize(("protocol", "vector"), ACCEPTED, ids=named)
def test_the_package_reads_and_writes_them(protocol: str, vector: dict[str, Any]) -> None:
    value_of, decode, encode = CODECS[protocol, vector["kind"]]
    value = value_of(vector["message"])
    block = bytes.fromhex(vector["block"])
    assert decode(block) == value
    if vector["message"]["v"] == 1:
        assert encode(value) == block
    decoder = FrameDecoder()
    decoder.feed(bytes.fromhex(vector["frame"]))
    assert decoder.next_frame(1 << 20) == block


@pytest.mark.parametrize(("protocol", "vector"), REFUSED, ids=named)
def test_the_package_refuses_what_breaks_a_rule(protocol: str, vector: dict[str, Any]) -> None:
    _, decode, _ = CODECS[protocol, vector["kind"]]
    with pytest.raises(RemoteError):
        decode(bytes.fromhex(vector["block"]))


@pytest.mark.parametrize(("protocol", "vector"), ACCEPTED + REFUSED, ids=named)
def test_the_schemas_say_the_same(protocol: str, vector: dict[str, Any]) -> None:
    pycddl = pytest.importorskip("pycddl", reason="no wheel of pycddl for this machine")
    text = (ROOT / f"protocols/cddl/{protocol}.cddl").read_text(encoding="utf-8")
    schema = pycddl.Schema(f"start = {vector['kind']}\n{text}")
    block = bytes.fromhex(vector["block"])
    if "message" in vector or vector["why"] in BEYOND_CDDL | LAX:
        schema.validate_cbor(block)
    else:
        with pytest.raises((pycddl.ValidationError, ValueError)):
            schema.validate_cbor(block)


@pytest.mark.parametrize(
    "vector", VECTORS["transport"]["gossip_id"], ids=lambda vector: f"{len(vector['data'])}-{vector['seqno']}"
)
def test_the_id_of_a_gossip_message_is_a_hash_of_author_content_and_number(vector: dict[str, str]) -> None:
    author, data, number = (bytes.fromhex(vector[name]) for name in ("from", "data", "seqno"))
    assert sha256(author + sha256(data).digest() + number).hexdigest() == vector["id"]
    message = rpc_pb2.Message(from_id=author, data=data, seqno=number, topicIDs=["any"])
    assert gossip.message_id(message).hex() == vector["id"]


def test_lengths_are_minimal_varints() -> None:
    for vector in VECTORS["transport"]["lengths"]:
        assert varint(vector["length"]).hex() == vector["varint"] == encode_length(vector["length"]).hex()
    for wire in VECTORS["transport"]["refused_lengths"]:
        decoder = FrameDecoder()
        decoder.feed(bytes.fromhex(wire))
        with pytest.raises(RemoteError):
            decoder.next_frame(1 << 20)


@given(st.binary(max_size=200) | messages_of_any_kind())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for _, decode, _ in CODECS.values():
        with suppress(RemoteError):
            decode(data)


def test_the_generator_gives_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["vectors_net.py", "--check"])
    assert runpy.run_path(str(ROOT / "scripts/vectors_net.py"))["main"]() == 0
