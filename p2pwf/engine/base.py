"""The base of a checkpoint: what is left of a part of the clock, as the same bytes on every peer. Pure.

A function of the past of the checkpoint's tips and of its lamport number alone: events whole, in order, and of runs
that ended by then stubs. So it does not matter what a peer has pruned before. Cuts are left aside where a run is
judged: what has ended has ended, whatever is known later. Source: protocols/checkpoint.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from p2pwf.clock import Accepted, Clock
from p2pwf.core.bodies import FORMS
from p2pwf.core.dagcbor import DagCborError, decode, encode
from p2pwf.core.events import MAX_EVENT, Event, EventError, SignedBlock, parse
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.stub import MAX_STUB, read_stub, stub_of
from p2pwf.runs.checkpoints import Checkpoint
from p2pwf.runs.run import Run

LENGTH: Final = 4
"""Bytes of the length before each entry, big-endian."""
MAX_ENTRY: Final = MAX_EVENT + 256
"""Bytes of one entry: the largest event, its signature, and what is around them."""


def read_block(signed: SignedBlock, network: Cid) -> Event:
    """The event in a block of this node's own store, whole or a stub; raises EventError."""
    return parse(signed) if signed.signature else read_stub(signed.block, network)


def history(blocks: Iterable[SignedBlock], network: Cid, tips: Sequence[Cid]) -> tuple[Clock, list[Event]] | None:
    """A clock of the past of `tips`, they included, and its events in order; None if not all of it is here.

    `blocks` come in (lamport, CID) order. Cost: linear in them, and as much memory.
    """
    every = {event.cid: event for event in (read_block(signed, network) for signed in blocks)}
    wanted, stack = set(tips), list(tips)
    while stack:
        event = every.get(stack.pop())
        if event is None:
            return None
        fresh = set(event.links()) - wanted
        wanted |= fresh
        stack.extend(fresh)
    clock, events = Clock(network), []
    for event in every.values():
        if event.cid in wanted:
            if not isinstance(clock.accept(event, trusted=True), Accepted):
                return None
            events.append(event)
    return clock, events


def lamport_at(events: Iterable[Event], author: PeerId, time: int) -> int:
    """The highest lamport number that `author` had reached by `time` of its own wall clock, in ms; 0 if none."""
    return max((event.lamport for event in events if event.author == author and event.time <= time), default=0)


def make_base(clock: Clock, events: Sequence[Event], before: int) -> tuple[bytes, int]:
    """The base of these events (see `history`), and how many of them are stubs in it.

    A run is pruned if it has a stub already, or an end that counts at or below the lamport number `before`.
    """
    counting, ended = _ends(clock, events, before)
    parts, stubs = [], 0
    for event in events:
        if event.run in ended:
            stubs += 1
            parts.append(encode({"stub": stub_of(event, event.cid in counting)}))
        else:
            parts.append(encode({"block": event.signed.block, "sig": event.signed.signature}))
    return b"".join(len(part).to_bytes(LENGTH) + part for part in parts), stubs


def _ends(clock: Clock, events: Sequence[Event], before: int) -> tuple[set[Cid], set[Cid | None]]:
    """The ends of runs that count, and the runs that are to be pruned."""
    runs: dict[Cid, Run] = {}
    counting: set[Cid] = set()
    pruned: set[Cid | None] = set()
    for event in events:
        if event.pruned:
            pruned.add(event.run)
        elif event.type == "run.submit":
            runs[event.cid] = Run(event, clock.roster_at(clock.dag[event.cid].frontier))
        elif event.type in FORMS and event.run in runs and event.run not in pruned:
            run = runs[event.run]
            entry = run.add(event, clock.roster_at(clock.dag[event.cid].frontier), False)
            if event.type == "run.end" and entry.counts:
                counting.add(event.cid)
                if event.lamport <= before:
                    pruned.add(event.run)
    return counting, pruned


def read_base(data: bytes) -> Iterator[SignedBlock]:
    """The blocks of a base in order, of a stub with an empty signature; raises EventError for what is no base."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + LENGTH])
        part = data[at + LENGTH : at + LENGTH + size]
        at += LENGTH + size
        try:
            entry = decode(part, MAX_ENTRY) if len(part) == size else None
        except DagCborError as error:
            raise EventError(str(error)) from error
        fields = entry if isinstance(entry, dict) else {}
        stub, block, signature = (fields.get(name) for name in ("stub", "block", "sig"))
        if fields.keys() == {"stub"} and isinstance(stub, bytes) and len(stub) <= MAX_STUB:
            yield SignedBlock(stub, b"")
        elif fields.keys() == {"block", "sig"} and isinstance(block, bytes) and isinstance(signature, bytes):
            if not signature:
                raise EventError("an event of a base without a signature")
            yield SignedBlock(block, signature)
        else:
            raise EventError("no entry of a base")


def open_base(data: bytes, network: Cid, checkpoint: Event) -> list[Event]:
    """The events of a base that came from a peer, with `checkpoint`, whose signature was checked; raises EventError.

    Every whole event is judged as any other, and the roster that comes of it has to make the checkpoint's author an
    admin. That the bytes are those which the checkpoint names is the caller's to see to.
    """
    clock, events = Clock(network), []
    for signed in read_base(data):
        event = read_block(signed, network)
        if event.cid in clock.dag or not isinstance(clock.accept(event, trusted=event.pruned), Accepted):
            raise EventError(f"event {event.cid} of a base is not accepted")
        events.append(event)
    if not clock.roster.holds(checkpoint.author, "admin"):
        raise EventError("a checkpoint by who is no admin")
    return events


def covers(checkpoint: Checkpoint, clock: Clock) -> bool:
    """Whether all that a checkpoint is about is here."""
    return all(tip in clock.dag for tip in checkpoint.tips)
