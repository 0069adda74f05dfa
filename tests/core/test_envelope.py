"""What is read of an envelope at once is what the codec reads of it value by value, and nothing else."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from p2pwf.core.dagcbor import MAX_DEPTH, DagCborError, decode, encode
from p2pwf.core.envelope import open_envelope
from p2pwf.core.ids import block_cid, peer_id_of

PEER = peer_id_of(b"k" * 32)
LINKS = sorted(block_cid(bytes([number])) for number in range(40))
FIELDS: dict[str, object] = {
    "v": 1,
    "net": LINKS[0],
    "author": PEER,
    "seq": 7,
    "prev": LINKS[1],
    "parents": LINKS[2:5],
    "after": [],
    "lamport": 300,
    "time": 1_700_000_000_000,
    "type": "x.note",
    "body": {"n": 1},
}


def same(block: bytes) -> bool:
    """Whether the envelope of a block is what the codec reads; raises DagCborError if there is none."""
    found = open_envelope(block)
    fields = {**found._asdict(), "v": 1, "parents": list(found.parents), "after": list(found.after)}
    return decode(block) == fields and encode(fields) == block


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"net": None, "prev": None, "seq": 0, "parents": []},
        *({"seq": 2**bits, "time": 2**bits - 1, "lamport": 2**bits + 1} for bits in range(1, 63)),
        *({"after": LINKS[:count], "parents": LINKS[:count]} for count in range(24)),
        *({"type": "t" * length} for length in (0, 1, 23, 24, 255, 256, 70_000)),
        {"type": "\u00e4\U0001f600", "body": {}},
        {"body": {"a": [], "b": {}, "c": [LINKS[0], None, True, 1.5, -3, b"", "x" * 300]}},
        {"body": b"dprev"},
        {"type": "eafter", "body": {"dtype": "dprev"}},
    ],
)
def test_an_envelope_is_read_as_the_codec_reads_it(changes: dict[str, object]) -> None:
    assert same(encode({**FIELDS, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": True},
        {"v": "1"},
        {"net": 1},
        {"net": bytes(36)},
        {"seq": -1},
        {"seq": 1.0},
        {"seq": None},
        {"prev": "x"},
        {"time": -1},
        {"lamport": 2.5},
        {"author": PEER[:-1]},
        {"author": PEER + "x"},
        {"author": "\u00e4" * 26},
        {"author": b"x" * 52},
        {"parents": None},
        {"parents": [1]},
        {"parents": LINKS[:24]},
        {"after": {}},
        {"more": 1},
    ],
)
def test_what_is_no_envelope_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(DagCborError):
        open_envelope(encode({**FIELDS, **changes}))


@pytest.mark.parametrize("longer", ["1807", "190007", "1a00000007", "1b0000000000000007"])
@pytest.mark.parametrize("name", ["seq", "time", "lamport"])
def test_t15_an_integer_is_as_short_as_it_can_be(name: str, longer: str) -> None:
    block = encode({**FIELDS, name: 7})
    key = encode(name)
    assert same(block)
    with pytest.raises(DagCborError):
        open_envelope(block.replace(key + b"\x07", key + bytes.fromhex(longer)))


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_needed(name: str) -> None:
    with pytest.raises(DagCborError):
        open_envelope(encode({key: value for key, value in FIELDS.items() if key != name}))


def test_a_body_may_be_nested_as_deep_as_a_block() -> None:
    nested: object = {}
    for _ in range(MAX_DEPTH - 2):
        nested = {"n": nested}
    assert same(encode({**FIELDS, "body": nested}))
    block = encode({**FIELDS, "body": nested})
    deeper = block.replace(b"\xa1\x61n\xa0", b"\xa1\x61n\xa1\x61n\xa0")
    assert deeper != block
    for reader in (decode, open_envelope):
        with pytest.raises(DagCborError, match="nested"):
            reader(deeper)


@pytest.mark.parametrize("seed", range(30))
def test_bytes_that_were_tampered_with_are_refused_or_read_alike(seed: int) -> None:
    chance = random.Random(seed)
    body = {"n": chance.randrange(2**33), "link": LINKS[9], "list": [None, "text", 1.5]}
    block = encode({**FIELDS, "seq": chance.randrange(2**40), "body": body})
    for _ in range(300):
        data = bytearray(block)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data))
            kind = chance.randrange(3)
            if kind == 0:
                data[at] = chance.randrange(256)
            elif kind == 1:
                del data[at]
            else:
                data.insert(at, chance.choice((0, 0x18, 0x19, 0x60, 0x78, 0x80, 0xF6, 0xFF)))
        with suppress(DagCborError):
            assert same(bytes(data))
