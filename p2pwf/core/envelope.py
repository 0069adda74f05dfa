"""The eleven fields around an event's body, read at once. Knows the canonical layout of an envelope and no rule.

In DAG-CBOR the keys of a map have one order, so an envelope has one layout: what is before the body, between it and the
type, and after the type is matched by one expression each, several times as fast as reading it value by value. What
they match is what `dagcbor.read` would take, with integers and lists in the bounds that the layout has.
Source: protocols/events.md, "The envelope".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from p2pwf.core.dagcbor import MAX_DEPTH, DagCborError, Value, read
from p2pwf.core.ids import Cid

_INTEGER: Final = rb"([\x00-\x17]|\x18[\x18-\xff]|\x19(?!\x00)..|\x1a(?!\x00\x00)....|\x1b(?!\x00{4}).{8})"
_LINK: Final = rb"\xd8\x2a\x58\x25\x00\x01[\x71\x55]\x12\x20.{32}"
_LINKS: Final = rb"([\x80-\x97])((?:" + _LINK + rb")*)"
_BEFORE: Final = re.compile(rb"\xab\x61v\x01\x63net(\xf6|" + _LINK + rb")\x63seq" + _INTEGER + rb"\x64body", re.DOTALL)
_BETWEEN: Final = re.compile(rb"\x64prev(\xf6|" + _LINK + rb")\x64time" + _INTEGER + rb"\x64type", re.DOTALL)
_AFTER: Final = re.compile(
    rb"\x65after" + _LINKS + rb"\x66author\x78\x34(.{52})\x67lamport" + _INTEGER + rb"\x67parents" + _LINKS, re.DOTALL
)
_HEAD: Final = 5
"""Bytes of a link before its CID."""
_LENGTH: Final = 41
_NULL: Final = b"\xf6"


class Envelope(NamedTuple):
    """The fields as they are in the block; `author` is any 52 bytes of ASCII. A tuple, since it lives for one call."""

    net: Cid | None
    seq: int
    body: Value
    prev: Cid | None
    time: int
    type: Value
    after: tuple[Cid, ...]
    author: str
    lamport: int
    parents: tuple[Cid, ...]


def open_envelope(block: bytes) -> Envelope:
    """The envelope that is all of `block`; raises DagCborError if it is none, or not in its one encoding."""
    before = _BEFORE.match(block)
    if before is None:
        raise _no_envelope()
    body, at = read(block, before.end(), MAX_DEPTH - 1)
    between = _BETWEEN.match(block, at) if at <= len(block) else None  # beyond it, `at` may be any number of 64 bits
    if between is None:
        raise _no_envelope()
    kind, at = read(block, between.end(), MAX_DEPTH - 1)
    end = _AFTER.fullmatch(block, at) if at <= len(block) else None
    if end is None:
        raise _no_envelope()
    net, seq = before.groups()
    prev, time = between.groups()
    many, after, author, lamport, more, parents = end.groups()
    if not author.isascii():
        raise _no_envelope()
    return Envelope(
        _network(net),
        _integer(seq),
        body,
        None if prev == _NULL else Cid(prev[_HEAD:]),
        _integer(time),
        kind,
        _links(many, after),
        author.decode("ascii"),
        _integer(lamport),
        _links(more, parents),
    )


def _no_envelope() -> DagCborError:
    return DagCborError("not a map of the eleven fields of an event of version 1, each in its canonical form")


@lru_cache(64)
def _network(link: bytes) -> Cid | None:
    """One object for all events of a network."""
    return None if link == _NULL else Cid(link[_HEAD:])


def _integer(encoded: bytes) -> int:
    return encoded[0] if len(encoded) == 1 else int.from_bytes(encoded[1:], "big")


def _links(many: bytes, links: bytes) -> tuple[Cid, ...]:
    if len(links) != (many[0] - 0x80) * _LENGTH:
        raise DagCborError("a list of links of another length than it says")
    return tuple([Cid(links[at + _HEAD : at + _LENGTH]) for at in range(0, len(links), _LENGTH)])
