"""What a set of counting events says: owners, starts, outcomes, results. Order of arrival never matters here.

Everything kept is a minimum, a maximum or a union over the set, so a tally can grow event by event and come out the
same. Which events count is `run`'s to judge; this knows only what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs

from p2pwf.core.dagcbor import Value
from p2pwf.core.ids import Cid, PeerId
from p2pwf.roster import Roster
from p2pwf.runs.plan import Leg, Plan, read_legs


@attrs.define(slots=True, eq=False)
class RunEvent:
    """One event of a run. `past`: bit mask, over the run's events, of those below it by `after` links."""

    cid: Cid
    author: PeerId
    lamport: int
    type: str
    body: Mapping[str, Value]
    bit: int
    past: int
    roster: Roster
    time: int
    void: bool = False
    counts: bool = False
    ends: bool = False
    """Of a reassignment that counts: whether it only lets its author end a cancelled run's leg."""

    @property
    def order(self) -> tuple[int, Cid]:
        return self.lamport, self.cid

    @property
    def attempt(self) -> int:
        return cast(int, self.body["attempt"])

    @property
    def key(self) -> tuple[str, int]:
        """The job instance (job id, leg index) that a job event is about."""
        return cast(str, self.body["job"]), cast(int, self.body.get("leg", 0))

    @property
    def uses(self) -> list[Cid]:
        return cast("list[Cid]", self.body.get("uses", []))


@attrs.define(slots=True, eq=False)
class LegState:
    """One job instance as a set of events has it."""

    reassigns: dict[int, RunEvent] = attrs.field(factory=dict)
    """By attempt, the reassign that counts: the lowest (lamport, id)."""
    starts: dict[int, RunEvent] = attrs.field(factory=dict)
    refusals: list[RunEvent] = attrs.field(factory=list)
    finishes: list[RunEvent] = attrs.field(factory=list)

    def apply(self, event: RunEvent) -> None:
        if event.type == "job.reassign":
            _keep_lowest(self.reassigns, event)
        elif event.type == "job.start":
            _keep_lowest(self.starts, event)
        elif event.type == "job.refuse":
            self.refusals.append(event)
        else:
            self.finishes.append(event)

    @property
    def attempt(self) -> int:
        """The newest attempt; 1 before any reassign."""
        return max(self.reassigns, default=1)

    def owner(self, attempt: int, placed: PeerId | None) -> PeerId | None:
        """Who owns an attempt; `placed` is the owner that the assignment gave attempt 1."""
        reassign = self.reassigns.get(attempt)
        if reassign is not None:
            return cast(PeerId, reassign.body["owner"])
        return placed if attempt == 1 else None

    def refused(self) -> set[PeerId]:
        return {event.author for event in self.refusals}

    def tried(self, placed: PeerId | None) -> dict[PeerId, int]:
        """How many attempts each peer has owned."""
        counts: dict[PeerId, int] = {}
        for attempt in range(1, self.attempt + 1):
            owner = self.owner(attempt, placed)
            if owner is not None:
                counts[owner] = counts.get(owner, 0) + 1
        return counts


def _keep_lowest(by_attempt: dict[int, RunEvent], event: RunEvent) -> None:
    held = by_attempt.get(event.attempt)
    if held is None or event.order < held.order:
        by_attempt[event.attempt] = event


