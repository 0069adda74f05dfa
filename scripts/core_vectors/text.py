"""Values as vectors spell them in JSON, which has no bytes, no links, and one kind of number."""

from __future__ import annotations

from collections.abc import Mapping

from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid

EXACT = 2**53
"""Integers beyond are written as text: many JSON readers would round them."""


def to_json(value: Value) -> object:
    """A value of the IPLD data model: links as {"/": cid}, bytes, floats and large integers as {"/": {kind: …}}."""
    if isinstance(value, Cid):
        return {"/": value.text}
    if isinstance(value, bytes):
        return {"/": {"bytes": value.hex()}}
    if isinstance(value, float):
        return {"/": {"float": repr(value)}}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT:
        return {"/": {"int": str(value)}}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def block_json(event: Event) -> dict[str, str]:
    """What travels of an event."""
    return {"block": event.signed.block.hex(), "signature": event.signed.signature.hex()}
