"""The schedules of a network and the runs that their ticks have given: a function of the set of events. Pure.

Which member submits a tick is the engine's to decide; of several submissions of one tick the lowest stands. Source:
protocols/schedules.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

import attrs

from p2pwf.core.events import Event
from p2pwf.core.ids import Cid

KEPT_TICKS: Final = 256
"""Of each schedule the newest ticks that are remembered: of one that is due each minute, some four hours."""
CARRIED: Final = (
    "workflow",
    "path",
    "ref",
    "sha",
    "repository",
    "actor",
    "vars",
    "source",
    "called",
    "actions",
    "pins",
)
"""What a run takes over from its schedule as it is."""


@attrs.define(slots=True, eq=False)
class Schedule:
    """One schedule. `removed`: the event that ended it. `ticks`: by time in seconds since 1970, its submissions."""

    event: Event
    removed: Event | None = None
    ticks: dict[int, list[Event]] = attrs.field(factory=dict)

    @property
    def id(self) -> Cid:
        return self.event.cid

    @property
    def name(self) -> str:
        return cast(str, self.event.body["name"])


class Schedules:
    """All schedules by id, ended ones too, in the order in which they came in."""

    def __init__(self) -> None:
        self._by_id: dict[Cid, Schedule] = {}

    def __iter__(self) -> Iterator[Schedule]:
        return iter(self._by_id.values())

    def get(self, schedule: Cid) -> Schedule | None:
        return self._by_id.get(schedule)

    def add(self, event: Event) -> None:
        """Take in a schedule.add."""
        self._by_id.setdefault(event.cid, Schedule(event))

    def remove(self, event: Event, by_admin: bool) -> None:
        """Take in a schedule.remove: it counts if its author is the schedule's, or an admin."""
        known = self._by_id.get(cast(Cid, event.body["schedule"]))
        if known is not None and known.removed is None and (by_admin or event.author == known.event.author):
            known.removed = event

    def submitted(self, submission: Event) -> list[Event]:
        """Take in a run.submit; the submissions of the same tick that are known, this one among them."""
        said = cast("dict[str, Any] | None", submission.body["schedule"])
        known = None if said is None else self._by_id.get(said["schedule"])
        if known is None or said is None or not _is_of(submission, known, said["cron"]):
            return []
        same = known.ticks.setdefault(said["tick"], [])
        if submission.cid not in {one.cid for one in same}:
            same.append(submission)
        while len(known.ticks) > KEPT_TICKS:
            del known.ticks[min(known.ticks)]
        return same

    def twins(self, submission: Event) -> list[Event]:
        """The other submissions of a run's tick."""
        said = cast("dict[str, Any] | None", submission.body["schedule"])
        known = None if said is None else self._by_id.get(said["schedule"])
        if known is None or said is None:
            return []
        same = known.ticks.get(said["tick"], [])
        mine = any(one.cid == submission.cid for one in same)
        return [one for one in same if one.cid != submission.cid] if mine else []


def _is_of(submission: Event, schedule: Schedule, cron: object) -> bool:
    """Whether a submission is what its schedule says: otherwise a member could take a tick for a run of its own."""
    body, planned = submission.body, schedule.event.body
    same = all(body[name] == planned[name] for name in CARRIED)
    return same and body["event"] == "schedule" and cron in cast("list[object]", planned["crons"])
