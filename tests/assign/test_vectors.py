"""The vectors of protocols/vectors/assignment.json, both ways.

First recomputed here from the page's words alone, with hashlib and popcount and none of the package's code; then
asked of the package; last, the generator must give the file as it is.
"""

from __future__ import annotations

import json
import runpy
from base64 import b32decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from p2pwf import assign
from p2pwf.core.ids import PeerId, parse_cid

ROOT = Path(__file__).resolve().parents[2]
VECTORS: dict[str, Any] = json.loads((ROOT / "protocols/vectors/assignment.json").read_text(encoding="utf-8"))


def binary_cid(text: str) -> bytes:
    body = text[1:].upper()
    return b32decode(body + "=" * (-len(body) % 8))


def cbor_head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    if number < 256:
        return bytes([major << 5 | 24, number])
    return bytes([major << 5 | 25]) + number.to_bytes(2)


def bits_apart(first: bytes, second: bytes) -> int:
    return sum((one ^ other).bit_count() for one, other in zip(first, second, strict=True))


def rank(point: bytes, peer: str) -> tuple[int, bytes]:
    return bits_apart(point, sha256(peer.encode()).digest()), sha256(point + peer.encode()).digest()


def test_the_heads_follow_from_the_parents() -> None:
    for vector in VECTORS["clock_head"]:
        parents = [binary_cid(text) for text in vector["parents"]]
        assert all(len(parent) == 36 for parent in parents)
        assert sha256(b"".join(sorted(parents))).hexdigest() == vector["clock_head"]
        assert assign.clock_head(parents).hex() == vector["clock_head"]
        assert assign.clock_head(iter(parents[::-1])).hex() == vector["clock_head"]


def test_the_tasks_follow_from_run_job_and_leg() -> None:
    for vector in VECTORS["task"]:
        job = vector["job"].encode()
        encoded = b"\x83\xd8\x2a\x58\x25\x00" + binary_cid(vector["run"])
        encoded += cbor_head(3, len(job)) + job + cbor_head(0, vector["leg"])
        assert encoded.hex() == vector["encoded"]
        assert sha256(encoded).hexdigest() == vector["task"]
        assert assign.task_hash(parse_cid(vector["run"]), vector["job"], vector["leg"]).hex() == vector["task"]
        assert assign.create_task_hash([parse_cid(vector["run"]), vector["job"], vector["leg"]]) == vector["task"]


@pytest.mark.parametrize("columns_from", [1, 10**9], ids=["columns", "integers"])
def test_the_orders_follow_from_head_task_and_peers(columns_from: int) -> None:
    ties = 0
    for vector in VECTORS["order"]:
        head, task = bytes.fromhex(vector["clock_head"]), bytes.fromhex(vector["task"])
        point = sha256(head + task).digest()
        assert point.hex() == vector["combined"] == assign.combined(head, task).hex()
        ranks = {row["peer_id"]: rank(point, row["peer_id"]) for row in vector["peers"]}
        for row in vector["peers"]:
            assert sha256(row["peer_id"].encode()).hexdigest() == row["hash"] == assign.peer_hash(row["peer_id"]).hex()
            assert ranks[row["peer_id"]] == (row["distance"], bytes.fromhex(row["tie_break"]))
            assert assign.hamming_distance(vector["combined"], row["hash"]) == row["distance"]
            assert assign.tie_break(point, row["peer_id"]).hex() == row["tie_break"]
        expected = sorted(ranks, key=ranks.__getitem__)
        ties += len(expected) > 1 and ranks[expected[0]][0] == ranks[expected[1]][0]
        assert expected == vector["order"] == assign.order(point, list(ranks))
        table = assign.PeerTable(ranks, columns_from=columns_from)
        assert table.nearest(point, len(ranks)) == [(peer, ranks[peer][0]) for peer in expected]
        assert table.owner(point) == (expected[0], ranks[expected[0]][0])
        assert assign.select_task_owner(vector["clock_head"], task, reversed(list(ranks))) == table.owner(point)
    assert ties, "the vectors must hold a tie for the first place"


def test_the_waves_follow_from_candidates_and_slots() -> None:
    for vector in VECTORS["wave"]:
        slots, load = vector["slots"], dict.fromkeys(vector["slots"], 0)
        placement = assign.Placement()
        owners = []
        for task in vector["tasks"]:
            point = bytes.fromhex(task["combined"])
            owner = min(
                (peer for peer in task["candidates"] if slots[peer] > 0),
                key=lambda peer: (load[peer] // slots[peer], load[peer], *rank(point, peer)),
                default=None,
            )
            if owner is not None:
                load[owner] += 1
            assert owner == task["owner"]
            candidates = [assign.Candidate(PeerId(peer), slots[peer]) for peer in task["candidates"]]
            owners.append(placement.place(point, candidates))
        assert owners == [task["owner"] for task in vector["tasks"]]


def test_the_generator_gives_the_file_as_it_is() -> None:
    assert json.loads(json.dumps(runpy.run_path(str(ROOT / "scripts/vectors_assignment.py"))["vectors"]())) == VECTORS
