"""Schedules for who asks: added from a file, listed, removed by id or name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import trio

from p2pwf.core.ids import Cid
from p2pwf.engine import inputs as to_engine
from p2pwf.engine.timetable import row
from p2pwf.errors import NotFound, UsageError
from p2pwf.node.actions import Library
from p2pwf.node.node import Node
from p2pwf.node.sources import keep, read_workflow, take_source
from p2pwf.node.submission import Wanted
from p2pwf.node.ticks import schedule_body
from p2pwf.requests import SubmitRequest
from p2pwf.workflow import Diagnostic

MIN_PREFIX = 4


async def add_schedule(node: Node, request: SubmitRequest, pins: list[str]) -> dict[str, Any]:
    """Have a workflow submitted when it is due: its `row` with {left_out, warnings}; raises as a submission does."""
    body, diagnostics, left_out = await trio.to_thread.run_sync(_prepare, node, request, pins)
    answer = await node.loop.ask(partial(to_engine.AddSchedule, body=body))
    told = {"left_out": list(left_out), "warnings": [one.to_json() for one in diagnostics]}
    return {**_row(node, answer["schedule_id"]), **told}


def _prepare(
    node: Node, request: SubmitRequest, pins: list[str]
) -> tuple[dict[str, Any], tuple[Diagnostic, ...], tuple[str, ...]]:
    path = Path(request.file)
    text = read_workflow(path)
    taken = take_source(path, request.source_dir, request.no_source, node.blobs)
    wanted = Wanted(
        text=text,
        source=taken.facts,
        name=request.name,
        priority=request.priority,
        force=request.force,
        vars=node.engine.desk.settings.values(None),
        secrets=frozenset(node.engine.desk.settings.secrets),
        pins=pins,
    )
    library = Library(node.repositories, taken.read, node.blobs)
    body, diagnostics = schedule_body(wanted, library)
    keep(library.manifests, node.blobs)
    return body, diagnostics, taken.left_out


def list_schedules(node: Node, every: bool) -> list[dict[str, Any]]:
    """The schedules that fire, or with `every` those too that do so no more, in the order in which they were added."""
    rows = [row(node.engine.timetable, one) for one in node.engine.desk.schedules]
    return [one for one in rows if every or one["active"]]


async def remove_schedule(node: Node, name: str) -> dict[str, Any]:
    """End a schedule, by its id, the end or the beginning of it, or its name; its `row`."""
    cid = _find(node, name)
    await node.loop.ask(partial(to_engine.RemoveSchedule, schedule=cid))
    return _row(node, cid.text)


def _row(node: Node, schedule: str) -> dict[str, Any]:
    timetable = node.engine.timetable
    return next(row(timetable, one) for one in node.engine.desk.schedules if one.id.text == schedule)


def _find(node: Node, name: str) -> Cid:
    live = [one for one in node.engine.desk.schedules if one.removed is None]
    wanted = name.strip().lower()
    found = [one for one in live if one.name == name]
    if not found and len(wanted) >= MIN_PREFIX:
        found = [one for one in live if one.id.text.startswith(wanted) or one.id.text.endswith(wanted)]
    if not found:
        raise NotFound(f"no schedule {name!r}", "see `p2pwf schedule list`")
    if len(found) > 1:
        raise UsageError(f"{len(found)} schedules are called {name!r}", "use an id: see `p2pwf schedule list`")
    return found[0].id
