"""The networks that `scripts/scale` measures: simulated ones of engines, and whole nodes at rest. One process for each.

    python scripts/scale_worlds.py peers 100        one JSON line for each look at the growing network

Time is CPU time of this process, memory its resident set less what it had before the first engine. What is simulated
costs something too (blocks on "disks", messages in flight), so memory is an upper bound.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Hashable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from p2pwf.core.ids import PeerId  # noqa: E402 - after the path
from p2pwf.engine import found  # noqa: E402
from p2pwf.engine.inputs import AddMember, Frame, Gossip, Input  # noqa: E402
from p2pwf.testing.machines import Conditions, SimNode  # noqa: E402
from p2pwf.testing.planner import make_submission  # noqa: E402
from p2pwf.testing.sim import World  # noqa: E402

SLOTS = 64
BODY = make_submission({"one": []})
"""A run of one job: four events."""
EVENTS_OF_RUN = 4
QUICK = Conditions(delay=(0.01, 0.05), job_seconds=(0.1, 0.3))
REST = 60.0
"""Simulated seconds for which a network is watched while nothing is asked of it."""
FULL_BYTES = 18 << 30
"""Memory at which a growing network is left as it is."""


class Counted(World):
    """A world whose members are there from the beginning, and that counts what it delivers."""

    messages = 0
    sent = 0

    def _found(self, nodes: int, admins: int) -> None:
        machines = [self._machine() for _ in range(nodes)]
        first = machines[0]
        about = {"name": "n0", "labels": ["linux"], "slots": first.slots}
        genesis = found(first.signer, self._now(first), nonce=bytes(16), name="scale", private=False, founder=about)
        self.network = genesis.cid
        first.blocks[genesis.cid] = genesis.signed
        self.start(first)
        for number, other in enumerate(machines[1:], 1):
            self.give(first, AddMember(("add", number), other.peer, ("run", "submit"), f"n{number}", ("linux",), SLOTS))
        for other in machines[1:]:
            other.blocks = dict(first.blocks)
            self.start(other)

    def _deliver(self, sender: PeerId, receiver: PeerId, input: Input, ordered: bool) -> None:
        if isinstance(input, (Frame, Gossip)):
            self.messages += 1
            self.sent += len(input.data)
        super()._deliver(sender, receiver, input, ordered)

    def submit_many(self, count: int, rate: float, first: int = 0) -> None:
        """Submissions at so many a second, in turns at each node; returns once all of it has ended everywhere."""
        machines = list(self.nodes.values())

        def submit(number: int) -> None:
            self.submit(machines[number % len(machines)], BODY, number)

        start = self.time
        for number in range(first, first + count):
            self.at(start + (number - first) / rate, lambda number=number: submit(number))  # type: ignore[misc]
        self.run(start + count / rate + 1.0)
        self.run(self.time + 600.0, stop=self.settled)
        if not self.settled():
            raise RuntimeError("the network does not come to rest")


class Meter:
    """CPU, messages and bytes since it was last read; memory since it was made."""

    def __init__(self) -> None:
        gc.collect()
        self._memory = resident()
        self._cpu, self._messages, self._sent = time.process_time(), 0, 0

    def read(self, world: Counted) -> dict[str, float]:
        cpu = time.process_time()
        told = {
            "cpu": cpu - self._cpu,
            "memory": resident() - self._memory,
            "messages": world.messages - self._messages,
            "bytes": world.sent - self._sent,
        }
        self._cpu, self._messages, self._sent = cpu, world.messages, world.sent
        return told


def resident() -> int:
    """Bytes of memory of this process."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tell(**values: Hashable) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def size_of(node: SimNode) -> int:
    """Bytes of a node's events, with their signatures."""
    return sum(len(block.block) + len(block.signature) for block in node.blocks.values())


def peers(count: int, events: int = 2000) -> None:
    """So many engines, and so many events of runs."""
    meter = Meter()
    world = Counted(1, count, slots=2, conditions=QUICK)
    world.run(30.0)
    born = meter.read(world)
    world.run(world.time + REST)
    rest = meter.read(world)
    runs = events // EVENTS_OF_RUN
    before = len(next(iter(world.nodes.values())).blocks)
    since = world.time
    world.submit_many(runs, rate=20.0)
    work = meter.read(world)
    made = len(next(iter(world.nodes.values())).blocks) - before
    tell(
        part="peers",
        peers=count,
        events=made,
        birth_cpu=born["cpu"],
        cpu_us_per_event_and_peer=work["cpu"] / made / count * 1e6,
        messages_per_event_and_peer=work["messages"] / made / count,
        bytes_per_event_and_peer=work["bytes"] / made / count,
        rest_cpu_ms_per_minute_and_peer=rest["cpu"] / count * 1e3 * 60 / REST,
        rest_bytes_per_second_and_peer=rest["bytes"] / REST / count,
        memory_per_peer=work["memory"] / count,
        seconds_to_rest=world.time - since - runs / 20.0,
    )


