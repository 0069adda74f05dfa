"""DAG-CBOR, strictly: one value has one encoding, and only that encoding is read.

`cbor2` writes. What is received is read here, in one pass that takes nothing else: lengths and integers as short as can
be, map keys that are text and rise (shorter first, then bytewise: the order of their encodings), floats of 64 bits,
UTF-8, no tag but 42 around a CID of the two kinds used here, nothing after the value. So what was read need not be
written again to see that it was canonical. Source: the IPLD DAG-CBOR specification, RFC 8949.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

import cbor2

from p2pwf.core.ids import CID_LENGTH, Cid, is_cid

Value: TypeAlias = bool | int | float | str | bytes | Cid | list["Value"] | dict[str, "Value"] | None

MAX_BLOCK = 1_000_000
"""Bytes of one block: what one GossipSub message of py-libp2p carries at most."""
MAX_DEPTH = 32
"""Nesting of one block: a matrix value inside a leg inside a plan inside a body is 10 deep."""
MAX_INT = 2**64 - 1
MIN_INT = -(2**64)
"""What major type 1 of CBOR holds."""
LINK_TAG = 42


class DagCborError(ValueError):
    """The bytes, or the value, are not strict DAG-CBOR: the remote's fault when the bytes came from one."""


_LINK = bytes((0xD8, LINK_TAG, 0x58, CID_LENGTH + 1, 0))
"""The head of a link: tag 42, a byte string of 37 bytes, and the zero before the binary CID."""
_FLOAT = struct.Struct(">d")
_SIMPLE: Mapping[int, Value] = {0xF4: False, 0xF5: True, 0xF6: None}
_EMPTY: Mapping[int, Callable[[], Value]] = {0x80: list, 0xA0: dict}


def decode(data: bytes, max_size: int = MAX_BLOCK) -> Value:
    """The value of one strict DAG-CBOR block of at most `max_size` bytes; raises DagCborError otherwise."""
    if len(data) > max_size:
        raise DagCborError(f"{len(data)} bytes, the bound is {max_size}")
    value, end = read(data, 0)
    if end != len(data):
        raise DagCborError("bytes after the value, or not all of it")
    return value


def read(data: bytes, at: int, room: int = MAX_DEPTH) -> tuple[Value, int]:
    """The value that begins at `data[at]`, and where it ends; at most `room` lists, maps and links one in another.

    The end lies beyond the data if the last text, bytes or number was cut short. Raises DagCborError. Cost: linear.
    """
    try:
        return _read(data, at, room)
    except IndexError:
        raise DagCborError("cut short") from None
    except UnicodeDecodeError as error:
        raise DagCborError(f"text that is not UTF-8: {error.reason}") from error


def _read(data: bytes, at: int, room: int) -> tuple[Value, int]:
    head = data[at]
    kind, number = head >> 5, head & 31
    at += 1
    if number > 23 and kind != 7:
        number, at = _argument(data, at, number)
    if kind == 3:
        end = at + number
        return data[at:end].decode(), end
    if kind == 2:
        return data[at : at + number], at + number
    if kind == 0:
        return number, at
    if kind == 7:
        return _simple(data, at, head)
    if kind == 1:
        return -1 - number, at
    if not room:
        raise DagCborError(f"nested deeper than {MAX_DEPTH}")
    if kind == 5:
        return _map(data, at, number, room - 1)
    if kind == 4:
        return _list(data, at, number, room - 1)
    if head != _LINK[0]:
        raise DagCborError("a tag that is not a link")
    return _link(data, at - 2)


def _link(data: bytes, at: int) -> tuple[Cid, int]:
    start = at + len(_LINK)
    end = start + CID_LENGTH
    content = data[start:end]
    if data[at:start] != _LINK or not is_cid(content):
        raise DagCborError("a tag that is not a link to a CIDv1 of sha2-256")
    return Cid(content), end


def _argument(data: bytes, at: int, low: int) -> tuple[int, int]:
    """An integer or a length of 1, 2, 4 or 8 bytes, where it needs as many."""
    if low == 24:
        number, end = data[at], at + 1
        least = 24
    elif low < 28:
        width = 1 << (low - 24)
        end = at + width
        number = int.from_bytes(data[at:end], "big")
        least = 1 << (width << 2)
    else:
        raise DagCborError("an indefinite length, or none at all")
    if number < least:
        raise DagCborError("an integer or a length longer than it need be")
    return number, end


