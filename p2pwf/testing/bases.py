"""Bases of checkpoints on simulated machines: made from a disk, kept on it, read from another's. Decides nothing."""

from __future__ import annotations

from p2pwf.core.events import EventError, SignedBlock
from p2pwf.core.ids import Cid, blob_cid
from p2pwf.engine.base import history, lamport_at, make_base, open_base, read_block
from p2pwf.engine.inputs import BaseMade, BaseRead
from p2pwf.engine.outputs import FetchBase, MakeBase
from p2pwf.testing.machines import SimNode


def in_order(node: SimNode, network: Cid) -> list[SignedBlock]:
    """What a node has on its disk, in (lamport, CID) order, as a store gives it."""
    events = [read_block(signed, network) for signed in node.blocks.values()]
    return [event.signed for event in sorted(events, key=lambda event: event.order)]


def make(node: SimNode, network: Cid, order: MakeBase) -> BaseMade:
    """The base that a node is asked for, in place of the one it has."""
    found = history(in_order(node, network), network, order.tips)
    if found is None:
        return BaseMade(order.tips, order.before or 0, None, 0)
    clock, events = found
    reached = lamport_at(events, node.peer, order.horizon)
    before = max(order.least, reached) if order.before is None else order.before
    data, stubs = make_base(clock, events, before)
    node.bases["made"] = blob_cid(data), data
    return BaseMade(order.tips, before, blob_cid(data), stubs)


def read(node: SimNode, other: SimNode | None, network: Cid, order: FetchBase) -> BaseRead:
    """What is in a base that is here, or on the disk of `other`, with which there is a connection."""
    for place in (node, other):
        data = None if place is None else dict(place.bases.values()).get(order.base)
        if data is not None:
            try:
                events = open_base(data, network, order.checkpoint)
            except EventError:
                break
            node.bases["followed"] = order.base, data
            return BaseRead(order.checkpoint, events)
    return BaseRead(order.checkpoint, ())
