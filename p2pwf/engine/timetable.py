"""When a schedule's tick is due, and whose turn it is to submit it: the nearest live member, then the next ones.

Each node works out the ticks by its own wall clock, so a clock that is wrong by minutes submits at the wrong time;
which of two submissions of one tick stands does not depend on clocks. Source: protocols/schedules.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, cast

from p2pwf import assign
from p2pwf.core.dagcbor import Value, encode
from p2pwf.core.events import EventError
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.desk import Desk
from p2pwf.engine.inputs import AddSchedule, RemoveSchedule
from p2pwf.engine.liveness import Liveness
from p2pwf.engine.outputs import Reply
from p2pwf.errors import NotFound, P2pwfError, Refused, UsageError
from p2pwf.runs.schedules import KEPT_TICKS, Schedule

TURN: Final = 10.0
"""Seconds that each next member waits longer for a tick's submission to come in."""
LATE: Final = 300.0
"""Seconds after which a tick that nobody has submitted is missed: it is reported, and not run late."""
LOOK_BACK: Final = 3 * 3600
"""Seconds of which missed ticks are told."""
MAX_SCHEDULES: Final = 1024
"""That this node adds: more is a program gone wild."""


class Timetable:
    """`failed`: why the last tick of a schedule could not be submitted here."""

    def __init__(self, desk: Desk, liveness: Liveness, submit: Callable[[Mapping[str, Value]], object]) -> None:
        self._desk = desk
        self._liveness = liveness
        self._submit = submit
        self._next: dict[Cid, tuple[int, Value] | None] = {}
        self._due: dict[tuple[Cid, int], tuple[float, Value]] = {}
        self.failed: dict[Cid, str] = {}

    # -- requests -----------------------------------------------------------------------------------------------

    def asked(self, request: AddSchedule | RemoveSchedule) -> None:
        """Do what a user asks for; raises what the two below raise."""
        if isinstance(request, AddSchedule):
            self.add(request)
        else:
            self.remove(request)

    def add(self, request: AddSchedule) -> None:
        desk = self._desk
        if not desk.standing().holds(desk.me, "submit"):
            raise Refused("this node may not submit workflows", "an admin can give it the role submit")
        mine = sum(1 for one in desk.schedules if one.event.author == desk.me and self.is_live(one))
        if mine >= MAX_SCHEDULES:
            raise Refused(f"this node has {mine} schedules", "remove some: see `p2pwf schedule list`")
        try:
            event = desk.write("schedule.add", request.body)
        except EventError as error:
            raise UsageError(f"this schedule is out of bounds: {error}", "see protocols/events.md") from error
        desk.emit(Reply(request.token, {"schedule_id": event.cid.text}))

    def remove(self, request: RemoveSchedule) -> None:
        desk = self._desk
        known = desk.schedules.get(request.schedule)
        if known is None:
            raise NotFound(f"no schedule {request.schedule.text}", "see `p2pwf schedule list`")
        if known.event.author != desk.me and not desk.standing().holds(desk.me, "admin"):
            raise Refused("only its author or an admin may remove this schedule", "remove it on the node that added it")
        if known.removed is None:
            desk.write("schedule.remove", {"schedule": known.id})
        desk.emit(Reply(request.token, {"schedule_id": known.id.text}))

    # -- ticks --------------------------------------------------------------------------------------------------

    def is_live(self, schedule: Schedule) -> bool:
        """Whether it fires: it was not removed, its author may submit, and nothing has made it void."""
        if schedule.removed is not None or self._desk.clock.dag[schedule.id].void:
            return False
        return self._desk.roster.holds(schedule.event.author, "submit")

    def next_tick(self, schedule: Schedule) -> int | None:
        """The next tick after now, in seconds since 1970; None if there is none."""
        found = self._after(schedule, self._desk.now.wall // 1000)
        return None if found is None else found[0]

    def missed(self, schedule: Schedule) -> list[int]:
        """The ticks of the last LOOK_BACK seconds that nobody has submitted in time."""
        now = self._desk.now.wall // 1000
        when = max(schedule.event.time // 1000, now - LOOK_BACK)
        if len(schedule.ticks) == KEPT_TICKS:
            when = max(when, min(schedule.ticks))  # of those before nothing is known
        found: list[int] = []
        while (after := self._after(schedule, when)) is not None and (when := after[0]) <= now - LATE:
            if when not in schedule.ticks:
                found.append(when)
        return found

    def _after(self, schedule: Schedule, when: int) -> tuple[int, Value] | None:
        return self._desk.config.planner.next_tick(schedule.event, when)

    def tick(self) -> None:
        """Submit what is due, if it is our turn."""
        desk, wall = self._desk, self._desk.now.wall // 1000
        for schedule in desk.schedules:
            if not self.is_live(schedule):
                self._next.pop(schedule.id, None)
                continue
            if schedule.id not in self._next:
                self._next[schedule.id] = self._after(schedule, wall)
            upcoming = self._next[schedule.id]
            if upcoming is not None and upcoming[0] <= wall:
                self._next[schedule.id] = self._after(schedule, wall)
                if wall - upcoming[0] < LATE:
                    self._due[schedule.id, upcoming[0]] = (desk.now.mono, upcoming[1])
        for (cid, tick), (since, cron) in list(self._due.items()):
            known = desk.schedules.get(cid)
            over = known is None or not self.is_live(known) or tick in known.ticks or desk.now.mono - since > LATE
            if over or known is None:
                del self._due[cid, tick]
            elif self._is_our_turn(known, tick, desk.now.mono - since):
                del self._due[cid, tick]
                self._fire(known, tick, cron)

    def _is_our_turn(self, schedule: Schedule, tick: int, waited: float) -> bool:
        desk, roster = self._desk, self._desk.standing()
        if self._liveness.suspended or desk.frozen is not None:
            return False
        if desk.config.policy(schedule.event, (), None) is not None:
            return False
        point = sha256(encode([schedule.id, tick])).digest()
        able = [peer for peer in roster.members if roster.holds(peer, "submit") and self._liveness.is_alive(peer)]
        able.sort(key=lambda peer: (assign.distance(point, assign.peer_hash(peer)), assign.tie_break(point, peer)))
        return desk.me in able and waited >= able.index(desk.me) * TURN

    def _fire(self, schedule: Schedule, tick: int, cron: Value) -> None:
        self.failed.pop(schedule.id, None)
        try:
            self._submit(self._desk.config.planner.scheduled(schedule.event, tick, cron))
        except P2pwfError as error:
            self.failed[schedule.id] = error.message


def row(timetable: Timetable, schedule: Schedule) -> dict[str, Any]:
    """A schedule as lists show it: {schedule_id, name, path, crons, author, priority, created_at, active, next, last,
    missed, error}; times in wall ms."""
    body = schedule.event.body
    live = timetable.is_live(schedule)
    upcoming = timetable.next_tick(schedule) if live else None
    last = max(schedule.ticks, default=None)
    stands = None if last is None else min(schedule.ticks[last], key=lambda event: event.order)
    return {
        "schedule_id": schedule.id.text,
        "name": schedule.name,
        "path": body["path"],
        "crons": body["crons"],
        "author": PeerId(schedule.event.author),
        "priority": float(cast(float, body["priority"])),
        "created_at": schedule.event.time,
        "active": live,
        "next": None if upcoming is None else upcoming * 1000,
        "last": None if last is None or stands is None else {"tick": last * 1000, "workflow_id": stands.cid.text},
        "missed": [when * 1000 for when in timetable.missed(schedule)] if live else [],
        "error": timetable.failed.get(schedule.id),
    }