def _map(data: bytes, at: int, number: int, room: int) -> tuple[Value, int]:
    found: dict[str, Value] = {}
    last = b""
    for _ in range(number):
        head = data[at]
        if 0x60 <= head < 0x78:
            start, end = at + 1, at + head - 0x5F
        elif 0x78 <= head < 0x7C:
            length, start = _argument(data, at + 1, head - 0x60)
            end = start + length
        else:
            raise DagCborError("a map key that is not text")
        raw = data[at:end]
        if raw <= last:
            raise DagCborError("map keys out of order")
        last = raw
        key = data[start:end].decode()
        head = data[end]
        if head < 0x18:
            found[key] = head
            at = end + 1
        elif 0x60 <= head < 0x78:
            at = end + head - 0x5F
            found[key] = data[end + 1 : at].decode()
        elif head in _SIMPLE:
            found[key] = _SIMPLE[head]
            at = end + 1
        elif not room:  # a list, a map or a link is too deep; anything else is read
            found[key], at = _read(data, end, room)
        elif head == 0xD8:
            found[key], at = _link(data, end)
        elif head in _EMPTY:
            found[key] = _EMPTY[head]()
            at = end + 1
        else:
            found[key], at = _read(data, end, room)
    return found, at


def _list(data: bytes, at: int, number: int, room: int) -> tuple[Value, int]:
    items: list[Value] = []
    for _ in range(number):
        item, at = _read(data, at, room)
        items.append(item)
    return items, at


def _simple(data: bytes, at: int, head: int) -> tuple[Value, int]:
    if head in _SIMPLE:
        return _SIMPLE[head], at
    if head != 0xFB:
        raise DagCborError("not in the IPLD data model: a simple value, or a float that is not 64 bits wide")
    if at + 8 > len(data):
        raise DagCborError("cut short")
    value = _FLOAT.unpack_from(data, at)[0]
    if not math.isfinite(value):
        raise DagCborError("NaN or an infinity")
    return cast(float, value), at + 8


def size(value: Value) -> int:
    """How many bytes the encoding of `value`, which was read or is fit to be written, takes."""
    return len(cbor2.dumps(value, encoders=_ENCODERS))


def encode(value: object) -> bytes:
    """The one DAG-CBOR encoding of `value`; tuples count as lists, any mapping with text keys as a map.

    Raises DagCborError for what the IPLD data model does not hold: NaN and infinities, integers beyond 64 bits,
    keys that are not text, other types, nesting beyond MAX_DEPTH.
    """
    try:
        return cbor2.dumps(_normal(value, 0))
    except (cbor2.CBORError, UnicodeError) as error:
        raise DagCborError(f"cannot be written: {error}") from error


def _write_link(encoder: cbor2.CBOREncoder, link: bytes) -> None:
    encoder.encode(cbor2.CBORTag(LINK_TAG, b"\0" + bytes(link)))


_ENCODERS: Mapping[type, Callable[[cbor2.CBOREncoder, bytes], None]] = {Cid: _write_link}


def _key_order(key: str) -> tuple[int, str]:
    return (len(key) if key.isascii() else len(key.encode())), key


def _normal(value: object, depth: int) -> object:
    """`value` as cbor2 is to write it: keys in order, links as tags, tuples as lists."""
    kind = type(value)
    if kind is str or kind is bool or kind is bytes or value is None:
        return value
    if kind is int:
        if not MIN_INT <= cast(int, value) <= MAX_INT:
            raise DagCborError("an integer beyond 64 bits")
        return value
    if depth >= MAX_DEPTH and isinstance(value, (Cid, list, tuple, Mapping)):
        raise DagCborError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, Cid):
        return cbor2.CBORTag(LINK_TAG, b"\0" + bytes(value))
    if isinstance(value, (list, tuple)):
        return [_normal(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        try:
            return {key: _normal(value[key], depth + 1) for key in sorted(value, key=_key_order)}
        except (AttributeError, TypeError) as error:
            raise DagCborError("a map key that is not text") from error
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DagCborError("NaN or an infinity")
        return value
    if isinstance(value, (str, bytes)):
        return str(value) if isinstance(value, str) else bytes(value)
    raise DagCborError(f"not in the IPLD data model: {kind.__name__}")
