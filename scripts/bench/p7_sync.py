"""P7: anti-entropy between two clocks that share 10,000 events and are 10, 100 and 1000 apart.

`ours`: bytes beside the events themselves, for each difference; `messages`; CPU time to find what is lacking. The
reference is 4 KiB; the answer to a hello and the events that follow it count as one message. One JSON line for each
difference.
"""

from __future__ import annotations

import json
import time

from p2pwf.clock import Accepted, Clock
from p2pwf.clock.messages import Events, Hello, encode_message
from p2pwf.clock.sync import frontier, lacking
from p2pwf.core.events import Event, parse
from p2pwf.core.sign import Signer
from p2pwf.engine import EngineConfig, found
from p2pwf.engine.desk import Desk, chunks
from p2pwf.engine.inputs import Now
from p2pwf.testing import SimPlanner

SHARED = 10_000
AUTHORS = 4
LIMIT = 4096
NOW = Now(0.0, 1_700_000_000_000)


def desk_of(number: int, genesis: Event) -> Desk:
    config = EngineConfig(b"boot" * 2, "bench", 2, SimPlanner())
    return Desk(Signer(bytes([number]) * 32), genesis.cid, config, NOW, lambda *_: True)


def learn(desk: Desk, events: list[Event]) -> None:
    for event in events:
        if event.cid not in desk.clock.dag:
            accepted = desk.clock.accept(event, trusted=True)
            assert isinstance(accepted, Accepted)
            desk.take(event, accepted)


def world() -> tuple[list[Desk], list[Event]]:
    """Authors that share SHARED events."""
    founder = {"name": "bench", "labels": [], "slots": 1}
    genesis = found(Signer(b"\1" * 32), NOW, nonce=b"n" * 16, name="bench", private=False, founder=founder)
    desks = [desk_of(number, genesis) for number in range(1, AUTHORS + 1)]
    events = [genesis]
    learn(desks[0], events)
    for other in desks[1:]:
        body = {"peer": other.me, "roles": ["run", "submit"], "name": "n", "labels": [], "slots": 1, "tip": None}
        events.append(desks[0].write("member.add", body))
    for desk in desks:
        learn(desk, events)
    while len(events) < SHARED:
        desk = desks[len(events) % AUTHORS]
        new = desk.write("bench.note", {"number": len(events)})
        events.append(new)
        for other in desks:
            learn(other, [new])
    return desks, events


def hello(clock: Clock, reply: bool) -> bytes:
    dag = clock.dag
    return encode_message(Hello(clock.network, b"boot" * 2, dag.digest(), frontier(dag), reply, "bench"))


def main() -> None:
    """One exchange for each difference, half of it on each side."""
    desks, events = world()
    held = {event.cid: event.signed for event in events}
    one, two = desks[0], desks[1]
    for apart in (10, 100, 1000):
        for desk in (one, two):
            for number in range(apart // 2):
                new = desk.write("bench.note", {"apart": apart, "number": number})
                held[new.cid] = new.signed
        began = time.process_time()
        first = hello(one.clock, reply=True)
        second = hello(two.clock, reply=False)
        from_two = lacking(two.clock.dag, frontier(one.clock.dag))
        from_one = lacking(one.clock.dag, frontier(two.clock.dag))
        spent = time.process_time() - began
        assert len(from_one) + len(from_two) == apart
        frames = [first, second]
        for nodes in (from_two, from_one):
            frames += [encode_message(Events(chunk)) for chunk in chunks([held[node.cid] for node in nodes])]
        payload = sum(len(held[node.cid].block) + 64 for node in (*from_one, *from_two))
        beside = sum(map(len, frames)) - payload
        for desk, nodes in ((one, from_two), (two, from_one)):
            learn(desk, [parse(held[node.cid]) for node in nodes])
        assert one.clock.dag.digest() == two.clock.dag.digest()
        line = {
            "name": f"P7 anti-entropy, {apart} apart of {SHARED}",
            "ours": beside,
            "reference": LIMIT,
            "ratio": round(beside / LIMIT, 2),
            "unit": "bytes beside the events",
            "n": apart,
            "framing_per_event": round((beside - len(first) - len(second)) / apart, 1),
            "messages": len(frames) - 1,
            "cpu_ms": round(spent * 1000, 2),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
