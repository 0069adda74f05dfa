"""What must hold after any history, checked from what the world saw and what every node says.

I1 no acknowledged submission is lost. I2 peers that reach each other come to equal event sets, and those give equal
state: members, runs, owners, outcomes; that each job instance has one outcome (I3) is part of it. I4 only members with
the run role ran anything. I5 no peer ran an attempt twice (peers that were never up together may each have named an
attempt 2). I6 every run ends within a bound after faults stop. I8 nobody ran what its own policy refuses. I10 nobody
wrote two events of one number but machines that were made to, and those are members no more. I11 nobody has a role that
no admin gave it. I13 nobody started a job without a box of a secret that it names, and in the end all who run jobs have
one. I15 where history is pruned, what ended long ago is.

And where no partition, pause or hostile member excuses it: I5b no two peers ran one job instance together. I7 of
one concurrency group no two runs or jobs were under way together, and the newest is never dropped. I9 of each tick of a
schedule one run ran, in time. I12 a job starts after those that it needs have ended, and no more of its legs run at
once than it allows. Where nobody is gone for longer than a stall, I14 nobody takes over what is silent. An honest node
is blamed by nobody, and raises no alarm.

Knows the world's log, blocks as they lie on disks, and snapshots; of the engine nothing. What is promised is promised
to honest members: a machine that lied, or was removed, is neither asked nor answered for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise
from math import inf
from typing import Any, Protocol, cast

import attrs

from p2pwf.core.events import Event, SignedBlock, parse
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine import Engine
from p2pwf.engine.outputs import Alarm, Misbehaved, StartJob
from p2pwf.testing.machines import Execution
from p2pwf.testing.sim import EPOCH
from p2pwf.testing.witness import Snapshot, look

LATE_MS = 60_000
"""A tick may be submitted so much after its time: the members before the one that does so may all be gone."""
DAY_MS = 24 * 3600 * 1000
SLOW_DAYS = 60
"""What ended so long before the history that is kept has to be pruned: machines are away for weeks."""
SHOWN = 200
"""Characters of a state that a violation prints."""


@attrs.frozen(slots=True)
class Violation:
    """An invariant that did not hold, and the seed that shows it."""

    invariant: str
    what: str
    seed: int

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what} (seed {self.seed})"


Found = Iterator[tuple[str, str]]


class Judged(Protocol):
    """One machine, as far as it is looked at: a simulated shell around an engine, or a whole node."""

    @property
    def honest(self) -> bool: ...
    @property
    def engine(self) -> Engine | None: ...
    @property
    def blocks(self) -> Mapping[Cid, SignedBlock]: ...
    @property
    def gone(self) -> bool: ...
    @property
    def restored(self) -> bool: ...
    @property
    def doubled(self) -> bool: ...
    @property
    def history_days(self) -> int: ...
    def policy(self, submission: Event, /) -> str | None: ...


class History(Protocol):
    """A world at its end, as far as it is looked at."""

    @property
    def seed(self) -> int: ...
    @property
    def time(self) -> float: ...
    @property
    def haste(self) -> float: ...
    @property
    def pruned(self) -> Mapping[Cid, SignedBlock]: ...
    @property
    def nodes(self) -> Mapping[PeerId, Judged]: ...
    @property
    def executions(self) -> list[Execution]: ...
    @property
    def acknowledged(self) -> Mapping[Cid, tuple[PeerId, int]]: ...
    @property
    def granted(self) -> Mapping[PeerId, frozenset[str]]: ...
    @property
    def alarms(self) -> list[tuple[PeerId, Alarm]]: ...
    @property
    def misbehaved(self) -> list[tuple[PeerId, Misbehaved]]: ...
    @property
    def unopened(self) -> list[StartJob]: ...


class _Evidence:
    """What there is to judge by."""

    def __init__(self, world: History) -> None:
        self.world = world
        self.now_ms = now_ms = EPOCH + int(world.time * 1000 * world.haste)
        self.snapshots: list[Snapshot] = [
            look(node.engine, now_ms) for node in world.nodes.values() if node.honest and node.engine is not None
        ]
        self._submissions: dict[Cid, Event | None] = {}

    def submission(self, run: Cid) -> Event | None:
        """The event that a run is named by, from whichever disk has it."""
        if run not in self._submissions:
            held = [node.blocks[run] for node in self.world.nodes.values() if run in node.blocks]
            found = self.world.pruned.get(run) or next((signed for signed in held if signed.signature), None)
            self._submissions[run] = None if found is None else parse(found)
        return self._submissions[run]

    def plan(self, run: Cid) -> Mapping[str, Mapping[str, Any]]:
        """The jobs of a run by id, as its submission has them."""
        event = self.submission(run)
        plan = {"jobs": []} if event is None else cast("dict[str, Any]", event.body["plan"])
        return {job["id"]: job for job in plan["jobs"]}

    def group_of(self, run: Cid) -> tuple[str, Mapping[str, Any]] | None:
        """A run's concurrency group, with the repository that it is in."""
        event = self.submission(run)
        if event is None or event.body["concurrency"] is None:
            return None
        return str(event.body["repository"]).lower(), cast("Mapping[str, Any]", event.body["concurrency"])

    def job_group(self, run: Cid, job: str, leg: int) -> tuple[str, str] | None:
        """The concurrency group of a job whose legs stand in the plan."""
        event = self.submission(run)
        legs = self.plan(run)[job]["legs"] if event is not None else None
        if event is None or not legs or legs[leg]["concurrency"] is None:
            return None
        return str(event.body["repository"]).lower(), str(legs[leg]["concurrency"]["group"]).lower()


