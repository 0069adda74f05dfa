"""Events: their form, how they become blocks and come back. Knows nothing of state.

An event is one DAG-CBOR map of eleven keys; its id is the CID of that block, the signature stands beside it.
`parse` settles everything about an event that can be settled without knowing any other event: bounds, canonical
bytes, the form of each field and of the body of each known type. What needs the event's past is `clock`'s.
A type that is not known here passes with any body: it is stored and synced, and no fold looks at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, cast

import attrs

from p2pwf.core.bodies import FORMS, MAX_NAME, RUN_TYPES, has_form
from p2pwf.core.dagcbor import DagCborError, Value, decode, encode
from p2pwf.core.ids import Cid, PeerId, block_cid, public_key_of
from p2pwf.core.sign import SIGNATURE_LENGTH, Signer
from p2pwf.errors import UsageError

VERSION: Final = 1
MAX_EVENT: Final = 896 * 1024
"""Bytes of one block: a plan and a workflow file of 256 KiB each, payload, inputs and vars of 96 KiB each, and room."""
MAX_PARENTS: Final = 16
MAX_AFTER: Final = 16
MAX_SEQ: Final = 2**40
MAX_LAMPORT: Final = 2**53
"""Every JSON reader holds it exactly; at a million events a second it takes 285 years to reach."""
MAX_TIME: Final = 2**53


class EventError(ValueError):
    """An event that no honest peer writes: the remote's fault."""


@attrs.frozen(slots=True)
class SignedBlock:
    """What travels and is stored: the DAG-CBOR block and the author's 64-byte signature over it."""

    block: bytes
    signature: bytes


@attrs.frozen(slots=True, eq=False)
class Event:
    """One event in form. `cid` is its id; `lamport` counts from 1; `time` is the author's wall clock in ms."""

    cid: Cid
    net: Cid | None
    author: PeerId
    seq: int
    prev: Cid | None
    parents: tuple[Cid, ...]
    after: tuple[Cid, ...]
    lamport: int
    time: int
    type: str
    body: Mapping[str, Value]
    signed: SignedBlock

    def links(self) -> tuple[Cid, ...]:
        """Every event that this one stands on, each once: parents, prev, after, and the two tips of a fork proof."""
        links = list(self.parents)
        if self.prev is not None:
            links.append(self.prev)
        links.extend(self.after)
        if self.type == "member.fork":
            links.extend((cast(Cid, self.body["first"]), cast(Cid, self.body["second"])))
        return tuple(dict.fromkeys(links))

    @property
    def run(self) -> Cid | None:
        """The run that this event is about (its own id for a submission), if it is about one."""
        if self.type == "run.submit":
            return self.cid
        return cast(Cid, self.body["run"]) if self.type in RUN_TYPES else None

    @property
    def order(self) -> tuple[int, Cid]:
        """(lamport, id): the one order that every peer agrees on; a linear extension of the DAG."""
        return self.lamport, self.cid


_FIELDS = frozenset(
    ("after", "author", "body", "lamport", "net", "parents", "prev", "seq", "time", "type", "v"),
)


def parse(signed: SignedBlock) -> Event:
    """The event in a block, its form checked and its signature not; raises EventError.

    Cost: linear in the block. Source: protocols/events.md.
    """
    if len(signed.signature) != SIGNATURE_LENGTH:
        raise EventError("a signature that is not 64 bytes")
    try:
        value = decode(signed.block, MAX_EVENT)
    except DagCborError as error:
        raise EventError(str(error)) from error
    if type(value) is not dict or value.keys() != _FIELDS:
        raise EventError("not a map of the eleven fields of an event")
    if value["v"] != VERSION or type(value["v"]) is not int:
        raise EventError(f"event version {value['v']!r}, this node knows {VERSION}")
    author, kind, body = value["author"], value["type"], value["body"]
    if type(kind) is not str or not 0 < len(kind) <= MAX_NAME or type(body) is not dict or type(author) is not str:
        raise EventError("author, type or body is not what it must be")
    seq, lamport, time = value["seq"], value["lamport"], value["time"]
    if not (_within(seq, 0, MAX_SEQ) and _within(lamport, 1, MAX_LAMPORT) and _within(time, 0, MAX_TIME)):
        raise EventError("seq, lamport or time out of bounds")
    prev, net = value["prev"], value["net"]
    if (type(prev) is not Cid) != (seq == 0) or (prev is not None and type(prev) is not Cid):
        raise EventError("seq 0 has no prev, every other seq has one")
    if (kind == "net.genesis") != (net is None) or (net is not None and type(net) is not Cid):
        raise EventError("every event but the genesis names its network")
    parents = _link_set(value["parents"], MAX_PARENTS)
    after = _link_set(value["after"], MAX_AFTER)
    form = FORMS.get(kind)
    if form is not None:
        if not has_form(body, form):
            raise EventError(f"the body of {kind} has not the form of its type")
        if (kind in RUN_TYPES) != bool(after):
            raise EventError(f"{kind} must{'' if kind in RUN_TYPES else ' not'} name events of a run in after")
    if kind == "net.genesis" and (parents or prev is not None):
        raise EventError("a genesis stands on nothing")
    if kind != "net.genesis" and not parents:
        raise EventError("an event without parents")
    try:
        public_key_of(author)
    except UsageError as error:
        raise EventError(error.message) from error
    return Event(
        cid=block_cid(signed.block),
        net=net,
        author=PeerId(author),
        seq=cast(int, seq),
        prev=prev,
        parents=parents,
        after=after,
        lamport=cast(int, lamport),
        time=cast(int, time),
        type=kind,
        body=body,
        signed=signed,
    )


def _within(value: Value, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _link_set(value: Value, limit: int) -> tuple[Cid, ...]:
    if type(value) is not list or len(value) > limit or any(type(item) is not Cid for item in value):
        raise EventError(f"not a list of at most {limit} links")
    links = cast("list[Cid]", value)
    if any(a >= b for a, b in pairwise(links)):
        raise EventError("links that are not sorted and unique")
    return tuple(links)


def author_event(
    signer: Signer,
    *,
    net: Cid | None,
    seq: int,
    prev: Cid | None,
    parents: Iterable[Cid],
    after: Iterable[Cid] = (),
    lamport: int,
    time: int,
    type: str,
    body: Mapping[str, object],
) -> Event:
    """Write and sign an event; what it returns has passed `parse`, so nothing malformed ever leaves this node.

    Raises EventError when the fields break the form: our own bug, or a caller's value over its bound.
    """
    try:
        block = encode(
            {
                "v": VERSION,
                "net": net,
                "author": signer.peer_id,
                "seq": seq,
                "prev": prev,
                "parents": sorted(set(parents)),
                "after": sorted(set(after)),
                "lamport": lamport,
                "time": time,
                "type": type,
                "body": body,
            }
        )
    except DagCborError as error:
        raise EventError(str(error)) from error
    return parse(SignedBlock(block, signer.sign(block)))
