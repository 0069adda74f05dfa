"""protocols/checkpoint.md: bases are the same bytes for whoever makes them, and nothing false is taken for one."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import Any

import cbor2
import pytest

from p2pwf.core.dagcbor import decode, encode
from p2pwf.core.events import Event, EventError, SignedBlock, parse
from p2pwf.core.ids import RAW_PREFIX, Cid, parse_cid
from p2pwf.core.stub import read_stub, stub_of
from p2pwf.engine.base import history, make_base, open_base, read_base, read_block
from p2pwf.engine.inputs import MakeCheckpoint
from p2pwf.testing.shapes import PLAIN
from p2pwf.testing.sim import World
from tests.protocols.kit import load, named
from tests.protocols.test_schemas import is_valid

VECTORS = load("checkpoint")["bases"]
EVENTS = load("runs")["events"]


def signed(cid: str) -> SignedBlock:
    return SignedBlock(bytes.fromhex(EVENTS[cid]["block"]), bytes.fromhex(EVENTS[cid]["signature"]))


def in_order(cids: list[str]) -> list[SignedBlock]:
    return [event.signed for event in sorted((parse(signed(cid)) for cid in cids), key=lambda event: event.order)]


def base_of(blocks: list[SignedBlock], vector: dict[str, Any]) -> tuple[bytes, int]:
    found = history(blocks, parse_cid(vector["network"]), [parse_cid(tip) for tip in vector["tips"]])
    assert found is not None
    return make_base(*found, vector["before"])


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_a_base_is_what_the_vectors_say_also_of_what_was_pruned_before(vector: dict[str, Any]) -> None:
    data, stubs = base_of(in_order(vector["events"]), vector)
    assert (data.hex(), stubs) == (vector["base"], vector["stubs"])
    assert bytes(parse_cid(vector["cid"])) == RAW_PREFIX + hashlib.sha256(data).digest()
    assert base_of(list(read_base(data)), vector) == (data, stubs)


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_entries_and_stubs_validate(vector: dict[str, Any]) -> None:
    data, at = BytesIO(bytes.fromhex(vector["base"])), 0
    while length := data.read(4):
        part = data.read(int.from_bytes(length))
        assert is_valid("checkpoint", "entry", part)
        stub = cbor2.loads(part).get("stub")
        if stub is not None:
            kind = {"run.submit": "stub-of-submission", "run.end": "stub-of-end"}.get(cbor2.loads(stub)["type"])
            assert is_valid("checkpoint", kind or "stub-of-another", stub)
        at += 1
    assert at == len(vector["events"])


def test_a_stub_says_where_its_event_stands_and_no_more_than_lists_show() -> None:
    events = [parse(signed(cid)) for cid in VECTORS[0]["events"]]
    network = events[0].cid
    for event in events:
        if event.run is None:
            continue
        stub = read_stub(stub_of(event, True), network)
        assert stub.pruned
        for name in ("cid", "author", "seq", "prev", "parents", "after", "lamport", "time", "type", "run"):
            assert getattr(stub, name) == getattr(event, name), name
        assert stub.links() == event.links()
        assert stub_of(stub) == stub.signed.block
        assert {"plan", "workflow", "outputs", "payload"}.isdisjoint(stub.body)


def test_what_is_no_stub_is_refused() -> None:
    event = next(event for cid in VECTORS[0]["events"] if (event := parse(signed(cid))).type == "run.submit")
    whole: Any = decode(stub_of(event), 1 << 20)
    changes: tuple[dict[str, Any], ...] = (
        {"type": "member.add", "kept": {}},
        {"run": event.parents[0]},
        {"seq": -1},
        {"prev": None},
        {"parents": []},
        {"author": "nobody"},
        {"lamport": 0},
        {"kept": {}},
        {"kept": {**whole["kept"], "plan": {}}},
        {"more": 1},
    )
    for change in changes:
        with pytest.raises(EventError):
            read_stub(encode({**whole, **change}), event.parents[0])


# -- starting from one ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpointed() -> tuple[Cid, bytes, Event]:
    """A network's id, a base of it, and the checkpoint that names that, as its admin wrote it."""
    world = World(4, 2)
    world.run(5)
    first = next(iter(world.nodes.values()))
    world.submit(first, PLAIN["chain"], 0)
    world.run(60, stop=world.settled)
    world.give(first, MakeCheckpoint("check", 0.0))
    world.run(world.time + 30)
    assert first.engine is not None
    newest = first.engine.desk.checkpoints.newest()
    assert newest is not None
    return world.network, dict(first.bases.values())[newest.base], newest.event


def test_a_base_is_opened_by_who_has_nothing(checkpointed: tuple[Cid, bytes, Event]) -> None:
    network, data, checkpoint = checkpointed
    events = open_base(data, network, checkpoint)
    assert events[0].cid == network
    assert any(event.pruned for event in events)
    assert any(event.type == "member.add" and not event.pruned for event in events)


def entries(data: bytes) -> list[bytes]:
    found, file = [], BytesIO(data)
    while length := file.read(4):
        found.append(length + file.read(int.from_bytes(length)))
    return found


def test_a_base_with_any_fault_is_refused_whole(checkpointed: tuple[Cid, bytes, Event]) -> None:
    network, data, checkpoint = checkpointed
    parts = entries(data)
    forged: Any = decode(parts[1][4:], 1 << 20)
    forged["sig"] = bytes(64)
    bad = encode(forged)
    for faulty in (
        data[:-1],
        data + b"\0",
        b"".join(parts[1:]),
        b"".join((parts[0], parts[0], *parts[1:])),
        b"".join((parts[0], len(bad).to_bytes(4) + bad, *parts[2:])),
        b"".join((*parts[:2], *reversed(parts[2:]))),
    ):
        with pytest.raises(EventError):
            open_base(faulty, network, checkpoint)


def test_a_checkpoint_of_who_is_no_admin_by_its_own_base_is_refused(checkpointed: tuple[Cid, bytes, Event]) -> None:
    network, data, checkpoint = checkpointed
    other = next(
        event.author
        for event in (read_block(one, network) for one in read_base(data))
        if event.author != checkpoint.author
    )
    mine = Event(**{name: getattr(checkpoint, name) for name in checkpoint.__slots__ if not name.startswith("__")})
    mine.author = other
    with pytest.raises(EventError):
        open_base(data, network, mine)