def events(most: int) -> None:
    """Three engines, whose history doubles until it has so many events."""
    meter = Meter()
    world = Counted(1, 3, slots=SLOTS, conditions=QUICK)
    world.run(5.0)
    nodes = list(world.nodes.values())
    done, step = 0, 2500
    while True:
        meter.read(world)
        held = len(nodes[0].blocks)
        world.submit_many(step, rate=200.0, first=done)
        done += step
        work = meter.read(world)
        made = len(nodes[0].blocks) - held
        world.run(world.time + REST)
        rest = meter.read(world)
        tell(
            part="events",
            events=len(nodes[0].blocks),
            cpu_us_per_event_and_peer=work["cpu"] / made / 3 * 1e6,
            bytes_per_event_and_peer=work["bytes"] / made / 3,
            disk_per_event=size_of(nodes[0]) / len(nodes[0].blocks),
            memory_per_event_and_peer=rest["memory"] / len(nodes[0].blocks) / 3,
            rest_cpu_ms_per_minute_and_peer=rest["cpu"] / 3 * 1e3 * 60 / REST,
            **_again(world, nodes[1]),
        )
        if len(nodes[0].blocks) >= most or rest["memory"] > FULL_BYTES / 2:
            return
        step = min(len(nodes[0].blocks), most - len(nodes[0].blocks)) // EVENTS_OF_RUN + 1


def _again(world: Counted, node: SimNode) -> dict[str, float]:
    """What it costs to start a node again on its disk; it is up to date when this returns."""
    meter = Meter()
    world.crash(node)
    world.restart(node)
    start = meter.read(world)
    world.run(world.time + 600.0, stop=world.settled)
    return {"start_seconds": start["cpu"]}


def open_runs(count: int) -> None:
    """Three engines with so many runs that nobody gets to run: what they cost while nothing happens."""
    meter = Meter()
    world = Counted(1, 3, slots=2, conditions=Conditions(delay=(0.01, 0.05), job_seconds=(1e6, 1e6)))
    world.run(5.0)
    nodes = list(world.nodes.values())
    meter.read(world)
    start = world.time
    for number in range(count):
        world.at(start + number / 100.0, lambda number=number: world.submit(nodes[number % 3], BODY, number))  # type: ignore[misc]
    world.run(start + count / 100.0 + 5.0)
    work = meter.read(world)
    world.run(world.time + REST)
    rest = meter.read(world)
    held = {len(node.engine.desk.active) for node in nodes if node.engine is not None}
    tell(
        part="open",
        runs=max(held),
        cpu_us_per_run_and_peer=work["cpu"] / count / 3 * 1e6,
        memory_per_run_and_peer=rest["memory"] / count / 3,
        rest_cpu_ms_per_minute_and_peer=rest["cpu"] / 3 * 1e3 * 60 / REST,
        rest_bytes_per_second_and_peer=rest["bytes"] / REST / 3,
    )


def nodes(count: int) -> None:
    """So many whole nodes at rest, libp2p included."""
    import trio  # noqa: PLC0415 - libp2p comes with these, and takes seconds

    from p2pwf.testing.stack.world import StackWorld, history  # noqa: PLC0415

    looks: list[tuple[float, int, int]] = []

    async def play(world: StackWorld) -> None:
        await world.found(count, 1, frozenset())
        await trio.sleep(30.0)
        for _ in range(2):
            looks.append((time.process_time(), world.lan.bytes, world.lan.delivered))
            await trio.sleep(REST)
        looks.append((time.process_time(), world.lan.bytes, trio.lowlevel.current_statistics().tasks_living))

    gc.collect()
    before = resident()
    history(1, Conditions(), play)
    cpu = [later[0] - earlier[0] for earlier, later in pairwise(looks)]
    sent = [later[1] - earlier[1] for earlier, later in pairwise(looks)]
    tell(
        part="nodes",
        peers=count,
        rest_cpu_ms_per_minute_and_peer=statistics.mean(cpu) / count * 1e3 * 60 / REST,
        rest_bytes_per_second_and_peer=statistics.mean(sent) / REST / count,
        tasks_per_peer=looks[-1][2] / count,
        memory_per_peer=(resident() - before) / count,
    )


PARTS: dict[str, Any] = {"peers": peers, "events": events, "open": open_runs, "nodes": nodes}


def main(words: Iterator[str]) -> None:
    PARTS[next(words)](int(next(words)))


if __name__ == "__main__":
    main(iter(sys.argv[1:]))
