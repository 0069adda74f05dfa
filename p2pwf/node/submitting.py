"""A workflow file, submitted on a running node: read, judged, stored with its source, and given to the engine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import trio

from p2pwf.core.ids import PeerId
from p2pwf.engine import inputs as to_engine
from p2pwf.errors import Overloaded, Refused, TryAgain
from p2pwf.node import views
from p2pwf.node.actions import Library
from p2pwf.node.node import Node
from p2pwf.node.sources import keep, read_workflow, take_source
from p2pwf.node.standing import require_member
from p2pwf.node.submission import Wanted, make_body
from p2pwf.requests import SubmitRequest
from p2pwf.runs.labels import peer_label
from p2pwf.workflow import Diagnostic

MAX_PREPARING: Final = 64
"""Submissions that are read and checked at a time, each in a thread if there is one: one may take a second, and hold
some MB."""


async def submit(node: Node, request: SubmitRequest) -> dict[str, Any]:
    """Start a run: {workflow_id, copies, name, left_out, warnings}; durable here when it returns. Raises
    Overloaded."""
    require_ready(node)
    number = 1 + max((head.lamport for head in node.engine.desk.clock.dag.heads()), default=0)
    if request.key is None or request.key not in node.engine.desk.keys:
        node.engine.check_room()  # before it is read and checked: who is refused comes again
    if node.preparing >= MAX_PREPARING:
        raise Overloaded(f"{node.preparing} submissions are being prepared", "submit less at a time")
    pinned = pins(node, request)
    node.preparing += 1
    try:
        body, diagnostics, left_out = await trio.to_thread.run_sync(_prepare, node, request, number, pinned)
    finally:
        node.preparing -= 1
    answer = await node.loop.ask(partial(to_engine.Submit, body=body))
    return {
        "workflow_id": answer["workflow_id"],
        "copies": answer["copies"],
        "name": body["name"],
        "left_out": list(left_out),
        "warnings": [one.to_json() for one in diagnostics],
    }


def require_ready(node: Node) -> None:
    """Raise Refused unless this node is a member, TryAgain unless it has joined its network since it started."""
    require_member(node.engine)
    if not node.shell.ready.is_set():
        raise TryAgain("this node has not joined its network yet", "wait for its ready line")


def pins(node: Node, request: SubmitRequest) -> list[str]:
    """The labels that a request adds to what every job asks for."""
    return [*request.labels, *([] if request.peer is None else [peer_label(_runner(node, request.peer))])]


def _runner(node: Node, name: str) -> PeerId:
    """The member that a user names to run jobs."""
    peer = views.find_peer(node.engine, name)
    member = node.engine.desk.roster.members.get(peer)
    if member is None or not member.can("run") or member.slots == 0:
        raise Refused(f"{name} runs no jobs", "see roles and slots in `p2pwf peer list`")
    return peer


def _prepare(
    node: Node, request: SubmitRequest, number: int, pinned: list[str]
) -> tuple[dict[str, Any], tuple[Diagnostic, ...], tuple[str, ...]]:
    """The body of a submission, the warnings, what is left out of the source; blocks."""
    path = Path(request.file)
    text = read_workflow(path)
    taken = take_source(path, request.source_dir, request.no_source, node.blobs)
    wanted = Wanted(
        text=text,
        source=taken.facts,
        name=request.name,
        priority=request.priority,
        event=request.event,
        payload=request.payload,
        inputs=request.inputs,
        key=request.key,
        vars=node.engine.desk.settings.values(None),
        secrets=frozenset(node.engine.desk.settings.secrets),
        pins=pinned,
        force=request.force,
        run_id=uuid4().hex,
        run_number=number,
    )
    library = Library(node.repositories, taken.read, node.blobs)
    body, diagnostics = make_body(wanted, library)
    keep(library.manifests, node.blobs)
    return body, diagnostics, taken.left_out
