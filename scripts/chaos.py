"""Kill, stop and cut off real nodes, in lanes: scripts/chaos LANE [--rounds N]. One JSON line of figures each.

Real `p2pwf up` processes, on loopback; `healing` has each node in a network namespace of its own where root may make
them, behind a switch that loses and delays. Exit code 1 if a promise was broken: not for being slow, which depends on
the machine, whose load average stands in the line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.chaos_disks import disks
from scripts.chaos_healing import healing
from scripts.chaos_kills import kills
from scripts.chaos_lanes import failover
from scripts.chaos_nodes import end_nodes_at_sigterm, load
from scripts.chaos_stalls import stalls

LANES: dict[str, tuple[Callable[..., dict[str, Any]], int, int]] = {
    "failover": (failover, 4, 40),
    "kills": (kills, 3, 200),
    "healing": (healing, 10, 30),
    "stalls": (stalls, 4, 20),
    "disks": (disks, 1, 12),
}
"""Of each lane its function, and how many nodes and rounds it has unless told."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("lane", choices=LANES)
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lane, nodes, rounds = LANES[given.lane]
    before, began = load(), time.monotonic()
    end_nodes_at_sigterm()
    with tempfile.TemporaryDirectory(prefix="p2pwf-chaos-") as folder:
        chance = random.Random(given.seed)
        found = lane(Path(folder), given.nodes or nodes, given.rounds or rounds, chance)
    found |= {"seconds": round(time.monotonic() - began), "load": [before, load()], "seed": given.seed}
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found.get("broken") else 0


if __name__ == "__main__":
    sys.exit(main())
