"""What the tests of vectors share: the files, and DAG-CBOR, CIDs and peer ids written from the pages' words alone."""

from __future__ import annotations

import json
import struct
from base64 import b32decode, b32encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from p2pwf.clock import Accepted, Clock, Invalid, Missing, Pending
from p2pwf.core.events import Event, SignedBlock, parse
from p2pwf.core.ids import Cid
from p2pwf.runs import Run
from p2pwf.testing.sim import verify_once

ROOT = Path(__file__).resolve().parents[2]
CLASSES = {
    "another network": "network",
    "prev is not": "prev",
    "lamport number": "lamport",
    "no proof of a fork": "fork",
    "apart by a readmission": "fork",
    "was not a member": "role",
    "has changed itself": "limit",
    "roles that it gives up": "limit",
    "is proven already": "limit",
    "of unknown types": "limit",
    "go on from another event": "tip",
    "signature that is not": "signature",
}
"""What this implementation says of each class of refusal."""


def load(name: str) -> dict[str, Any]:
    """One file of vectors."""
    found: dict[str, Any] = json.loads((ROOT / f"protocols/vectors/{name}.json").read_text(encoding="utf-8"))
    return found


def named(vector: Any) -> str:
    """A vector's name, for pytest."""
    return str(vector.get("name") or vector.get("title") or vector["why"]) if isinstance(vector, dict) else str(vector)


def head(major: int, number: int) -> bytes:
    """The first bytes of a CBOR item."""
    if number < 24:
        return bytes([major << 5 | number])
    for extra, length in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 256**length:
            return bytes([major << 5 | extra]) + number.to_bytes(length)
    raise ValueError(number)


def binary(text: str) -> bytes:
    """The 36 bytes of a CID."""
    body = text[1:].upper()
    return b32decode(body + "=" * (-len(body) % 8))


def cid_of(block: bytes) -> str:
    """The CID of a DAG-CBOR block."""
    return "b" + b32encode(bytes((1, 0x71, 0x12, 0x20)) + sha256(block).digest()).decode().rstrip("=").lower()


def by_hand(value: Any) -> bytes:
    """DAG-CBOR of a value as the files spell it."""
    match value:
        case {"/": str(cid)}:
            return head(6, 42) + head(2, 37) + b"\0" + binary(cid)
        case {"/": {"bytes": str(content)}}:
            return head(2, len(content) // 2) + bytes.fromhex(content)
        case {"/": {"float": str(number)}}:
            return b"\xfb" + struct.pack(">d", float(number))
        case {"/": {"int": str(number)}}:
            return by_hand(int(number))
        case None | True | False:
            return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(by_hand, value))
        case _:
            pass
    ordered = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
    return head(5, len(value)) + b"".join(by_hand(key) + by_hand(value[key]) for key in ordered)


def plain(value: Any) -> object:
    """A value as the files spell it, as the package holds it."""
    match value:
        case {"/": str(cid)}:
            return Cid(binary(cid))
        case {"/": {"bytes": str(content)}}:
            return bytes.fromhex(content)
        case {"/": {"float": str(number)}}:
            return float(number)
        case {"/": {"int": str(number)}}:
            return int(number)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value


def signed(vector: Mapping[str, str]) -> SignedBlock:
    """What travels of an event."""
    return SignedBlock(bytes.fromhex(vector["block"]), bytes.fromhex(vector["signature"]))


class Reader:
    """A peer that takes events as they come: its clock, its runs, and the class of what it refused."""

    def __init__(self, network: str) -> None:
        self.clock = Clock(Cid(binary(network)), verify_once)
        self.pending = Pending()
        self.runs: dict[Cid, Run] = {}
        self.refused: dict[str, str] = {}

    def take(self, event: Event) -> str | None:
        """Take in one event alone: None if it was accepted, else the class of its refusal, or `missing`."""
        result = self.clock.accept(event)
        if isinstance(result, Missing):
            return "missing"
        if isinstance(result, Invalid):
            return next(kind for text, kind in CLASSES.items() if text in result.reason)
        self._fold(event, result)
        return None

    def learn(self, events: Iterable[Event]) -> None:
        """Take in events in any order; those that stand on missing ones wait."""
        for arriving in events:
            ready = [arriving]
            while ready:
                event = ready.pop()
                if event.cid in self.clock.dag:
                    continue
                kind = self.take(event)
                if kind == "missing":
                    self.pending.add(event, [cid for cid in event.links() if cid not in self.clock.dag])
                elif kind is not None:
                    self.refused[event.cid.text] = kind
                    self.pending.refused(event.cid)
                else:
                    ready.extend(waiter for waiter, _ in self.pending.arrived(event.cid))

    def _fold(self, event: Event, accepted: Accepted) -> None:
        node = accepted.node
        if event.type == "run.submit":
            self.runs[event.cid] = Run(event, self.clock.roster_at(node.frontier))
        elif event.run is not None and event.run in self.runs:
            self.runs[event.run].add(event, self.clock.roster_at(node.frontier), node.void)
        for cid in {one.run for one in accepted.revoided if one.run is not None} & self.runs.keys():
            self.runs[cid].revoid(lambda cid: self.clock.dag[cid].void)


def events_of(vectors: Iterable[Mapping[str, str]]) -> list[Event]:
    """The events in vectors, in their order."""
    return [parse(signed(vector)) for vector in vectors]
