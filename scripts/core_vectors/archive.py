"""Vectors of archives: a whole file with what is in it, and files that are refused."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from p2pwf.core.dagcbor import encode
from p2pwf.core.events import SignedBlock
from p2pwf.core.ids import Cid, blob_cid, block_cid, parse_cid
from p2pwf.node.portable import export
from p2pwf.store.car import varint
from scripts.core_vectors.events import event_vectors

BLOB = b"a line of a log\n"
MADE_BY, MADE_AT = "0.1.0", 1_700_000_000_000


def archive_vectors() -> dict[str, Any]:
    """One archive of the network whose events stand in events.json, and what is wrong with others."""
    accepted: Any = event_vectors()["accepted"]
    events = [SignedBlock(bytes.fromhex(one["block"]), bytes.fromhex(one["signature"])) for one in accepted[:3]]
    network = parse_cid(accepted[0]["cid"])
    with TemporaryDirectory() as folder:
        out = io.BytesIO()
        export(out, network, events, (), Path(folder), made_at=MADE_AT, made_by=MADE_BY)
    plain = out.getvalue()
    whole = _archive(network, events, [BLOB])
    cids = [block_cid(event.block) for event in events]
    other = block_cid(b"another network")
    forged = [*events[:2], SignedBlock(events[2].block, bytes(64))]
    flipped = bytearray(whole)
    flipped[whole.index(BLOB)] ^= 1
    refused = {
        "no bytes": b"",
        "cut off within a section": whole[:-5],
        "cut off before the end": whole[: -_size(encode({"blobs": 1, "events": 3}))],
        "a blob that does not hash to its name": bytes(flipped),
        "a section behind the end": whole + _section(encode({"blobs": 1, "events": 3})),
        "a byte behind the end": whole + b"\0",
        "a length that is not the shortest": b"\xba\x00" + plain[1:],
        "a CAR of version 2": plain.replace(b"gversion\x01", b"gversion\x02"),
        "two roots": _archive(network, events, [], roots=[cids[0], cids[1]]),
        "a root that is not the first block": _archive(network, events, [], roots=[cids[0]]),
        "a later version": _archive(network, events, [], version=2),
        "another network": _archive(other, events, []),
        "no events where some are counted": _archive(network, [], [], counted=3),
        "an event before one that it links to": _archive(network, [events[0], events[2], events[1]], []),
        "an event without one that it links to": _archive(network, [events[0], events[2]], []),
        "a signature that is not the author's": _archive(network, forged, []),
        "a signature too many": _archive(network, events, [], more=bytes(64)),
        "an event after the blobs": _archive(network, events[:2], [BLOB], late=events[2:]),
        "an event under another name": _archive(network, events, [], named=[cids[0], cids[1], cids[1]]),
    }
    return {
        "protocol": "archive",
        "version": 1,
        "accepted": [
            _entry("events and no blobs", plain, network, accepted[:3], []),
            _entry("events and a blob", whole, network, accepted[:3], [BLOB]),
        ],
        "refused": [{"why": why, "archive": data.hex()} for why, data in refused.items()],
    }


def _entry(name: str, data: bytes, network: Cid, events: list[Any], blobs: list[bytes]) -> dict[str, Any]:
    return {
        "name": name,
        "network": network.text,
        "made_by": MADE_BY,
        "made_at": MADE_AT,
        "events": [{key: one[key] for key in ("cid", "block", "signature")} for one in events],
        "blobs": [{"cid": blob_cid(blob).text, "content": blob.hex()} for blob in blobs],
        "archive": data.hex(),
    }


def _archive(
    network: Cid,
    events: list[SignedBlock],
    blobs: list[bytes],
    *,
    version: int = 1,
    roots: list[Cid] | None = None,
    more: bytes = b"",
    counted: int | None = None,
    late: list[SignedBlock] | None = None,
    named: list[Cid] | None = None,
) -> bytes:
    """An archive that may have one fault."""
    opening = encode({"archive": version, "network": network, "made_by": MADE_BY, "made_at": MADE_AT})
    header = encode({"roots": roots or [block_cid(opening)], "version": 1})
    parts = [varint(len(header)) + header, _section(opening), _events(events, named, more)]
    parts += [_section(blob, blob_cid(blob)) for blob in blobs]
    parts += [_events(late or [], None, b"")]
    every = len(events) + len(late or [])
    parts += [_section(encode({"blobs": len(blobs), "events": every if counted is None else counted}))]
    return b"".join(parts)


def _events(events: list[SignedBlock], named: list[Cid] | None, more: bytes) -> bytes:
    """A group and its events; nothing of none."""
    if not events:
        return b""
    names = named or [block_cid(event.block) for event in events]
    group = encode({"events": names, "sigs": b"".join(event.signature for event in events) + more})
    return _section(group) + b"".join(_section(event.block, cid) for cid, event in zip(names, events, strict=True))


def _section(block: bytes, cid: Cid | None = None) -> bytes:
    named = cid or block_cid(block)
    return varint(len(named) + len(block)) + named + block


def _size(block: bytes) -> int:
    return len(_section(block))
