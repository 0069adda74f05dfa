"""What must hold after any history, checked from what the world saw and what every node says: invariants I1 to I6.

I1 no acknowledged submission is lost; I2 equal event sets give equal state, and peers that reach each other come to
equal sets; I3 one outcome for each job instance; I4 only members with the run role ran anything; I5 no peer ran
an attempt twice (peers that were never up together may each have named an attempt 2); I6 every run ends within a bound after faults stop. I5b, where no partition or pause excuses it: no two peers run
one job instance at the same time.
"""

from __future__ import annotations

import attrs

from p2pwf.engine import Engine
from p2pwf.testing.sim import World


@attrs.frozen(slots=True)
class Violation:
    """An invariant that did not hold, and the line that replays it."""

    invariant: str
    what: str
    seed: int

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what} (seed {self.seed})"


def state_of(engine: Engine) -> dict[str, object]:
    """All that a node says about its runs, as comparable values."""
    state: dict[str, object] = {"digest": engine.desk.clock.dag.digest().hex()}
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
    found: list[Violation] = []

    def violated(invariant: str, what: str) -> None:
        found.append(Violation(invariant, what, world.seed))

    nodes = [node for node in world.nodes.values() if node.engine is not None]
    states = {}
    for node in nodes:
        assert node.engine is not None
        states[node.peer] = state_of(node.engine)
        for cid in world.acknowledged:
            if cid not in node.engine.desk.runs:
                violated("I1", f"acknowledged run {cid} is unknown to {node.peer}")
            elif node.engine.desk.runs[cid].tally.end is None:
                violated("I6", f"run {cid} has not ended at {node.peer}")
    first, *others = states.items()
    for peer, state in others:
        for name in state.keys() | first[1].keys():
            if state.get(name) != first[1].get(name):
                violated("I2", f"{name} is {state.get(name)} at {peer}, {first[1].get(name)} at {first[0]}")
    ran = set()
    for execution in world.executions:
        who = (execution.attempt, execution.peer)
        if who in ran:
            violated("I5", f"{execution.attempt} was started twice")
        ran.add(who)
        if not nodes[0].engine or not nodes[0].engine.desk.roster.holds(execution.peer, "run"):
            violated("I4", f"{execution.peer} ran {execution.attempt} without the role")
    if exclusive:
        for execution in world.executions:
            for other in world.executions:
                one = (execution.attempt.run, execution.attempt.job, execution.attempt.leg)
                two = (other.attempt.run, other.attempt.job, other.attempt.leg)
                if execution is not other and one == two and execution.started <= other.started:
                    if execution.ended is None or other.started < execution.ended:
                        violated("I5b", f"{execution.attempt} and {other.attempt} ran at the same time")
    for peer, alarm in world.alarms:
        violated("alarm", f"{peer}: {alarm.message}")
    for peer, complaint in world.misbehaved:
        violated("blame", f"{peer} blames {complaint.peer}: {complaint.reason}")
    return found
