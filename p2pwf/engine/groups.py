"""Concurrency groups over the network: who waits for whom, and whom a later one takes the place of.

A group belongs to a repository; its name counts without regard to case. Runs and jobs have groups of their own kind,
so a job never waits for the run it is in. Of what has not started, the earlier goes first: runs in the order of their
submissions, jobs of one run by depth, as declared, by leg. What has started waits for nobody. So nothing waits in a
circle. It is all read from the runs that this node knows: two may run at once where messages did not arrive, and a
run that comes late never stops what has started. Source: protocols/runs.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeAlias, cast

import attrs

from p2pwf.core.bodies import MAX_SUPERSEDED
from p2pwf.core.dagcbor import Value
from p2pwf.core.ids import Cid
from p2pwf.engine.desk import Desk
from p2pwf.runs import Run
from p2pwf.runs.plan import Group, read_group
from p2pwf.runs.run import Key

Name: TypeAlias = tuple[str, str]
Wanted: TypeAlias = Callable[[Run, str], bool]
"""Whether a job, whose needs have concluded, is to run by its `if`."""


@attrs.frozen(slots=True)
class _Leg:
    """An unfinished leg of a group."""

    run: Run
    key: Key
    group: Group
    index: int
    """Of its job, as declared."""

    @property
    def place(self) -> tuple[tuple[int, Cid], int, int, int]:
        """Where it stands in its group."""
        return self.run.submission.order, self.run.plan.jobs[self.key[0]].depth, self.index, self.key[1]

    @property
    def ready(self) -> bool:
        """Whether its needs have concluded."""
        return all(self.run.tally.result(need) is not None for need in self.run.plan.jobs[self.key[0]].needs)

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
        self._replaced_by: dict[Cid, dict[Cid, Run]] = {}

    # -- keeping ------------------------------------------------------------------------------------------------

    def see(self, run: Run) -> None:
        """Take in how a run stands. If that is new to its groups, the others in them are to be looked at again."""
        group = _group_of(run)
        legs = list(_legs(run))
        if group is None and not legs and run.id not in self._seen:
            return
        standing = (run.tally.started, [(leg.key, leg.ready, leg.started) for leg in legs])
        if self._seen.get(run.id) == standing:
            return
        self._seen[run.id] = standing
        if group is not None:
            self._put(self._runs, _named(run, group), run)
            for cid in supersedes(run.submission.body):
                self._replaced_by.setdefault(cid, {})[run.id] = run
                if cid in self._desk.active:
                    self._desk.dirty[cid] = None
        names = {_named(run, leg.group) for leg in legs}
        self._drop(self._jobs, run, names)  # groups of which the last leg of it has finished
        for name in names:
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
        self._replaced_by.pop(run.id, None)
        for groups in (self._runs, self._jobs):
            self._drop(groups, run, ())

    def _drop(self, groups: dict[Name, dict[Cid, Run]], run: Run, but: Collection[Name]) -> None:
        for name in [name for name, members in groups.items() if run.id in members and name not in but]:
            members = groups[name]
            del members[run.id]
            self._stir(members, run)
            if not members:
                del groups[name]

    # -- asking -------------------------------------------------------------------------------------------------

    def waits(self, run: Run, key: Key) -> bool:
        """Whether a leg that has not started is to wait, for another run of its run's group or a job of its own."""
        group = _group_of(run)
        if group is not None and not run.tally.started:
            for other in self._runs.get(_named(run, group), {}).values():
                if other is not run and (other.tally.started or other.submission.order < run.submission.order):
                    return True
        mine = _leg(run, key)
        if mine is None:
            return False
        others = (leg for leg in self._others(mine) if leg.key != key or leg.run is not run)
        return any(leg.started or leg.place < mine.place for leg in others)

    def is_replaced(self, run: Run) -> bool:
        """Whether a run is to be cancelled for a later one."""
        return any(self._replaces(other, run) for other in self._replaced_by.get(run.id, {}).values())

    def gives_way(self, run: Run, key: Key, wanted: Wanted) -> bool:
        """Whether a leg that has not finished is to be cancelled for a job of a later run."""
        mine = _leg(run, key)
        return mine is not None and any(
            (other.group.cancel_in_progress or (other.group.queue == "single" and not mine.started))
            and other.ready
            and wanted(other.run, other.key[0])
            for other in self._others(mine)
            if _may_replace(other.run, run)
        )

    def _others(self, mine: _Leg) -> Iterator[_Leg]:
        name = _named(mine.run, mine.group)
        for other in self._jobs.get(name, {}).values():
            for leg in _legs(other):
                if _named(other, leg.group) == name:
                    yield leg

    def _replaces(self, later: Run, run: Run) -> bool:
        group, own = _group_of(later), _group_of(run)
        if group is None or own is None or _named(later, group) != _named(run, own) or not _may_replace(later, run):
            return False
        return group.cancel_in_progress or not run.tally.started

    def replaced(self, repository: str, group: Group) -> list[Cid]:
        """What a new submission to a group, by this node, takes the place of: see `supersedes` in protocols/events.md.

        Of more than may be named, the newest.
        """
        me, admin = self._desk.me, self._desk.roster.holds(self._desk.me, "admin")
        found = [
            run
            for run in self._runs.get((repository.lower(), group.name.lower()), {}).values()
            if (run.submitter == me or admin)
            and (group.cancel_in_progress or (group.queue == "single" and not run.tally.started))
        ]
        found.sort(key=lambda run: run.submission.order)
        return [run.id for run in found[-MAX_SUPERSEDED:]]


def supersedes(body: Mapping[str, Value]) -> list[Cid]:
    """The runs that a submission names as superseded."""
    concurrency = cast("dict[str, Value] | None", body["concurrency"])
    return [] if concurrency is None else cast("list[Cid]", concurrency["supersedes"])


def _group_of(run: Run) -> Group | None:
    return read_group(cast("dict[str, Value] | None", run.submission.body["concurrency"]))


def _named(run: Run, group: Group) -> Name:
    return cast(str, run.submission.body["repository"]).lower(), group.name.lower()


def _legs(run: Run) -> Iterator[_Leg]:
    """The unfinished legs of a run that are in a group."""
    for number, job in enumerate(run.plan.jobs):
        for index, leg in enumerate(run.tally.job_legs(job) or ()):
            if leg.concurrency is not None and run.tally.finish((job, index)) is None:
                yield _Leg(run, (job, index), leg.concurrency, number)


def _leg(run: Run, key: Key) -> _Leg | None:
    leg = run.leg(key)
    if leg is None or leg.concurrency is None:
        return None
    return _Leg(run, key, leg.concurrency, list(run.plan.jobs).index(key[0]))


def _may_replace(later: Run, run: Run) -> bool:
    """Only a later run of the same submitter, or of an admin, takes the place of another."""
    if later is run or later.submission.order <= run.submission.order:
        return False
    return later.submitter == run.submitter or later.roster.holds(later.submitter, "admin")
