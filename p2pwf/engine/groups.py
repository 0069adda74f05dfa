"""Concurrency groups over the network: who waits for whom, and whom a later one takes the place of.

A group belongs to a repository; its name counts without regard to case. Runs and jobs have groups of their own kind,
so a job never waits for the run that it is in. What has started holds its group. Of what is ready and has not started,
the earliest goes first: runs in the order of their submissions, jobs of one run by depth, as declared, by leg. What
waits for its run's group is not ready, and what has started waits for nobody: so nothing waits in a circle. It is all
read from the runs that this node knows, so it comes out the same after a restart. Source: protocols/runs.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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

Name: TypeAlias = tuple[str, str]
Wanted: TypeAlias = Callable[[Run, str], bool]
"""Whether a job, whose needs have concluded, is to run by its `if`."""


@attrs.frozen(slots=True)
class _Leg:
    """An unfinished leg of a group. `index`: of its job, as declared. `held`: its run waits for its own group."""

    run: Run
    key: Key
    group: Group
    index: int
    held: bool

    @property
    def place(self) -> tuple[tuple[int, Cid], int, int, int]:
        """Where it stands in its group."""
        return self.run.submission.order, self.run.plan.jobs[self.key[0]].depth, self.index, self.key[1]

    @property
    def ready(self) -> bool:
        """Whether nothing but its group keeps it from starting."""
        needs = self.run.plan.jobs[self.key[0]].needs
        return not self.held and all(self.run.tally.result(need) is not None for need in needs)

    @property
    def started(self) -> bool:
        """Whether its newest attempt has started."""
        state = self.run.tally.leg(self.key)
        return state.attempt in state.starts


class Groups:
    """The groups of the runs that have not ended: `see` a run whenever it is looked at, `forget` it when it ends."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._runs: dict[Name, dict[Cid, Run]] = {}
        self._jobs: dict[Name, dict[Cid, Run]] = {}
        self._seen: dict[Cid, object] = {}

    # -- keeping ------------------------------------------------------------------------------------------------

    def see(self, run: Run) -> None:
        """Take in how a run stands. If that is new to its groups, the others in them are to be looked at again."""
        if run.group is None and not run.plan.grouped:
            return
        legs = list(self._legs(run))
        standing = (run.tally.started, [(leg.key, leg.ready, leg.started) for leg in legs])
        if self._seen.get(run.id) == standing:
            return
        self._seen[run.id] = standing
        if run.group is not None:
            self._put(self._runs, _named(run, run.group), run)
        for name in dict.fromkeys(_named(run, leg.group) for leg in legs):
            self._put(self._jobs, name, run)

    def _put(self, groups: dict[Name, dict[Cid, Run]], name: Name, run: Run) -> None:
        members = groups.setdefault(name, {})
        members[run.id] = run
        self._stir(members, run)

    def _stir(self, members: Iterable[Cid], run: Run) -> None:
        self._desk.dirty.update(dict.fromkeys(cid for cid in members if cid != run.id and cid in self._desk.active))

    def forget(self, run: Run) -> None:
        """A run has ended: who waited for it may go on."""
        if self._seen.pop(run.id, None) is None:
            return
        for groups in (self._runs, self._jobs):
            for name in [name for name, members in groups.items() if run.id in members]:
                members = groups[name]
                del members[run.id]
                self._stir(members, run)
                if not members:
                    del groups[name]

    # -- runs ---------------------------------------------------------------------------------------------------

    def run_waits(self, run: Run) -> bool:
        """Whether a run is to wait for another one of its group."""
        if run.group is None or run.tally.started:
            return False
        others = self._runs.get(_named(run, run.group), {}).values()
        return any(other is not run and self._precedes(other, run) for other in others)

    def _precedes(self, other: Run, run: Run) -> bool:
        if other.tally.started:
            return True
        return other.submission.order < run.submission.order and not self.is_superseded(other)

    def is_superseded(self, run: Run) -> bool:
        """Whether a later run has taken the place of one: it is to be cancelled."""
        superseders = self._desk.superseders.get(run.id)
        return superseders is not None and any(self._supersedes(event, run) for event in superseders.values())

    def _supersedes(self, later: Event, run: Run) -> bool:
        desk, node = self._desk, self._desk.clock.dag[later.cid]
        group = read_group(cast("dict[str, Value]", later.body["concurrency"]))
        if run.group is None or node.void or later.order <= run.submission.order:
            return False
        if (cast(str, later.body["repository"]).lower(), group.name.lower()) != _named(run, run.group):
            return False
        if later.author != run.submitter and not desk.clock.roster_at(node.frontier).holds(later.author, "admin"):
            return False
        return group.cancel_in_progress or not run.tally.started

    def to_supersede(self, repository: str, group: Group) -> list[Cid]:
        """What a new submission to a group, by this node, takes the place of: what runs, if it is to be cancelled, and
        what waits, if only one may wait. Of more than may be named, the newest."""
        me, admin = self._desk.me, self._desk.roster.holds(self._desk.me, "admin")
        members = self._runs.get((repository.lower(), group.name.lower()), {}).values()
        there = sorted((run for run in members if not self.is_superseded(run)), key=lambda run: run.submission.order)
        if not group.cancel_in_progress:
            if group.queue == "max":
                return []
            holds = any(run.tally.started for run in there)
            there = [run for run in (there if holds else there[1:]) if not run.tally.started]
        return [run.id for run in there if admin or run.submitter == me][-MAX_SUPERSEDED:]

    # -- jobs ---------------------------------------------------------------------------------------------------

    def leg_waits(self, run: Run, key: Key) -> bool:
        """Whether a leg whose run waits for nobody is to wait for another leg of its own group."""
        mine = self._leg(run, key)
        return mine is not None and self._waits(mine)

    def _waits(self, mine: _Leg) -> bool:
        return any(leg.started or (leg.ready and leg.place < mine.place) for leg in self._others(mine))

    def gives_way(self, run: Run, key: Key, wanted: Wanted) -> bool:
        """Whether a leg is to be cancelled for a job of a later run: one that runs, if that is asked for; one that
        waits, if only the newest may."""
        mine = self._leg(run, key)
        if mine is None:
            return False
        waits = not mine.started and mine.ready and self._waits(mine)
        return any(
            (other.group.cancel_in_progress or (other.group.queue == "single" and waits))
            and other.ready
            and not other.started
            and _may_replace(other.run, run)
            and wanted(other.run, other.key[0])
            for other in self._others(mine)
        )

    def _others(self, mine: _Leg) -> Iterator[_Leg]:
        name = _named(mine.run, mine.group)
        for run in self._jobs.get(name, {}).values():
            for leg in self._legs(run):
                if _named(run, leg.group) == name and (leg.key != mine.key or run is not mine.run):
                    yield leg

    def _legs(self, run: Run) -> Iterator[_Leg]:
        """The unfinished legs of a run that are in a group."""
        held = self.run_waits(run)
        for number, job in enumerate(run.plan.jobs):
            for index, leg in enumerate(run.tally.job_legs(job) or ()):
                if leg.concurrency is not None and run.tally.finish((job, index)) is None:
                    yield _Leg(run, (job, index), leg.concurrency, number, held)

    def _leg(self, run: Run, key: Key) -> _Leg | None:
        leg = run.leg(key)
        if leg is None or leg.concurrency is None:
            return None
        return _Leg(run, key, leg.concurrency, list(run.plan.jobs).index(key[0]), self.run_waits(run))


def _named(run: Run, group: Group) -> Name:
    return cast(str, run.submission.body["repository"]).lower(), group.name.lower()


def _may_replace(later: Run, run: Run) -> bool:
    """Only a later run of the same submitter, or of an admin, takes the place of another."""
    if later is run or later.submission.order <= run.submission.order:
        return False
    return later.submitter == run.submitter or later.roster.holds(later.submitter, "admin")
