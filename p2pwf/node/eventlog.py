"""The events that a node has on disk, for who asks."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator
from typing import Any, Final

import trio

from p2pwf.core.events import EventError, SignedBlock
from p2pwf.engine.base import read_block
from p2pwf.errors import Refused
from p2pwf.node import views
from p2pwf.node.node import Node

AT_ONCE: Final = 256
"""Events read by one visit of a thread."""


async def events(node: Node, raw: bool) -> AsyncGenerator[dict[str, Any], None]:
    """Every event in topological order, as views.event_line; `raw`: {cid, block, signature} in base64."""
    nodes = sorted(node.engine.desk.clock.dag, key=lambda one: one.order)
    for start in range(0, len(nodes), AT_ONCE):
        cids = [one.cid for one in nodes[start : start + AT_ONCE]]
        for stored in await trio.to_thread.run_sync(node.store.get, cids):
            if stored is None:
                continue
            if raw:
                yield {
                    "cid": stored.cid.text,
                    "block": b64encode(stored.block).decode("ascii"),
                    "signature": b64encode(stored.signature).decode("ascii"),
                }
                continue
            try:
                signed = SignedBlock(stored.block, stored.signature)
                yield views.event_line(read_block(signed, node.identity.network))
            except EventError as error:
                raise Refused(f"{stored.cid.text} on disk is no event: {error}", "see `p2pwf clock verify`") from error
