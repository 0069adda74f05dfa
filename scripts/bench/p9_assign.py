"""P9: choose the owner of a job among 10, 1,000 and 1,000,000 peers whose hashes are at hand.

    python scripts/bench/p9_assign.py [--wave]

Beside ours, in turns: a list of integers with XOR and `int.bit_count`, and numpy columns with `bitwise_count` (per
column, and all four at once), if numpy is installed. None of those breaks ties, so the row is measured on points
with one nearest peer, where all must give the same answer; `all_points` is ours with the ties as they come. The
reference is the fastest at each size; ours, reference and ratio in front are those of the size with the worst ratio.
`--wave` measures instead the placement of 256 legs on 1,000 candidates beside 256 choices by integers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from p2pwf.assign import Candidate, PeerTable, peer_hash, place_wave
from p2pwf.core.ids import PeerId

SIZES = (10, 1_000, 1_000_000)
POINTS = [sha256(b"point %d" % index).digest() for index in range(256)]
ROUNDS = 15
FEW_PEERS_ROUNDS = 200
CHECKED = 32
Choice = Callable[[bytes], int]


def by_integers(hashes: list[bytes]) -> Choice:
    """XOR and bit_count over a list of integers."""
    numbers = [int.from_bytes(digest) for digest in hashes]

    def choose(point: bytes) -> int:
        number = int.from_bytes(point)
        distances = [(own ^ number).bit_count() for own in numbers]
        return distances.index(min(distances))

    return choose


def by_numpy(hashes: list[bytes]) -> list[Choice]:
    """numpy columns in two ways; none without numpy."""
    try:
        import numpy as np  # noqa: PLC0415 - optional
    except ImportError:
        return []
    columns = np.frombuffer(b"".join(hashes), dtype=np.uint64).reshape(-1, 4).T.copy()

    def one_by_one(point: bytes) -> int:
        words = np.frombuffer(point, dtype=np.uint64)
        distances = np.bitwise_count(columns[0] ^ words[0]).astype(np.uint16)
        for word in (1, 2, 3):
            distances += np.bitwise_count(columns[word] ^ words[word])
        return int(distances.argmin())

    def together(point: bytes) -> int:
        words = np.frombuffer(point, dtype=np.uint64)[:, None]
        return int(np.bitwise_count(columns ^ words).sum(axis=0, dtype=np.uint16).argmin())

    return [one_by_one, together]


def microseconds(
    choices: Sequence[Callable[[bytes], object]], points: list[bytes], repeat: int, rounds: int = ROUNDS
) -> list[float]:
    """Per choice, best of the rounds, in turns."""
    best = [float("inf")] * len(choices)
    for turn in range(rounds):
        some = [points[(turn + index) % len(points)] for index in range(repeat)]
        for place, choose in enumerate(choices):
            start = time.perf_counter()
            for point in some:
                choose(point)
            best[place] = min(best[place], (time.perf_counter() - start) / repeat * 1e6)
    return best


def owner() -> dict[str, object]:
    """The row of choosing one owner."""
    sizes: dict[str, dict[str, float]] = {}
    for size in SIZES:
        peers = [f"12D3KooW{index:044}" for index in range(size)]
        hashes = [peer_hash(peer) for peer in peers]
        table = PeerTable(peers)
        others = [by_integers(hashes), *by_numpy(hashes)]
        sole = [point for point in POINTS[:CHECKED] if len({found for _, found in table.nearest(point, 2)}) == 2]
        for point in sole:
            if {peers[choose(point)] for choose in others} != {table.owner(point)[0]}:
                raise SystemExit(f"not the same owner among {size}")
        few = size <= 1_000
        repeat, rounds = (len(sole), FEW_PEERS_ROUNDS) if few else (1, ROUNDS)
        mine, *theirs = microseconds([table.owner, *others], sole, repeat, rounds)
        (every,) = microseconds([table.owner], POINTS, len(POINTS) if few else 1, rounds)
        sizes[str(size)] = {"ours": mine, "reference": min(theirs), "ratio": mine / min(theirs), "all_points": every}
    worst = max(sizes, key=lambda size: sizes[size]["ratio"])
    shown = {size: {key: round(value, 2) for key, value in row.items()} for size, row in sizes.items()}
    return {
        "name": "P9 choose an owner",
        "ours": shown[worst]["ours"],
        "reference": shown[worst]["reference"],
        "ratio": shown[worst]["ratio"],
        "unit": "us",
        "n": int(worst),
        "sizes": shown,
    }


def wave() -> dict[str, object]:
    """The row of placing a wave."""
    candidates = [Candidate(PeerId(f"12D3KooW{index:044}"), 1 + index % 8) for index in range(1_000)]
    choose = by_integers([peer_hash(one.peer_id) for one in candidates])
    mine, reference = microseconds(
        [lambda _: place_wave(POINTS, candidates), lambda _: [choose(point) for point in POINTS]], POINTS, 1
    )
    row = {"ours": round(mine), "reference": round(reference), "ratio": round(mine / reference, 2)}
    return {"name": "P9 place 256 legs on 1000 candidates", **row, "unit": "us", "n": len(POINTS)}


if __name__ == "__main__":
    print(json.dumps(wave() if "--wave" in sys.argv[1:] else owner()))
