"""What a node tells of itself, as its faces would show it: the one place where the oracle's evidence is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine import Engine
from p2pwf.runs.view import detail, keys_of


@attrs.frozen(slots=True)
class Schedule:
    """A schedule as a node knows it. Times in wall ms, ticks in s."""

    name: str
    added: int
    removed: int | None
    ticks: Mapping[int, tuple[tuple[Cid, int], ...]]
    """Of each tick, its submissions: their ids, and when they were written."""
    due: tuple[int, ...]
    """When it should have come due, to the end of the history."""


@attrs.frozen(slots=True)
class Snapshot:
    """What one node says at the end: members with their roles, runs as `workflow status` has them, who forked."""

    peer: PeerId
    events: str
    """The digest of the events that it holds."""
    members: Mapping[PeerId, frozenset[str]]
    runs: Mapping[Cid, Mapping[str, Any]]
    owners: Mapping[Cid, tuple[PeerId | None, ...]]
    """Of each run, who owns the newest attempt of each job instance, which may not be who ended it."""
    settings: Mapping[str, Cid]
    """Of each secret and variable, the event that stands."""
    boxes: Mapping[str, frozenset[PeerId]]
    """Of each secret, who can open it."""
    forked: frozenset[PeerId]
    schedules: tuple[Schedule, ...]
    pruned: frozenset[Cid]
    """Of the runs, those of which stubs are left; of them `workflow list` has a line."""


def look(engine: Engine, now_ms: int) -> Snapshot:
    """A node's own account, as plain values."""
    desk = engine.desk
    members = {peer: frozenset(member.roles) for peer, member in desk.roster.members.items()}
    runs: dict[Cid, Mapping[str, Any]] = {cid: detail(run, desk.is_cancelled(run)) for cid, run in desk.runs.items()}
    runs |= {cid: desk.cold.row(cid) for cid in desk.pruned}
    owners = {cid: tuple(run.owner(key) for key in keys_of(run)) for cid, run in desk.runs.items()}
    held = (*desk.settings.secrets.items(), *desk.settings.variables.items())
    settings = {f"{event.type} {slot}": event.cid for slot, event in held}
    boxes = {str(slot): frozenset(desk.settings.holders(event)) for slot, event in desk.settings.secrets.items()}
    schedules = []
    for one in desk.schedules:
        ticks = {tick: tuple((run.cid, run.time) for run in found) for tick, found in one.ticks.items()}
        end = now_ms if one.removed is None else one.removed.time
        due, when = [], one.event.time // 1000 + 1
        while (after := desk.config.planner.next_tick(one.event, when)) and after[0] * 1000 < end - 5_000:
            when = after[0]
            due.append(when)
        removed = None if one.removed is None else one.removed.time
        schedules.append(Schedule(one.name, one.event.time, removed, ticks, tuple(due)))
    forked = frozenset(desk.clock.dag.forked())
    return Snapshot(
        peer=desk.me,
        events=desk.clock.dag.digest().hex(),
        members=members,
        runs=runs,
        owners=owners,
        settings=settings,
        boxes=boxes,
        forked=forked,
        schedules=tuple(schedules),
        pruned=frozenset(desk.pruned),
    )
