"""Write protocols/vectors/embedded.json: clocks of embedded coordinators, and what follows from them.

    python scripts/vectors_embedded.py [--check]

Deterministic: times are made up. `--check` writes nothing and exits 1 if the file differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from p2pwf.core.dagcbor import encode  # noqa: E402 - needs the path above
from p2pwf.ledger import (  # noqa: E402
    Chain,
    State,
    WorkflowStatus,
    make_node,
    plan_of_peer,
    plan_of_priority,
    plan_of_status,
    plan_of_submission,
)
from p2pwf.ledger.node import cid_of  # noqa: E402

TARGET = ROOT / "protocols" / "vectors" / "embedded.json"


class Author:
    """Writes a clock, a second a node."""

    def __init__(self, peer: str) -> None:
        self.chain = Chain(peer)

    def write(self, data: dict[str, Any]) -> str:
        node = self.chain.make(data, 1_700_000_000.0 + len(self.chain))
        self.chain.add(node)
        return node.hash

    def submit(self, name: str, priority: float = 3.0) -> str:
        return self.write(
            plan_of_submission(
                name=name,
                file=f"/w/{name}.yml",
                text="on: push\n",
                tags=("p2p-workflow",),
                inputs={},
                priority=priority,
            )
        )


def line() -> Author:
    """One coordinator: peers, submissions, a life of each kind, and things without effect."""
    one = Author("attic")
    one.write(plan_of_peer("desk", add=True))
    one.write(plan_of_peer("名前", add=True))
    ids = [one.submit(f"w{index}", priority) for index, priority in enumerate((3.0, 1.0, 3.0, 6.5, 3.0, 3.0))]
    one.write(plan_of_status(ids[0], WorkflowStatus.ASSIGNED, peer="desk", distance=100))
    one.write(plan_of_status(ids[0], WorkflowStatus.IN_PROGRESS))
    one.write(plan_of_status(ids[0], WorkflowStatus.COMPLETED, result={"rows": [1, 2.5, None, "ä"]}))
    one.write(plan_of_status(ids[0], WorkflowStatus.FAILED, error="too late"))
    one.write(plan_of_status(ids[2], WorkflowStatus.ASSIGNED, peer="名前", distance=99))
    one.write(plan_of_peer("名前", add=False))
    one.write(plan_of_status(ids[4], WorkflowStatus.CANCELLED))
    one.write(plan_of_priority(ids[3], 0.5))
    one.write({"event": "note", "text": "of no kind that is known"})
    one.write({"event": "workflow.status", "workflow_id": 7, "status": "failed"})
    return one


def fork() -> Author:
    """Two that diverged from one past, decided differently, and came together."""
    one, two = Author("attic"), Author("desk")
    shared = one.submit("shared")
    two.chain.merge(one.chain)
    one.write(plan_of_status(shared, WorkflowStatus.ASSIGNED, peer="attic", distance=1))
    one.submit("of attic")
    two.write(plan_of_status(shared, WorkflowStatus.CANCELLED))
    two.submit("of desk", 2.0)
    two.write(plan_of_peer("attic", add=True))
    one.chain.merge(two.chain)
    one.submit("of both")
    two.submit("after that")
    one.chain.merge(two.chain)
    return one


def case(title: str, author: Author) -> dict[str, object]:
    """A clock and what follows from it."""
    chain, state = author.chain, State()
    for node in chain.nodes:
        state.apply(node)
    among = sorted({chain.peer_id, *state.peers, "third"})
    waiting = [task.workflow_id for task in state.pending()]
    return {
        "title": title,
        "nodes": [{"hash": node.hash, "block": node.block().hex()} for node in chain.nodes],
        "head": chain.head_hash,
        "heads": sorted(node.hash for node in chain.heads()),
        "clock": chain.logical_clock,
        "workflows": [
            {
                "workflow_id": task.workflow_id,
                "name": task.name,
                "status": task.status,
                "assigned_peer": task.assigned_peer,
            }
            for task in state.tasks.values()
        ],
        "peers": list(state.peers),
        "next": waiting,
        "among": among,
        "owners": [list(state.owner_of(id, among)) for id in waiting],
    }


def refused(author: Author) -> list[dict[str, str]]:
    """Blocks that nothing may stand on: each breaks one rule on top of the first case."""
    chain = author.chain
    head, older = chain.nodes[-1], chain.nodes[-2]
    top = head.logical_clock
    broken = {
        "a clock that is too low": make_node("x", {}, (head.hash,), top, 0.0),
        "a clock that is too high": make_node("x", {}, (head.hash,), top + 2, 0.0),
        "a first node of clock 2": make_node("x", {}, (), 2, 0.0),
        "a parent that is not there": make_node("x", {}, ("ab" * 32,), 1, 0.0),
        "a parent twice": make_node("x", {}, (head.hash, head.hash), top + 1, 0.0),
        "seventeen parents": make_node("x", {}, tuple(node.hash for node in chain.nodes[:17]), 18, 0.0),
    }
    links = [cid_of(older.hash)]
    good: dict[str, Any] = {"v": 1, "peer": "x", "time": 0.0, "clock": top, "parents": links, "data": {}}
    formless = {
        "version 2": {**good, "v": 2},
        "a time that is an integer": {**good, "time": 0},
        "a field too many": {**good, "more": 1},
        "a field too few": {name: value for name, value in good.items() if name != "data"},
        "a peer that is no text": {**good, "peer": 7},
        "data that is a list": {**good, "data": []},
        "a parent that is no link": {**good, "parents": [older.hash]},
        "data with a link in it": {**good, "data": {"x": links[0]}},
        "data with bytes in it": {**good, "data": {"x": b"y"}},
    }
    found = [{"why": why, "class": "chain", "block": node.block().hex()} for why, node in broken.items()]
    found += [{"why": why, "class": "form", "block": encode(value).hex()} for why, value in formless.items()]
    return [*found, {"why": "bytes after the node", "class": "form", "block": encode(good).hex() + "00"}]


def vectors() -> dict[str, object]:
    """All vectors, ready for JSON."""
    first = line()
    cases = [case("one coordinator", first), case("two that diverged", fork()), case("nothing yet", Author("attic"))]
    return {"protocol": "embedded", "version": 1, "cases": cases, "refused": refused(first)}


def main() -> int:
    """Write the file, or compare it."""
    text = json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n"
    if "--check" in sys.argv[1:]:
        return int(TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