def check(world: History, exclusive: bool, steady: bool = False) -> list[Violation]:
    """The violations in a world that has been left in peace long enough for everything to end."""
    evidence = _Evidence(world)
    found = [*_lost_or_open(evidence), *_diverged(evidence), *_forked(evidence), *_ran_wrongly(evidence)]
    if exclusive:
        found.extend(_ran_together(world.executions))
        found.extend(_broke_groups(evidence))
        found.extend(_broke_schedules(evidence))
        found.extend(_broke_plans(evidence))
    if steady:
        found.extend(_took_over_in_vain(evidence))
    found.extend(_unsealed(evidence))
    found.extend(_kept_too_long(evidence))
    found.extend(("I13", f"{start.attempt} was started without a box") for start in world.unopened)
    found.extend(_complained(world))
    return [Violation(invariant, what, world.seed) for invariant, what in found]


def _lost_or_open(evidence: _Evidence) -> Found:
    nodes = evidence.world.nodes
    for snapshot in evidence.snapshots:
        for cid, (where, copies) in evidence.world.acknowledged.items():
            keeper = nodes[where]
            if cid not in snapshot.runs and keeper.honest and not (copies == 1 and (keeper.gone or keeper.restored)):
                yield "I1", f"acknowledged run {cid} is unknown to {snapshot.peer}"
        for cid, run in snapshot.runs.items():
            if run["conclusion"] is None:
                yield "I6", f"run {cid} has not ended at {snapshot.peer}"


def _diverged(evidence: _Evidence) -> Found:
    first, *others = evidence.snapshots
    for other in others:
        if other.events != first.events:
            yield "I2", f"{other.peer} holds other events than {first.peer}"
        if other.settings != first.settings:
            yield "I2", f"the secrets and variables are not the same at {other.peer} and {first.peer}"
        if other.members != first.members:
            yield "I2", f"the members are {other.members} at {other.peer}, {first.members} at {first.peer}"
        for cid in other.owners.keys() & first.owners.keys():
            if other.owners[cid] != first.owners[cid]:
                yield (
                    "I2",
                    f"{cid} is owned by {other.owners[cid]} at {other.peer}, {first.owners[cid]} at {first.peer}",
                )
        for cid in other.runs.keys() | first.runs.keys():
            here, there = other.runs.get(cid), first.runs.get(cid)
            if here != there:
                yield "I2", f"{cid} is {_unlike(here, there)} at {other.peer}, {_unlike(there, here)} at {first.peer}"


