"""What must hold after any history, checked from what the world saw and what every node says: invariants I1 to I10.

I1 no acknowledged submission is lost. I2 equal event sets give equal state, and peers that reach each other come to
equal sets. I4 only members with the run role ran anything. I5 no peer ran an attempt twice (peers that were never up
together may each have named an attempt 2). I5b, where no partition or pause excuses it: no two peers ran one job
instance at the same time; and never two runs, or two jobs, of one concurrency group (I7), of which the newest is never
dropped. I6 every run ends within a bound after faults stop. That each job instance has one outcome
(I3) is part of the state that I2 compares. I8 nobody ran what its own policy refuses. I9 of each tick of a schedule
one run ran, in time. I10 nobody wrote two events of one number.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import inf

import attrs

from p2pwf.core.ids import PeerId
from p2pwf.engine import Engine
from p2pwf.runs import Run
from p2pwf.testing.machines import Execution
from p2pwf.testing.sim import EPOCH, World


@attrs.frozen(slots=True)
class Violation:
    """An invariant that did not hold, and the seed that shows it."""

    invariant: str
    what: str
    seed: int

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what} (seed {self.seed})"


def state_of(engine: Engine) -> dict[str, object]:
    """All that a node says about its runs, as comparable values."""
    state: dict[str, object] = {"digest": engine.desk.clock.dag.digest().hex()}
    settings = engine.desk.settings
    for slot, event in (*settings.secrets.items(), *settings.variables.items()):
        state[f"{event.type} {slot}"] = event.cid.text
    for run in engine.desk.runs.values():
        tally = run.tally
        legs = []
        for job in run.plan.jobs:
            for index in range(len(tally.job_legs(job) or ())):
                finish = tally.finish((job, index))
                leg = tally.leg((job, index))
                legs.append((job, index, leg.attempt, run.owner((job, index)), finish and finish.cid.text))
        state[run.id.text] = (tally.end and tally.end.cid.text, tally.conclusion(), tuple(legs))
    return state


def check(world: World, exclusive: bool) -> list[Violation]:
    """The violations in a world that has been left in peace long enough for everything to end."""
    engines = {node.peer: node.engine for node in world.nodes.values() if node.engine is not None}
    found = [*_lost_or_open(world, engines), *_diverged(engines), *_forked(engines), *_ran_wrongly(world, engines)]
    if exclusive:
        found.extend(_ran_together(world.executions))
        found.extend(_broke_groups(world, engines))
        found.extend(_broke_schedules(world, engines))
    found.extend(("secret", f"{start.attempt} was started without a box") for start in world.unopened)
    found.extend(("alarm", f"{peer}: {alarm.message}") for peer, alarm in world.alarms)
    found.extend(("blame", f"{peer} blames {one.peer}: {one.reason}") for peer, one in world.misbehaved)
    return [Violation(invariant, what, world.seed) for invariant, what in found]


Found = Iterator[tuple[str, str]]


def _lost_or_open(world: World, engines: dict[PeerId, Engine]) -> Found:
    for peer, engine in engines.items():
        for cid, (where, copies) in world.acknowledged.items():
            keeper = world.nodes[where]
            if copies == 1 and (keeper.gone or keeper.restored) and cid not in engine.desk.runs:
                continue  # the one disk that it was promised on is gone
            if cid not in engine.desk.runs:
                yield "I1", f"acknowledged run {cid} is unknown to {peer}"
            elif engine.desk.runs[cid].tally.end is None:
                yield "I6", f"run {cid} has not ended at {peer}"


def _diverged(engines: dict[PeerId, Engine]) -> Found:
    states = {peer: state_of(engine) for peer, engine in engines.items()}
    first = next(iter(states))
    for peer, state in states.items():
        for name in state.keys() | states[first].keys():
            if state.get(name) != states[first].get(name):
                yield "I2", f"{name} is {state.get(name)} at {peer}, {states[first].get(name)} at {first}"


def _forked(engines: dict[PeerId, Engine]) -> Found:
    for peer, engine in engines.items():
        for author in engine.desk.clock.dag.forked():
            yield "I10", f"{peer} knows that {author} forked"


def _ran_wrongly(world: World, engines: dict[PeerId, Engine]) -> Found:
    seen = set()
    for execution in world.executions:
        who = (execution.attempt, execution.peer)
        if who in seen and not world.nodes[execution.peer].restored:
            yield "I5", f"{execution.attempt} was started twice by {execution.peer}"
        seen.add(who)
        run = next((engine.desk.runs.get(execution.attempt.run) for engine in engines.values()), None)
        if run is not None and world.nodes[execution.peer].policy(run.submission) is not None:
            yield "I8", f"{execution.peer} ran {execution.attempt}, which its policy refuses"
        if not any(engine.desk.roster.holds(execution.peer, "run") for engine in engines.values()):
            yield "I4", f"{execution.peer} ran {execution.attempt} without the role"


def _ran_together(executions: list[Execution]) -> Found:
    by_leg: dict[object, list[Execution]] = {}
    for execution in executions:
        attempt = execution.attempt
        by_leg.setdefault((attempt.run, attempt.job, attempt.leg), []).append(execution)
    for together in by_leg.values():
        for one, other in combinations(sorted(together, key=lambda execution: execution.started), 2):
            if one.ended is None or other.started < one.ended:
                yield "I5b", f"{one.attempt} and {other.attempt} ran at the same time"


def _broke_schedules(world: World, engines: dict[PeerId, Engine]) -> Found:
    """Of each tick exactly one run, in time."""
    engine = next(iter(engines.values()))
    started = {execution.attempt.run for execution in world.executions}
    for schedule in engine.desk.schedules:
        end = EPOCH + int(world.time * 1000) if schedule.removed is None else schedule.removed.time
        when = schedule.event.time // 1000 + 1
        while (after := engine.desk.config.planner.next_tick(schedule.event, when)) and after[0] * 1000 < end - 5_000:
            when = after[0]
            if when not in schedule.ticks:
                yield "I9", f"the tick {when} of {schedule.name} was missed"
        for tick, runs in schedule.ticks.items():
            ran = [one for one in runs if one.cid in started]
            if len(ran) != 1:
                yield "I9", f"{len(ran)} of {len(runs)} runs of the tick {tick} of {schedule.name} ran"
            if min(one.time for one in runs) > tick * 1000 + 60_000:
                yield "I9", f"the tick {tick} of {schedule.name} ran late"


def _broke_groups(world: World, engines: dict[PeerId, Engine]) -> Found:
    """Runs of a group from their first job to their last, and jobs of a group, must not overlap."""
    desk = next(iter(engines.values())).desk
    held: dict[tuple[str, str, str], dict[object, list[tuple[float, float]]]] = {}
    for execution in world.executions:
        attempt = execution.attempt
        run = desk.runs[attempt.run]
        times = execution.started, inf if execution.ended is None else execution.ended
        repository = str(run.submission.body["repository"]).lower()
        leg = run.leg((attempt.job, attempt.leg))
        if run.group is not None:
            held.setdefault(("run", repository, run.group.name.lower()), {}).setdefault(run.id, []).append(times)
        if leg is not None and leg.concurrency is not None:
            key = run.id, attempt.job, attempt.leg
            held.setdefault(("job", repository, leg.concurrency.name.lower()), {}).setdefault(key, []).append(times)
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
    newest: dict[tuple[str, str], Run] = {}
    for run in sorted(desk.runs.values(), key=lambda run: run.submission.order):
        if run.group is not None:
            newest[str(run.submission.body["repository"]).lower(), run.group.name.lower()] = run
    for group, run in newest.items():
        if not run.tally.cancels and not run.plan.grouped and run.tally.conclusion() != "success":
            yield "I7", f"{run.id} is the newest of {group} and came to {run.tally.conclusion()}"
