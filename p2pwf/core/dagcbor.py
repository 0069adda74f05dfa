"""DAG-CBOR, strictly: one value has one encoding, and only that encoding is read.

`cbor2` writes and reads; on its own it accepts much that is not canonical. So what is received counts only if its
size and depth are in bounds, if it holds nothing but the IPLD data model, if map keys are text in canonical order
(shorter first, then bytewise), and if encoding it again gives the same bytes: that settles minimal integers, definite
lengths, 64-bit floats and trailing bytes. Links are tag 42 over a zero byte and the binary CID.
Source: the IPLD DAG-CBOR specification.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

import cbor2

from p2pwf.core.ids import Cid, is_cid

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


def _refuse_tag(_content: object, _immutable: bool) -> None:
    raise DagCborError("a tag other than 42")


_BUILT_IN_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 43, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
_DECODERS = dict.fromkeys(_BUILT_IN_TAGS, _refuse_tag)


def decode(data: bytes, max_size: int = MAX_BLOCK) -> Value:
    """The value of one strict DAG-CBOR block of at most `max_size` bytes; raises DagCborError otherwise."""
    if len(data) > max_size:
        raise DagCborError(f"{len(data)} bytes, the bound is {max_size}")
    try:
        value = cbor2.loads(
            data,
            semantic_decoders=_DECODERS,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        again = cbor2.dumps(value)
    except DagCborError:
        raise
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise DagCborError(f"not DAG-CBOR: {error}") from error
    if again != data:
        raise DagCborError("not the canonical encoding")
    return _settled(value)


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
_PLAIN = frozenset((str, bytes, bool, int, type(None)))
"""Kinds that need no look: cbor2 has refused broken UTF-8, and integers beyond 64 bits come as tags."""


def _settled(value: object) -> Value:
    """`value` as cbor2 decoded it with its tags made links, in place.

    Raises DagCborError unless it is of the data model with its map keys in order. Text compares by code point, which is
    the order of its UTF-8 bytes.
    """
    kind = type(value)
    if kind in _PLAIN:
        return cast(Value, value)
    if isinstance(value, dict):
        length, last = -1, ""
        for key, item in value.items():
            if type(key) is not str:
                raise DagCborError("a map key that is not text")
            size = len(key) if key.isascii() else len(key.encode())
            if size < length or (size == length and key <= last):
                raise DagCborError("map keys out of order")
            length, last = size, key
            if type(item) not in _PLAIN:
                value[key] = _settled(item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if type(item) not in _PLAIN:
                value[index] = _settled(item)
    elif isinstance(value, cbor2.CBORTag):
        return _link(value)
    elif not isinstance(value, float):
        raise DagCborError(f"not in the IPLD data model: {kind.__name__}")
    elif not math.isfinite(value):
        raise DagCborError("NaN or an infinity")
    return cast(Value, value)


def _link(tag: cbor2.CBORTag) -> Cid:
    content = tag.value
    if tag.tag != LINK_TAG or type(content) is not bytes or content[:1] != b"\0" or not is_cid(content[1:]):
        raise DagCborError("a tag that is not a link to a CIDv1 of sha2-256")
    return Cid(content[1:])


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