def _unlike(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """Of two accounts of a run, what the first says otherwise."""
    if one is None or other is None:
        return "there" if one is not None else "unknown"
    return str({name: value for name, value in one.items() if value != other.get(name)})[:SHOWN]


def _forked(evidence: _Evidence) -> Found:
    for snapshot in evidence.snapshots:
        for author in snapshot.forked:
            if not evidence.world.nodes[author].doubled:
                yield "I10", f"{snapshot.peer} knows that {author} forked"
            elif author in snapshot.members:
                yield "I10", f"{author} forked, and is still a member at {snapshot.peer}"
        for peer, roles in snapshot.members.items():
            if not roles <= evidence.world.granted.get(peer, frozenset()):
                yield "I11", f"{peer} has the roles {sorted(roles)} at {snapshot.peer}"


def _ran_wrongly(evidence: _Evidence) -> Found:
    nodes, seen = evidence.world.nodes, set()
    for execution in evidence.world.executions:
        node = nodes[execution.peer]
        if not node.honest:
            continue
        who = (execution.attempt, execution.peer)
        if who in seen and not node.restored:
            yield "I5", f"{execution.attempt} was started twice by {execution.peer}"
        seen.add(who)
        submission = evidence.submission(execution.attempt.run)
        if submission is not None and node.policy(submission) is not None:
            yield "I8", f"{execution.peer} ran {execution.attempt}, which its policy refuses"
        if not any("run" in snapshot.members.get(execution.peer, ()) for snapshot in evidence.snapshots):
            yield "I4", f"{execution.peer} ran {execution.attempt} without the role"


def _took_over_in_vain(evidence: _Evidence) -> Found:
    """Nobody was ever gone for long."""
    for signed in next(iter(evidence.world.nodes.values())).blocks.values():
        event = parse(signed)
        if event.type == "job.reassign" and event.body["reason"] == "silent":
            yield "I14", f"{event.author} took over what was not silent: {event.cid.text}"


def _ran_together(executions: list[Execution]) -> Found:
    by_leg: dict[object, list[Execution]] = {}
    for execution in executions:
        attempt = execution.attempt
        by_leg.setdefault((attempt.run, attempt.job, attempt.leg), []).append(execution)
    for together in by_leg.values():
        for one, other in combinations(sorted(together, key=lambda execution: execution.started), 2):
            if one.ended is None or other.started < one.ended:
                yield "I5b", f"{one.attempt} and {other.attempt} ran at the same time"


def _broke_plans(evidence: _Evidence) -> Found:
    """Needs before jobs, and no more legs at once than the plan allows."""
    by_job: dict[tuple[Cid, str], list[Execution]] = {}
    for execution in evidence.world.executions:
        by_job.setdefault((execution.attempt.run, execution.attempt.job), []).append(execution)
    for (run, job), executions in by_job.items():
        planned = evidence.plan(run)[job]
        first = min(execution.started for execution in executions)
        for need in planned["needs"]:
            ended = [_end_of(execution) for execution in by_job.get((run, need), ())]
            if ended and min(ended) > first:
                yield "I12", f"{job} of {run} started before {need} had ended"
        most = planned["max_parallel"]
        for execution in executions if most else ():
            beside = sum(one.started <= execution.started < _end_of(one) for one in executions)
            if beside > most:
                yield "I12", f"{beside} legs of {job} of {run} ran at once, {most} may"


def _end_of(execution: Execution) -> float:
    return inf if execution.ended is None else execution.ended


def _broke_schedules(evidence: _Evidence) -> Found:
    """Of each tick exactly one run, in time."""
    started = {execution.attempt.run for execution in evidence.world.executions}
    for schedule in evidence.snapshots[0].schedules:
        for tick in schedule.due:
            if tick not in schedule.ticks:
                yield "I9", f"the tick {tick} of {schedule.name} was missed"
        for tick, runs in schedule.ticks.items():
            ran = [cid for cid, _ in runs if cid in started]
            if len(ran) != 1:
                yield "I9", f"{len(ran)} of {len(runs)} runs of the tick {tick} of {schedule.name} ran"
            if min(time for _, time in runs) > tick * 1000 + LATE_MS:
                yield "I9", f"the tick {tick} of {schedule.name} ran late"


def _broke_groups(evidence: _Evidence) -> Found:
    """Runs of a group from their first job to their last, and jobs of a group, must not overlap."""
    held: dict[tuple[str, str, str], dict[object, list[tuple[float, float]]]] = {}
    for execution in evidence.world.executions:
        attempt = execution.attempt
        times = execution.started, _end_of(execution)
        grouped = evidence.group_of(attempt.run)
        if grouped is not None:
            name = "run", grouped[0], str(grouped[1]["group"]).lower()
            held.setdefault(name, {}).setdefault(attempt.run, []).append(times)
        within = evidence.job_group(attempt.run, attempt.job, attempt.leg)
        if within is not None:
            key = attempt.run, attempt.job, attempt.leg
            held.setdefault(("job", *within), {}).setdefault(key, []).append(times)
    for name, holders in held.items():
        spans: list[tuple[float, float, str]] = []
        for who, held_for in holders.items():
            whole = name[0] == "run"  # a run holds its group from its first job to its last, a job for each attempt
            parts = [(min(one[0] for one in held_for), max(one[1] for one in held_for))] if whole else held_for
            spans += [(start, end, str(who)) for start, end in parts]
        spans.sort()
        for one, other in pairwise(spans):
            if other[0] < one[1]:
                yield "I7", f"{one[2]} and {other[2]} were both running in the group {name}"
    yield from _dropped_newest(evidence)


def _dropped_newest(evidence: _Evidence) -> Found:
    snapshot = evidence.snapshots[0]
    newest: dict[tuple[str, str], Event] = {}
    submissions = (event for cid in snapshot.runs if (event := evidence.submission(cid)) is not None)
    for event in sorted(submissions, key=lambda event: (event.lamport, event.cid)):
        grouped = evidence.group_of(event.cid)
        if grouped is not None:
            newest[grouped[0], str(grouped[1]["group"]).lower()] = event
    for group, event in newest.items():
        run = snapshot.runs[event.cid]
        plan = evidence.plan(event.cid).values()
        job_groups = any(leg["concurrency"] is not None for job in plan for leg in job["legs"] or ())
        if not run["cancel_requested"] and not job_groups and run["conclusion"] != "success":
            yield "I7", f"{event.cid} is the newest of {group} and came to {run['conclusion']}"


def _unsealed(evidence: _Evidence) -> Found:
    for snapshot in evidence.snapshots:
        able = {peer for peer, roles in snapshot.members.items() if "run" in roles}
        for secret, peers in snapshot.boxes.items():
            if not able <= peers:
                yield "I13", f"{sorted(able - peers)} cannot open {secret} at {snapshot.peer}"


def _kept_too_long(evidence: _Evidence) -> Found:
    days = max(node.history_days for node in evidence.world.nodes.values())
    for snapshot in evidence.snapshots if days else ():
        for cid, run in snapshot.runs.items():
            age = evidence.now_ms - (run["completed_at"] or evidence.now_ms)
            if cid not in snapshot.pruned and age > (days + SLOW_DAYS) * DAY_MS:
                yield "I15", f"{cid} ended {age // DAY_MS} days ago, and is whole at {snapshot.peer}"


def _complained(world: History) -> Found:
    for peer, alarm in world.alarms:
        if world.nodes[peer].honest:
            yield "alarm", f"{peer}: {alarm.message}"
    for peer, one in world.misbehaved:
        if world.nodes[peer].honest and _honest(world, one.peer):
            yield "blame", f"{peer} blames {one.peer}: {one.reason}"


def _honest(world: History, peer: PeerId) -> bool:
    node = world.nodes.get(peer)
    return node is not None and node.honest
