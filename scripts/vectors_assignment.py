"""Write protocols/vectors/assignment.json: assignment from inputs to owners, for other implementations.

    python scripts/vectors_assignment.py [--check]

Deterministic: all inputs derive from fixed names by SHA-256. `--check` writes nothing and exits 1 if the file differs.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from p2pwf import assign  # noqa: E402 - needs the path above
from p2pwf.core.dagcbor import encode  # noqa: E402
from p2pwf.core.ids import Cid, PeerId, block_cid, peer_id_of  # noqa: E402

TARGET = ROOT / "protocols" / "vectors" / "assignment.json"


def digest(name: str) -> bytes:
    """A fixed digest for a name."""
    return sha256(f"p2pwf vector {name}".encode()).digest()


def cid(name: str) -> Cid:
    """The CID of a fixed block."""
    return block_cid(encode({"vector": name}))


def peers(number: int, first: int = 0) -> list[PeerId]:
    """Peer ids of keys that nobody holds."""
    return [peer_id_of(digest(f"key {index}")) for index in range(first, first + number)]


def head_vectors() -> list[dict[str, object]]:
    """Parents in several orders and numbers, and the head they give."""
    cases = [["a"], ["a", "b"], ["b", "a"], [f"parent {index}" for index in range(16)], []]
    found: list[dict[str, object]] = []
    for names in cases:
        parents = [cid(name) for name in names]
        head = assign.clock_head(parents)
        found.append({"parents": [parent.text for parent in parents], "clock_head": head.hex()})
    return found


def task_vectors() -> list[dict[str, object]]:
    """Run, job and leg; their DAG-CBOR; its hash. The legs are those at which the length of an integer changes."""
    run = cid("run")
    cases = [("build", 0), ("build", 1), ("test", 23), ("test", 24), ("test", 255), ("_a-" + "x" * 40, 256)]
    return [
        {
            "run": run.text,
            "job": job,
            "leg": leg,
            "encoded": encode([run, job, leg]).hex(),
            "task": assign.task_hash(run, job, leg).hex(),
        }
        for job, leg in cases
    ]


def tied_head(task: bytes, names: list[PeerId]) -> bytes:
    """The first of a series of heads for which two peers are nearest at one distance."""
    for index in count():
        head = digest(f"tied head {index}")
        nearest = assign.PeerTable(names).nearest(assign.combined(head, task), 2)
        if nearest[0][1] == nearest[1][1]:
            return head
    raise AssertionError("count() ends never")


def order_vectors() -> list[dict[str, object]]:
    """Head, task and peers; what every peer computes of them; the order."""
    task = assign.task_hash(cid("run"), "build", 0)
    plain = [PeerId(name) for name in ("alice", "bob", "carol", "büro-β", "")]
    many = peers(40)
    cases = [
        (digest("head"), peers(1)),
        (digest("head"), peers(5)),
        (digest("head"), plain),
        (digest("head"), many),
        (tied_head(task, many), many),
    ]
    found: list[dict[str, object]] = []
    for head, names in cases:
        point = assign.combined(head, task)
        rows = [
            {
                "peer_id": name,
                "hash": assign.peer_hash(name).hex(),
                "distance": assign.distance(point, assign.peer_hash(name)),
                "tie_break": assign.tie_break(point, name).hex(),
            }
            for name in names
        ]
        found.append(
            {
                "clock_head": head.hex(),
                "task": task.hex(),
                "combined": point.hex(),
                "peers": rows,
                "order": assign.order(point, names),
            }
        )
    return found


def wave_vectors() -> list[dict[str, object]]:
    """Tasks of one wave, each with the candidates it may go to; their owners."""
    eight, three = peers(8), peers(3)

    def slots_of(*numbers: int) -> dict[PeerId, int]:
        return dict(zip(peers(len(numbers)), numbers, strict=True))

    cases: list[tuple[str, dict[PeerId, int], list[list[PeerId] | None]]] = [
        ("one job on five peers: the nearest", dict.fromkeys(peers(5), 2), [None]),
        ("eight jobs on eight peers: one each, whatever their slots", slots_of(1, 2, 4, 8, 1, 2, 4, 8), [None] * 8),
        ("twenty jobs on peers of 1, 4 and 16 slots", slots_of(1, 4, 16), [None] * 20),
        ("forty jobs on peers of 1, 4 and 16 slots: past the last slot", slots_of(1, 4, 16), [None] * 40),
        ("a peer without slots is passed over", slots_of(0, 1, 0), [None] * 3),
        ("nobody has a slot: no owner", dict.fromkeys(three, 0), [None] * 2),
        (
            "tasks with different candidates share one load",
            dict.fromkeys(eight, 1),
            [eight[:2], None, eight[:2], eight[1:3], [], None, eight[2:3], eight[:2], None],
        ),
    ]
    found: list[dict[str, object]] = []
    for title, slots, among in cases:
        placement = assign.Placement()
        everyone = [assign.Candidate(peer, number) for peer, number in slots.items()]
        tasks: list[dict[str, object]] = []
        for index, some in enumerate(among):
            point = digest(f"{title} {index}")
            able = everyone if some is None else [own for own in everyone if own.peer_id in some]
            owner = placement.place(point, able)
            tasks.append({"combined": point.hex(), "candidates": [own.peer_id for own in able], "owner": owner})
        found.append({"title": title, "slots": slots, "tasks": tasks})
    return found


def vectors() -> dict[str, object]:
    """All vectors, ready for JSON."""
    return {
        "protocol": "assignment",
        "version": 1,
        "clock_head": head_vectors(),
        "task": task_vectors(),
        "order": order_vectors(),
        "wave": wave_vectors(),
    }


def main() -> int:
    """Write the file, or compare it."""
    text = json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n"
    if "--check" in sys.argv[1:]:
        return int(TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