@attrs.define(slots=True, eq=False)
class Tally:
    """The counting events of a run, summed up."""

    plan: Plan
    legs: dict[tuple[str, int], LegState] = attrs.field(factory=dict)
    expands: dict[str, RunEvent] = attrs.field(factory=dict)
    """The expansion of each job: those that its starts and finishes stand on first, then the lowest."""
    named: set[Cid] = attrs.field(factory=set)
    cancels: list[RunEvent] = attrs.field(factory=list)
    priority: RunEvent | None = None
    ends: list[RunEvent] = attrs.field(factory=list)
    started: bool = False
    _all_expands: dict[str, list[RunEvent]] = attrs.field(factory=dict)
    _stood_on: set[Cid] = attrs.field(factory=set)

    def apply(self, event: RunEvent) -> None:
        """Add one counting event."""
        kind = event.type
        if kind == "run.cancel":
            self.cancels.append(event)
        elif kind == "run.priority":
            if self.priority is None or event.order > self.priority.order:
                self.priority = event
        elif kind == "run.end":
            self.ends.append(event)
        elif kind == "job.expand":
            job = event.key[0]
            self.named.update(event.uses)
            self._all_expands.setdefault(job, []).append(event)
            self._choose_expand(job)
        elif kind.startswith("job."):
            self.named.update(event.uses)
            self.started = self.started or kind == "job.start"
            self.leg(event.key).apply(event)
            self._stand_on(event)

    def _stand_on(self, event: RunEvent) -> None:
        """What has started or finished keeps the expansion that it stands on, whatever else comes in."""
        known = self._all_expands.get(event.key[0], ())
        if len(known) > 0 and event.type in ("job.start", "job.finish"):
            below = {one.cid for one in known if one.bit & event.past}
            if not below <= self._stood_on:
                self._stood_on |= below
                self._choose_expand(event.key[0])

    def _choose_expand(self, job: str) -> None:
        self.expands[job] = min(self._all_expands[job], key=lambda one: (one.cid not in self._stood_on, *one.order))

    @property
    def end(self) -> RunEvent | None:
        """The run's end: first those that name the outcomes that the jobs have, then the lowest; None before any."""
        if len(self.ends) < 2:
            return self.ends[0] if self.ends else None
        outcomes = self.outcomes()
        return min(self.ends, key=lambda event: (event.body["finishes"] != outcomes, *event.order))

    def outcomes(self) -> list[Cid]:
        """What a run.end names: the events that conclude each job, in declared order, legs in leg order."""
        return [event.cid for job in self.plan.jobs for event in self.finishes(job) or ()]

    def leg(self, key: tuple[str, int]) -> LegState:
        state = self.legs.get(key)
        if state is None:
            state = self.legs[key] = LegState()
        return state

    def job_legs(self, job: str) -> tuple[Leg, ...] | None:
        """The legs of a job: planned, or as its expand says; None while that is open."""
        planned = self.plan.jobs[job].legs
        if planned is not None:
            return planned
        expand = self.expands.get(job)
        return None if expand is None else read_legs(expand.body["legs"])

    def leg_of(self, key: tuple[str, int]) -> Leg:
        """What is planned for a leg that exists; raises IndexError or TypeError for one that does not."""
        return cast("tuple[Leg, ...]", self.job_legs(key[0]))[key[1]]

    def finish(self, key: tuple[str, int]) -> RunEvent | None:
        """The outcome of a leg: among its finishes those named by a start or an expand first, then the lowest
        (attempt, lamport, id)."""
        state = self.legs.get(key)
        if state is None or not state.finishes:
            return None
        return min(state.finishes, key=lambda event: (event.cid not in self.named, event.attempt, *event.order))

    def finishes(self, job: str) -> list[RunEvent] | None:
        """The events that conclude a job, in leg order (or its expand, if that concludes it); None while it is open."""
        expand = self.expands.get(job)
        if self.plan.jobs[job].legs is None and expand is not None and expand.body["conclusion"] is not None:
            return [expand]
        legs = self.job_legs(job)
        if legs is None:
            return None
        found = [self.finish((job, index)) for index in range(len(legs))]
        return None if None in found else cast("list[RunEvent]", found)

    def result(self, job: str) -> str | None:
        """The joint result of a job's legs; None while it is open."""
        finishes = self.finishes(job)
        return None if finishes is None else joint_result([conclusion(event) for event in finishes])

    def outputs(self, job: str) -> dict[str, str]:
        """The outputs of a job: of its legs in the order of their finishes, so the last to write a value wins."""
        merged: dict[str, str] = {}
        for event in sorted(self.finishes(job) or (), key=lambda event: event.order):
            for name, value in cast("dict[str, str]", event.body.get("outputs", {})).items():
                if value or name not in merged:
                    merged[name] = value
        return merged

    def conclusion(self) -> str | None:
        """The conclusion of the run; None while a job is open."""
        results = [self.result(job) for job in self.plan.jobs]
        return None if None in results else run_conclusion(cast("list[str]", results))


def conclusion(event: RunEvent) -> str:
    """What a job.finish, job.lost or concluding job.expand says."""
    return "failure" if event.type == "job.lost" else cast(str, event.body["conclusion"])


def joint_result(conclusions: list[str]) -> str:
    """A matrix job's result from its legs': failure over cancelled over success; skipped only if all are."""
    for word in ("failure", "cancelled", "success"):
        if word in conclusions:
            return word
    return "skipped"


def run_conclusion(results: list[str]) -> str:
    """A run's conclusion from its jobs' results: failure over cancelled; else success, skipped jobs or not."""
    for word in ("failure", "cancelled"):
        if word in results:
            return word
    return "success"
