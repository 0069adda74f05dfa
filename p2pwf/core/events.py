"""Events: their form, how they become blocks and come back. Knows nothing of state.

An event is one DAG-CBOR map of eleven keys; its id is the CID of that block, the signature stands beside it.
`parse` settles everything about an event that can be settled without knowing any other event: bounds, canonical
bytes, the form of each field and of the body of each known type. What needs the event's past is `clock`'s.
A type that is not known here passes with any body: it is stored and synced, and no fold looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, cast

import attrs

from p2pwf.core.bodies import FORMS, MAX_NAME, RUN_TYPES, SMALL, has_sizes
from p2pwf.core.dagcbor import DagCborError, Value, encode
from p2pwf.core.envelope import open_envelope
from p2pwf.core.forms import has_form
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
_LATER: Final = re.compile(rb"[\xa1-\xb7]\x61v[\x02-\x17]")
"""How a map begins whose first key is a `v` of 2 to 23; in canonical order a key of one letter comes first."""


class EventError(ValueError):
    """An event that no honest peer writes: the remote's fault."""


class LaterEvent(EventError):
    """A block that says it is an event of a later version: not to be judged here, and nobody's fault."""


@attrs.frozen(slots=True)
class SignedBlock:
    """What travels and is stored: the DAG-CBOR block and the author's 64-byte signature over it."""

    block: bytes
    signature: bytes


@attrs.define(slots=True, eq=False)
class Event:
    """One event in form. `cid` is its id; `lamport` counts from 1; `time` is the author's wall clock in ms.

    Nobody changes one. Not frozen, as that takes five times as long to make and every event that comes in is one.
    """

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
    def pruned(self) -> bool:
        """Whether this is what a stub left of it; see `stub`."""
        return not self.signed.signature

    @property
    def order(self) -> tuple[int, Cid]:
        """(lamport, id): the one order that every peer agrees on; a linear extension of the DAG."""
        return self.lamport, self.cid


def parse(signed: SignedBlock) -> Event:
    """The event in a block, its form checked and its signature not; raises EventError.

    Cost: linear in the block. Source: protocols/events.md.
    """
    block = signed.block
    if len(signed.signature) != SIGNATURE_LENGTH:
        raise EventError("a signature that is not 64 bytes")
    if len(block) > MAX_EVENT:
        raise EventError(f"{len(block)} bytes, the bound is {MAX_EVENT}")
    try:
        fields = open_envelope(block)
    except DagCborError as error:
        if _LATER.match(block):
            raise LaterEvent("an event of a later version") from error
        raise EventError(str(error)) from error
    kind, body, author = fields.type, fields.body, fields.author
    if type(kind) is not str or not 0 < len(kind) <= MAX_NAME or type(body) is not dict:
        raise EventError("type or body is not what it must be")
    seq, lamport, prev, parents = fields.seq, fields.lamport, fields.prev, fields.parents
    if seq > MAX_SEQ or not 1 <= lamport <= MAX_LAMPORT or fields.time > MAX_TIME:
        raise EventError("seq, lamport or time out of bounds")
    if (prev is None) != (seq == 0):
        raise EventError("seq 0 has no prev, every other seq has one")
    if (kind == "net.genesis") != (fields.net is None):
        raise EventError("every event but the genesis names its network")
    _check_links(parents, MAX_PARENTS)
    _check_links(fields.after, MAX_AFTER)
    form = FORMS.get(kind)
    if form is not None:
        if not has_form(body, form) or (len(block) > SMALL and not has_sizes(kind, body)):
            raise EventError(f"the body of {kind} has not the form of its type")
        if (kind in RUN_TYPES) != bool(fields.after):
            raise EventError(f"{kind} must{'' if kind in RUN_TYPES else ' not'} name events of a run in after")
    if kind == "net.genesis":
        if parents or prev is not None:
            raise EventError("a genesis stands on nothing")
    elif not parents:
        raise EventError("an event without parents")
    try:
        public_key_of(author)
    except UsageError as error:
        raise EventError(error.message) from error
    return Event(
        block_cid(block),
        fields.net,
        PeerId(author),
        seq,
        prev,
        parents,
        fields.after,
        lamport,
        fields.time,
        kind,
        body,
        signed,
    )


def _check_links(links: tuple[Cid, ...], limit: int) -> None:
    if len(links) > limit:
        raise EventError(f"more than {limit} links")
    if len(links) > 1 and any(a >= b for a, b in pairwise(links)):
        raise EventError("links that are not sorted and unique")


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
