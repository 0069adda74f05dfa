"""Input that gets deep: the test vectors of protocols/, damaged as bytes or changed as values and encoded again.

Bytes alone rarely pass the codec, so half of what is made is canonical and wrong in what it says.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from p2pwf.core.dagcbor import DagCborError, Value, decode, encode
from p2pwf.core.ids import Cid, block_cid

VECTORS: Final = Path(__file__).parents[2] / "protocols" / "vectors"
MAX_LENGTH: Final = 20_000
"""Bytes of one input: enough for every branch, and quick."""
HEADS: Final = bytes(
    (0x00, 0x17, 0x18, 0x1B, 0x40, 0x58, 0x60, 0x78, 0x80, 0x9B, 0x9F, 0xA0, 0xBB, 0xBF, 0xD8, 0xF6, 0xFF)
)
VALUES: Final[tuple[Value, ...]] = (
    *(None, True, False, 0, 1, -1, 23, 255, 2**32, 2**53, 2**63, 2**64 - 1, -(2**64), 0.0, -0.5, 1e308),
    *("", "a", "\u0000", "\U0001f600" * 9, "x" * 300, b"", b"\xff" * 8, bytes(32), bytes(64), [], {}),
    *(block_cid(b"none"), Cid(b"\x01\x55\x12\x20" + bytes(32))),
)


@cache
def vectors(name: str) -> tuple[bytes, ...]:
    """The blocks of a file of vectors, good ones and bad ones."""
    data = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    lists = (data.get(key, []) for key in ("accepted", "extended", "ignored", "refused"))
    found = (one["block"] for entries in lists for one in entries if "block" in one)
    return tuple(dict.fromkeys(bytes.fromhex(block) for block in found if len(block) <= 2 * MAX_LENGTH))


def mutated(chance: Random, corpus: tuple[bytes, ...]) -> bytes:
    """One input, made of one or two of a corpus."""
    data = chance.choice(corpus)
    for _ in range(chance.randint(0, 3)):
        data = _changed(chance, data) if chance.random() < 0.5 else _damaged(chance, data, corpus)
    return data[:MAX_LENGTH]


def _damaged(chance: Random, data: bytes, corpus: tuple[bytes, ...]) -> bytes:
    start = chance.randint(0, len(data))
    end = min(len(data), start + chance.choice((0, 1, 1, 2, 8, 64)))
    kind = chance.randrange(6)
    if kind == 0 and data:
        at = chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:start] + data[end:]
    if kind == 2:
        return data[:start] + bytes([chance.choice(HEADS)]) + data[end:]
    if kind == 3:
        return data[:start] + chance.randbytes(chance.randint(1, 9)) + data[end:]
    if kind == 4:
        return data[:start] + data[start:end] * chance.choice((2, 3, 17)) + data[end:]
    other = chance.choice(corpus)
    return data[:start] + other[chance.randint(0, len(other)) :]


def _changed(chance: Random, data: bytes) -> bytes:
    """The same with one value in it replaced, dropped or added, in canonical form again, or as JSON if it is that."""
    try:
        return encode(_with_change(chance, decode(data), 0))
    except DagCborError:
        pass
    try:
        return json.dumps(_with_change(chance, json.loads(data), 0), default=repr).encode()
    except (ValueError, RecursionError):
        return data


def _with_change(chance: Random, value: Value, depth: int) -> Value:
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        kind = chance.randrange(8)
        if kind == 0:
            return {name: one for name, one in value.items() if name != key}
        if kind == 1:
            return {**value, chance.choice(("", "v", "t", "more", key + "x")): chance.choice(VALUES)}
        return {**value, key: _with_change(chance, value[key], depth + 1)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        kind = chance.randrange(8)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value * chance.choice((2, 5, 20)) if len(value) < 50 else value[::-1]
        return [*value[:at], _with_change(chance, value[at], depth + 1), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.5:
        return value + chance.choice((-1, 1))
    if isinstance(value, str) and chance.random() < 0.5:
        return value[: chance.randint(0, len(value))] + chance.choice(("", "x", "\u0000", "/../"))
    if type(value) is bytes and chance.random() < 0.5:
        return value[: chance.randint(0, len(value))]
    return chance.choice(VALUES)
