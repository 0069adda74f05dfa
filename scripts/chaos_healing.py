"""The lane `healing` of scripts/chaos: nodes behind a bad network that is cut in two, and comes together again."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, Final

from scripts.chaos_kills import SKIPPED
from scripts.chaos_nodes import Cluster, Node, figures, say, wait_until
from scripts.chaos_switch import Switch

DELAY, LOSS = 0.05, 0.05
"""Seconds one way, and the chance of each frame to be lost."""
SHORTEST, LONGEST = 1.0, 120.0
"""Seconds of a partition; drawn evenly on a logarithmic scale, so that short ones, which no ping notices, count."""
WRITES: Final = 4
"""Submissions on each side while the network is cut."""
LOOK: Final = 0.1
QUIET: Final = 5.0
"""Seconds after equal heads until the next cut."""


def healing(base: Path, count: int, rounds: int, chance: random.Random) -> dict[str, Any]:
    """Cut the network in two for a while; after it heals, how long until all have the same heads."""
    took: list[float] = []
    by_length: list[tuple[float, float]] = []
    file = base / "skipped.yml"
    file.write_text(SKIPPED)
    with Switch(count, delay=DELAY, loss=LOSS, seed=chance.getrandbits(32)) as switch:
        nodes = [Node(base / f"n{port}", host=switch.hosts[port], prefix=switch.prefix(port)) for port in range(count)]
        with Cluster(nodes) as cluster:
            time.sleep(8)  # past the first lease
            for _ in range(rounds):
                length = SHORTEST * (LONGEST / SHORTEST) ** chance.random()
                some = set(chance.sample(range(count), chance.randint(1, count // 2)))
                switch.split({port: int(port in some) for port in range(count)})
                began = time.monotonic()
                for _ in range(WRITES):
                    for side in (some, set(range(count)) - some):
                        nodes[chance.choice(sorted(side))].submit(file)
                time.sleep(max(0.0, length - (time.monotonic() - began)))
                length = time.monotonic() - began
                switch.heal()
                healed = wait_until("equal heads", cluster.heads_are_equal, look=LOOK)
                took.append(healed)
                by_length.append((round(length, 1), round(healed, 2)))
                say(f"cut for {length:.1f} s, equal after {healed:.2f} s")
                wait_until("all connected", cluster.is_linked)
                time.sleep(QUIET)
        network = {"frames": switch.passed, "lost": switch.lost, "dropped": switch.dropped}
    return {
        "name": "P15 heal to equal heads",
        "unit": "s",
        **figures(took),
        "nodes": count,
        "network": f"namespaces and a TAP switch: {2 * DELAY * 1000:g} ms, {LOSS:.0%} loss",
        "rounds": by_length,
        **network,
    }
