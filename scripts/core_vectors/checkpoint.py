"""Vectors of bases: what is left of a part of the clock of events.json, and of the runs of runs.json."""

from __future__ import annotations

from typing import Any

from p2pwf.core.events import SignedBlock, parse
from p2pwf.core.ids import blob_cid, parse_cid
from p2pwf.engine.base import history, make_base
from scripts.core_vectors.runs import run_vectors

CASES = 6
"""Cases of runs whose bases are written down: a base is as long as what it is of."""


def checkpoint_vectors() -> dict[str, Any]:
    """Of some histories of runs the base, at their end and before anything ended."""
    vectors: Any = run_vectors()
    bases: list[dict[str, Any]] = []
    for case in vectors["cases"]:
        blocks = [vectors["events"][cid] for cid in case["events"]]
        signed = [SignedBlock(bytes.fromhex(one["block"]), bytes.fromhex(one["signature"])) for one in blocks]
        events = sorted(map(parse, signed), key=lambda event: event.order)
        ends = [event for event in events if event.type == "run.end"]
        if not ends or len(bases) >= 2 * CASES:
            continue
        linked = {link for event in events for link in event.links()}
        tips = [event.cid for event in events if event.cid not in linked]
        for before in (ends[0].lamport - 1, events[-1].lamport):
            found = history([event.signed for event in events], parse_cid(case["network"]), tips)
            if found is None or len(tips) > 16:
                break
            data, stubs = make_base(*found, before)
            bases.append(
                {
                    "title": case["title"],
                    "network": case["network"],
                    "events": case["events"],
                    "tips": sorted(tip.text for tip in tips),
                    "before": before,
                    "stubs": stubs,
                    "cid": blob_cid(data).text,
                    "base": data.hex(),
                }
            )
    return {"protocol": "checkpoint", "version": 1, "bases": bases}
