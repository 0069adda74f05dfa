"""Checks a store anew: every hash, signature and rule of acceptance, as if it came from a stranger."""

from __future__ import annotations

from typing import Any, Final

from p2pwf.clock import Accepted, Clock, Invalid
from p2pwf.core.events import EventError, SignedBlock
from p2pwf.core.ids import Cid
from p2pwf.engine.base import read_block
from p2pwf.store.events import EventStore

MAX_PROBLEMS: Final = 100


def verify_store(store: EventStore, network: Cid) -> dict[str, Any]:
    """{ok, events, problems: [{cid, problem}]}; at most MAX_PROBLEMS of them are named."""
    return verify_events(store, Clock(network))


def verify_events(store: EventStore, clock: Clock) -> dict[str, Any]:
    """As `verify_store`, into a new clock, which then holds what is in order."""
    count = 0
    problems: list[dict[str, str]] = []
    for stored in store.load():
        count += 1
        try:
            event = read_block(SignedBlock(stored.block, stored.signature), clock.network)
        except EventError as error:
            problems.append({"cid": stored.cid.text, "problem": str(error)})
            continue
        result = clock.accept(event, trusted=stored.pruned)
        if event.cid != stored.cid:
            problems.append({"cid": stored.cid.text, "problem": f"its bytes hash to {event.cid.text}"})
        elif isinstance(result, Invalid):
            problems.append({"cid": stored.cid.text, "problem": result.reason})
        elif not isinstance(result, Accepted):
            problems.append({"cid": stored.cid.text, "problem": "events that it stands on are missing"})
    return {"ok": not problems, "events": count, "problems": problems[:MAX_PROBLEMS]}
