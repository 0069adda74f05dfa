"""Concurrency groups over the network: who waits for whom, and whom a later one takes the place of.

A group belongs to a repository; its name counts without regard to case. Runs, calls and jobs have groups of their own
kind, calls one for each level of nesting: so nothing waits for what it is part of. What has started holds its group. Of
what is ready and has not started, the earliest goes first: runs in the order of their submissions, jobs of one run by
depth, as declared, by leg. What waits for the group of what it is part of is not ready, and what has started waits for
nobody of its kind: so nothing waits in a circle. It is all read from the runs that this node knows, so it comes out the
same after a restart. Source: protocols/runs.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TypeAlias, cast

import attrs

from p2pwf.core.bodies import MAX_SUPERSEDED
from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid
from p2pwf.engine.desk import Desk
from p2pwf.runs import Group, Run
from p2pwf.runs.plan import read_group
from p2pwf.runs.run import Key

Name: TypeAlias = tuple[int, str, str]
"""The kind (RUN, JOB, or a call's level), the repository, the group."""
RUN, JOB = -2, -1
Wanted: TypeAlias = Callable[[Run, str], bool]
"""Whether a job, whose needs have concluded, is to run by its `if`."""


@attrs.frozen(slots=True)
class Call:
    """A job that stands for the jobs it calls, `inside`, which are in its group together.

    By their ids: `call/build`, or with a matrix `call (a)/build`, is inside `call`.
    """

    job: str
    group: Group
    inside: tuple[str, ...]

    @property
    def level(self) -> int:
        """Higher for a call inside another."""
        return self.job.count("/")


@attrs.frozen(slots=True)
class _Shape:
    """What of a run's plan never changes: its calls that are in a group, outer ones first; of each job those that it
    is in, and its place among the jobs."""

    calls: tuple[Call, ...]
    around: dict[str, tuple[Call, ...]]
    index: dict[str, int]


@attrs.frozen(slots=True, eq=False)
class _Unit:
    """A leg, or a call, that has not ended and is in a group. `held`: it waits for the group of what it is part of."""

    run: Run
    key: Key
    group: Group
    place: tuple[tuple[int, Cid], int, int, int]
    """Where it stands in its group."""
    needs_ended: bool
    held: bool
    started: bool

    @property
    def ready(self) -> bool:
        """Whether nothing but its group keeps it from starting."""
        return self.needs_ended and not self.held


@attrs.frozen(slots=True)
class _Line:
    """All of one group: what has started, what is ready by place, and of each job one leg that is ready and has not."""

    started: tuple[_Unit, ...]
    ready: tuple[_Unit, ...]
    hopeful: tuple[_Unit, ...]

    def keeps(self, place: tuple[tuple[int, Cid], int, int, int]) -> bool:
        """Whether what stands at a place, and has not started, is to wait."""
        return bool(self.started) or (bool(self.ready) and self.ready[0].place < place)


class Groups:
    """The groups of the runs that have not ended: `see` a run whenever it is looked at, `forget` it when it ends."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._members: dict[Name, dict[Cid, Run]] = {}
        self._seen: dict[Cid, object] = {}
        self._shapes: dict[Cid, _Shape] = {}
        self._built: dict[tuple[Cid, int], dict[Name, list[_Unit]]] = {}
        self._lines: dict[Name, _Line] = {}

    # -- keeping ------------------------------------------------------------------------------------------------

    def see(self, run: Run) -> None:
        """Take in how a run stands. If that is new, all that it has to do with is to be looked at again."""
        if run.group is None and not run.plan.grouped:
            return
        standing = (run.tally.started, [*self._raw_calls(run), *self._raw_legs(run)])
        if self._seen.get(run.id) == standing:
            return
        self._seen[run.id] = standing
        names = [] if run.group is None else [_named(RUN, run, run.group)]
        names += [_named(call.level, run, call.group) for call in self._shape(run).calls]
        names += [_named(JOB, run, group) for _, group, _, _ in self._raw_legs(run)]
        for name in dict.fromkeys(names):
            self._members.setdefault(name, {})[run.id] = run
        self._changed(run)

    def forget(self, run: Run) -> None:
        """A run has ended: who waited for it may go on."""
        self._shapes.pop(run.id, None)
        if self._seen.pop(run.id, None) is None:
            return
        self._changed(run)
        for name in [name for name, members in self._members.items() if run.id in members]:
            del self._members[name][run.id]
            if not self._members[name]:
                del self._members[name]

    def _changed(self, run: Run) -> None:
        """What a run may keep waiting, directly or through others, has to be looked at again."""
        self._built.clear()
        self._lines.clear()
        reached, pending = {run.id}, [run.id]
        while pending:
            cid = pending.pop()
            for members in self._members.values():
                if cid in members:
                    pending.extend(members.keys() - reached)
                    reached.update(members)
        others = sorted(cid for cid in reached if cid != run.id and cid in self._desk.active)
        self._desk.dirty.update(dict.fromkeys(others))

    def _shape(self, run: Run) -> _Shape:
        known = self._shapes.get(run.id)
        if known is None:
            jobs = run.plan.jobs
            grouped = [(job.id, job.legs[0].concurrency) for job in jobs.values() if job.legs]
            calls = [
                Call(name, group, inside)
                for name, group in grouped
                if group is not None and (inside := tuple(job for job in jobs if is_inside(job, name)))
            ]
            calls.sort(key=lambda call: call.level)
            around: dict[str, tuple[Call, ...]] = {}
            for call in calls:
                for job in call.inside:
                    around[job] = (*around.get(job, ()), call)
            known = self._shapes[run.id] = _Shape(tuple(calls), around, {job: index for index, job in enumerate(jobs)})
        return known

    def _raw_legs(self, run: Run) -> Iterator[tuple[Key, Group, bool, bool]]:
        """The unfinished legs in a group: their group, whether their needs have ended, whether they have started."""
        calls = {call.job for call in self._shape(run).calls}
        for job in run.plan.jobs.values():
            legs = () if job.id in calls else run.tally.job_legs(job.id) or ()
            if all(leg.concurrency is None for leg in legs):
                continue
            ended = all(run.tally.result(need) is not None for need in job.needs)
            for index, leg in enumerate(legs):
                key = (job.id, index)
                if leg.concurrency is not None and run.tally.finish(key) is None:
                    state = run.tally.leg(key)
                    yield key, leg.concurrency, ended, state.attempt in state.starts

    def _raw_calls(self, run: Run) -> Iterator[tuple[Key, Call, bool, bool]]:
        """The same of calls that have not ended."""
        for call in self._shape(run).calls:
            if run.tally.result(call.job) is not None:
                continue
            inside = set(call.inside)
            needs = (need for need in run.plan.jobs[call.job].needs if need not in inside)
            ended = all(run.tally.result(need) is not None for need in needs)
            started = any(
                run.tally.leg((job, index)).starts
                for job in call.inside
                for index in range(len(run.tally.job_legs(job) or ()))
            )
            yield (call.job, 0), call, ended, started

    # -- runs ---------------------------------------------------------------------------------------------------

    def run_waits(self, run: Run) -> bool:
        """Whether a run is to wait for another one of its group."""
        if run.group is None or run.tally.started:
            return False
        others = self._members.get(_named(RUN, run, run.group), {}).values()
        return any(other is not run and self._precedes(other, run) for other in others)

    def _precedes(self, other: Run, run: Run) -> bool:
        if other.tally.started:
            return True
        return other.submission.order < run.submission.order and not self.is_superseded(other)

    def is_superseded(self, run: Run) -> bool:
        """Whether another run has taken the place of one, so that it is to be cancelled: a later one of its group, or
        an earlier one of the same tick of a schedule."""
        if not run.tally.started and self._is_second(run):
            return True
        superseders = self._desk.superseders.get(run.id)
        return superseders is not None and any(self._supersedes(event, run) for event in superseders.values())

    def _is_second(self, run: Run) -> bool:
        void = self._desk.clock.dag
        twins = [one for one in self._desk.schedules.twins(run.submission) if not void[one.cid].void]
        return any(one.order < run.submission.order for one in twins)

    def _supersedes(self, later: Event, run: Run) -> bool:
        desk, node = self._desk, self._desk.clock.dag[later.cid]
        group = read_group(cast("dict[str, Value]", later.body["concurrency"]))
        if run.group is None or node.void or later.order <= run.submission.order:
            return False
        if (RUN, cast(str, later.body["repository"]).lower(), group.name.lower()) != _named(RUN, run, run.group):
            return False
        if later.author != run.submitter and not desk.clock.roster_at(node.frontier).holds(later.author, "admin"):
            return False
        return group.cancel_in_progress or not run.tally.started

    def to_supersede(self, repository: str, group: Group) -> list[Cid]:
        """What a new submission to a group, by this node, takes the place of: what runs, if it is to be cancelled, and
        what waits, if only one may wait. Of more than may be named, the newest."""
        me, admin = self._desk.me, self._desk.roster.holds(self._desk.me, "admin")
        members = self._members.get((RUN, repository.lower(), group.name.lower()), {}).values()
        there = sorted((run for run in members if not self.is_superseded(run)), key=lambda run: run.submission.order)
        if not group.cancel_in_progress:
            if group.queue == "max":
                return []
            holds = any(run.tally.started for run in there)
            there = [run for run in (there if holds else there[1:]) if not run.tally.started]
        return [run.id for run in there if admin or run.submitter == me][-MAX_SUPERSEDED:]

    # -- jobs and calls -----------------------------------------------------------------------------------------

    def waits(self, run: Run, key: Key) -> bool:
        """Whether a leg that has not started is to wait for its own group, or for that of a call it is in."""
        return any(self._waits(kind, unit) for kind, unit in self._around(run, key))

    def gives_way(self, run: Run, key: Key, wanted: Wanted) -> bool:
        """Whether a leg is to be cancelled for a job or a call of a later run: if it runs, where that is asked for; if
        it waits, where only the newest may."""
        return any(self._gives_way(kind, unit, wanted) for kind, unit in self._around(run, key))

    def unstarted(self, run: Run, key: Key) -> list[Key]:
        """What in a group a leg is part of, itself or calls, that has not started."""
        return [unit.key for _, unit in self._around(run, key) if not unit.started]

    def _waits(self, kind: int, mine: _Unit) -> bool:
        return not mine.started and self._line(_named(kind, mine.run, mine.group)).keeps(mine.place)

    def _gives_way(self, kind: int, mine: _Unit, wanted: Wanted) -> bool:
        waits = mine.ready and self._waits(kind, mine)
        return any(
            (other.group.cancel_in_progress or (other.group.queue == "single" and waits))
            and _may_replace(other.run, mine.run)
            and wanted(other.run, other.key[0])
            for other in self._line(_named(kind, mine.run, mine.group)).hopeful
        )

    def _around(self, run: Run, key: Key) -> list[tuple[int, _Unit]]:
        """What an unfinished leg is part of and that is in a group: calls, outer ones first, and itself."""
        if not run.plan.grouped:
            return []
        places = [(call.level, (call.job, 0), call.group) for call in self._shape(run).around.get(key[0], ())]
        leg = run.leg(key)
        if leg is not None and leg.concurrency is not None:
            places.append((JOB, key, leg.concurrency))
        found = []
        for kind, where, group in places:
            units = self._units(run, kind).get(_named(kind, run, group), ())
            found += [(kind, unit) for unit in units if unit.key == where]
        return found

    def _line(self, name: Name) -> _Line:
        line = self._lines.get(name)
        if line is None:
            units = [unit for run in self._members.get(name, {}).values() for unit in self._units(run, name[0])[name]]
            ready = sorted((unit for unit in units if unit.ready), key=lambda unit: unit.place)
            hopeful = {(unit.run.id, unit.key[0]): unit for unit in ready if not unit.started}
            started = tuple(unit for unit in units if unit.started)
            line = self._lines[name] = _Line(started, tuple(ready), tuple(hopeful.values()))
        return line

    def _units(self, run: Run, kind: int) -> dict[Name, list[_Unit]]:
        """Of one kind, all of a run that is in a group, by name. It needs the lines of calls further out only."""
        known = self._built.get((run.id, kind))
        if known is not None:
            return known
        held = self.run_waits(run)
        found: dict[Name, list[_Unit]] = defaultdict(list)
        if kind == JOB:
            for key, group, ended, started in self._raw_legs(run):
                unit = _Unit(run, key, group, self._place(run, key), ended, held or self._held(run, key[0]), started)
                found[_named(kind, run, group)].append(unit)
        else:
            for key, call, ended, started in self._raw_calls(run):
                if call.level == kind:
                    place = self._place(run, (call.inside[0], 0))
                    unit = _Unit(run, key, call.group, place, ended, held or self._held(run, call.job), started)
                    found[_named(kind, run, call.group)].append(unit)
        self._built[run.id, kind] = found
        return found

    def _held(self, run: Run, job: str) -> bool:
        """Whether a call that a job is in waits for its group."""
        for call in self._shape(run).around.get(job, ()):
            units = self._units(run, call.level).get(_named(call.level, run, call.group), ())
            if any(unit.key[0] == call.job and self._waits(call.level, unit) for unit in units):
                return True
        return False

    def _place(self, run: Run, key: Key) -> tuple[tuple[int, Cid], int, int, int]:
        return run.submission.order, run.plan.jobs[key[0]].depth, self._shape(run).index[key[0]], key[1]


def is_inside(job: str, call: str) -> bool:
    """Whether a job, by its id, is one of those that another stands for."""
    return job.startswith((f"{call}/", f"{call} ("))


def _named(kind: int, run: Run, group: Group) -> Name:
    return kind, cast(str, run.submission.body["repository"]).lower(), group.name.lower()


def _may_replace(later: Run, run: Run) -> bool:
    """Only a later run of the same submitter, or of an admin, takes the place of another."""
    if later is run or later.submission.order <= run.submission.order:
        return False
    return later.submitter == run.submitter or later.roster.holds(later.submitter, "admin")
