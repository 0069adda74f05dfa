"""Vectors of the codec and of single events: what is read, what is refused, and in which class."""

from __future__ import annotations

from typing import Any, cast

from p2pwf.core.dagcbor import MAX_DEPTH, decode, encode
from p2pwf.core.ids import blob_cid, block_cid, public_key_of
from p2pwf.core.sign import DOMAIN
from scripts.core_vectors.chain import Chain
from scripts.core_vectors.refused import refused_events
from scripts.core_vectors.scene import seed
from scripts.core_vectors.text import block_json, to_json


def codec_vectors() -> dict[str, object]:
    """Blocks that are strict DAG-CBOR with their values, and blocks that are not."""
    deep: object = 0
    for _ in range(MAX_DEPTH):
        deep = [deep]
    values: list[tuple[str, object]] = [
        ("null", None),
        ("false and true", [False, True]),
        ("where the length of an integer changes", [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32]),
        ("the largest and the smallest integer", [2**64 - 1, -(2**64), -1, -24, -25]),
        ("floats are 64 bits wide, also when they are whole", [3.0, -0.0, 0.1, 1e300, 5e-324]),
        ("text is UTF-8 and not normalised", ["", "a", "büro-β", "e\u0301", "\U0001f980"]),
        ("bytes", [b"", b"\x00\xff"]),
        ("links to a block and to a blob", [block_cid(b"block"), blob_cid(b"blob")]),
        ("map keys: shorter first, then bytewise", {"b": 1, "a": 2, "aa": 3, "é": 4, "": 5, "ab": 6}),
        ("nested as deep as may be", deep),
    ]
    link = encode(block_cid(b"block")).hex()
    refused = [
        ("no bytes", ""),
        ("bytes after the value", "0000"),
        ("cut off", "a16161"),
        ("an integer that is not minimal", "1817"),
        ("a length that is not minimal", "580161"),
        ("an integer below -2^64, as tag 3", "c349010000000000000000"),
        ("an indefinite list", "9f01ff"),
        ("an indefinite map", "bf616101ff"),
        ("an indefinite text", "7f6161ff"),
        ("indefinite bytes", "5f4101ff"),
        ("a 16-bit float", "f90000"),
        ("a 32-bit float", "fa00000000"),
        ("NaN", "fb7ff8000000000000"),
        ("an infinity", "fb7ff0000000000000"),
        ("undefined", "f7"),
        ("another simple value", "f820"),
        ("false in two bytes", "f814"),
        ("a lone break", "ff"),
        ("text that is not UTF-8", "61ff"),
        ("text with a surrogate", "63eda080"),
        ("map keys out of order", "a2616201616102"),
        ("map keys in the order of their bytes, where length does not come first", "a262616101616202"),
        ("a map key twice", "a2616101616102"),
        ("a map key that is a number", "a10102"),
        ("a map key that is bytes", "a1416101"),
        ("a date", "c11a00000000"),
        ("an integer over 2^64 - 1, as tag 2", "c249010000000000000000"),
        ("a self-description", "d9d9f700"),
        ("a link in a longer tag", "d9002a" + link[4:]),
        ("a link without its zero byte", "d82a5824" + block_cid(b"block").hex()),
        ("a link that is text", "d82a6161"),
        ("a link to a CIDv0", "d82a582300" + "1220" + "00" * 32),
        ("a link of codec dag-pb", "d82a58250001701220" + "00" * 32),
        ("a link with another hash", "d82a58250001711b20" + "00" * 32),
        ("a link with a byte too many", "d82a58260001711220" + "00" * 33),
        ("nested too deep", "81" * (MAX_DEPTH + 1) + "00"),
        ("a link counts as a level", "81" * MAX_DEPTH + link),
    ]
    return {
        "accepted": [
            {"name": name, "value": to_json(cast(Any, value)), "block": encode(value).hex()} for name, value in values
        ],
        "refused": [{"why": why, "block": block} for why, block in refused],
    }


def event_vectors() -> dict[str, object]:
    """Every type of event in one chain, and what is refused by who has that chain."""
    chain = Chain()
    people = [*chain.people, chain.scene.author("eve")]
    return {
        "protocol": "events",
        "version": 1,
        "domain": DOMAIN.hex(),
        "keys": [
            {
                "name": one.name,
                "seed": seed(one.name).hex(),
                "public_key": public_key_of(one.peer).hex(),
                "peer_id": one.peer,
            }
            for one in people
        ],
        "dag_cbor": codec_vectors(),
        "accepted": [
            {
                "name": name,
                "cid": event.cid.text,
                "message": to_json(decode(event.signed.block)),
                **block_json(event),
            }
            for name, event in chain.named
        ],
        "refused": refused_events(chain),
    }
