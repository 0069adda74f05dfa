"""Bugs to plant in the production code, one at a time: an oracle that misses one of them is blind.

Each is a mistake that somebody could make: a check that is left out, an order that depends on arrival, a clock that is
the wrong one. `hunt` plays seeds of the scenario in which it should show until an invariant is violated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import attrs

from p2pwf.clock.clock import Clock
from p2pwf.clock.dag import Dag, Node
from p2pwf.clock.sync import lacking
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid
from p2pwf.engine import base, syncer
from p2pwf.engine.conductor import Conductor
from p2pwf.engine.desk import Desk
from p2pwf.engine.engine import Engine
from p2pwf.engine.forks import Forks
from p2pwf.engine.groups import Groups
from p2pwf.engine.history import History
from p2pwf.engine.inputs import Input, Now
from p2pwf.engine.judge import Judge
from p2pwf.engine.liveness import Liveness
from p2pwf.engine.outputs import Output, Store, WakeAt
from p2pwf.engine.recovery import Recovery
from p2pwf.engine.sealing import Sealing
from p2pwf.engine.shared import Shared
from p2pwf.engine.syncer import Syncer
from p2pwf.engine.takeover import Takeover
from p2pwf.engine.timetable import Timetable
from p2pwf.roster import Roster
from p2pwf.runs import Run
from p2pwf.runs.checkpoints import Checkpoints
from p2pwf.runs.placement import RunPlacement
from p2pwf.runs.tally import LegState, RunEvent, Tally
from p2pwf.testing import sim
from p2pwf.testing.level import Level, engines

SHOWN: Final = 60
"""Characters of an exception that a planted bug ends in."""


@attrs.frozen(slots=True)
class Mutant:
    """A planted bug: `target.attribute` is `broken`. `scenario`: where it shows."""

    name: str
    scenario: str
    target: Any
    attribute: str
    broken: Any

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The bug is in the code within the block."""
        genuine = self.target.__dict__[self.attribute]
        setattr(self.target, self.attribute, self.broken)
        try:
            yield
        finally:
            setattr(self.target, self.attribute, genuine)


def hunt(mutant: Mutant, seeds: int, level: Level | None = None) -> tuple[int, str] | None:
    """The first of so many seeds that catches a planted bug, with the invariant that it violates; None if none does."""
    level = engines() if level is None else level
    with mutant.planted():
        for seed in range(seeds):
            try:
                _, violations = level.play(level.draw(mutant.scenario, seed))
            except Exception as error:  # noqa: BLE001 - a bug may end the node, which is noticed too
                return seed, repr(error)[:SHOWN]
            if violations:
                return seed, violations[0].invariant
    return None


def mutants_of(level: Level) -> Sequence[Mutant]:
    """The bugs that are planted at a level."""
    if not level.flag:
        return MUTANTS
    from p2pwf.testing.stack.mutants import STACK_MUTANTS

    return STACK_MUTANTS


def _never(*_: object) -> bool:
    return False


def _always(*_: object) -> bool:
    return True


def _nothing(*_: object, **__: object) -> None:
    return None


def _nobody(*_: object) -> list[object]:
    return []


def _as_it_arrives(self: Tally, key: tuple[str, int]) -> RunEvent | None:
    return next(iter(self.leg(key).finishes), None)


_genuine_apply = LegState.apply
_genuine_drain = Desk.drain
_genuine_handle = Engine.handle
_genuine_lacking = lacking
_genuine_siblings = Judge.siblings
_genuine_init = RunPlacement.__init__
_genuine_result = Tally.result
_genuine_silence = Liveness.silence
_genuine_acknowledge = Engine._acknowledge


def _last_wins(self: LegState, event: RunEvent) -> None:
    if event.type == "job.reassign":
        self.reassigns[event.attempt] = event
    else:
        _genuine_apply(self, event)


def _store_last(self: Desk) -> list[Output]:
    outputs = _genuine_drain(self)
    return [*(each for each in outputs if not isinstance(each, Store)), *(e for e in outputs if isinstance(e, Store))]


def _store_own_only(self: Desk) -> list[Output]:
    def kept(output: Output) -> Output:
        if isinstance(output, Store):
            return attrs.evolve(output, events=tuple(one for one in output.events if one.type != "job.start"))
        return output

    return [kept(output) for output in _genuine_drain(self)]


def _by_the_wall(self: Engine, input: Input, now: Now) -> list[Output]:
    outputs = _genuine_handle(self, input, attrs.evolve(now, mono=now.wall / 1000))
    return [*outputs[:-1], WakeAt(now.mono + 0.5)]  # the last one says when to wake it


def _but_the_last(dag: Dag, theirs: Any, within: Any = None) -> list[Node]:  # noqa: ANN401 - as it is
    return _genuine_lacking(dag, theirs, within)[:-1]


def _one_digest(_: Dag) -> bytes:
    return bytes(32)


def _same_head(self: RunPlacement, run: Cid, parents: Any, absent: Any) -> None:  # noqa: ANN401 - as it is
    _genuine_init(self, run, parents, absent)
    self.clock_head = sha256(str(id(self)).encode()).digest()


def _roster_of_now(self: Clock, _: object) -> Roster:
    return self.roster


def _no_bound(self: Judge, run: Run, job: Any, cancelled: bool, finishes: Any) -> Any:  # noqa: ANN401 - as it is
    return attrs.evolve(_genuine_siblings(self, run, job, cancelled, finishes), max_parallel=0)


def _needs_are_met(self: Tally, job: str) -> str:
    return _genuine_result(self, job) or "success"


def _impatient(self: Liveness, attempt: Any) -> float:  # noqa: ANN401 - as it is
    return 10 * _genuine_silence(self, attempt)


def _two_copies(self: Engine, cid: Cid, token: object, copies: int) -> None:
    _genuine_acknowledge(self, cid, token, max(2, copies))


def _first_expand(self: Tally, job: str) -> None:
    self.expands[job] = self._all_expands[job][0]


def _first_end(self: Tally) -> RunEvent | None:
    return self.ends[0] if self.ends else None


def _waits(self: Groups, run: Run) -> bool:
    return self.run_waits(run)


def _all_ended(_: Clock, events: Sequence[Event], __: int) -> tuple[set[Cid], set[Cid | None]]:
    return set(), {event.run for event in events} - {None}


def _an_hour(self: Engine) -> float:
    return self.desk.now.mono + 3600


MUTANTS: Final = (
    Mutant("digests are never sent", "loss", Syncer, "tick", Syncer.check),
    Mutant("all digests are equal", "loss", Dag, "digest", _one_digest),
    Mutant("the last event that a peer lacks is not sent", "loss", syncer, "lacking", _but_the_last),
    Mutant("an event is taken in each time it comes", "loss", Dag, "__contains__", _never),
    Mutant("signatures are not checked", "hostile", sim, "verify_once", _always),
    Mutant("roles are not checked", "hostile", Clock, "_forbidden", _nothing),
    Mutant("forks are not proven", "forked", Forks, "tick", _nothing),
    Mutant("events are judged by the roster of now", "members", Clock, "roster_at", _roster_of_now),
    Mutant("a node that restarts takes part at once", "torn", Liveness, "suspended", property(_never)),
    Mutant("silence is judged by who hears no beats", "long", Liveness, "expects_beats", _always),
    Mutant("silence counts tenfold", "loss", Liveness, "silence", _impatient),
    Mutant("no beats are sent", "long", Liveness, "_beat", _nothing),
    Mutant("leases are measured by the wall clock", "skew", Engine, "handle", _by_the_wall),
    Mutant("a node sleeps for an hour", "crash", Engine, "_wake", _an_hour),
    Mutant("nobody takes over", "gone", Takeover, "watch", _nothing),
    Mutant("an interrupted attempt is left open", "crash", Takeover, "close_interrupted", _nothing),
    Mutant("starts are not stored", "crash", Desk, "drain", _store_own_only),
    Mutant("it is told before it is stored", "torn", Desk, "drain", _store_last),
    Mutant("one copy is called two", "alone", Engine, "_acknowledge", _two_copies),
    Mutant("a restored node writes at once", "restored", Recovery, "_waits_for", _nobody),
    Mutant("outcomes are taken as they arrive", "partition", Tally, "finish", _as_it_arrives),
    Mutant("the newest reassign wins", "storm", LegState, "apply", _last_wins),
    Mutant("the first expansion to arrive wins", "partition", Tally, "_choose_expand", _first_expand),
    Mutant("the first end to arrive wins", "partition", Tally, "end", property(_first_end)),
    Mutant("assignment depends on the node", "calm", RunPlacement, "__init__", _same_head),
    Mutant("nobody else writes the end", "crash", Shared, "_turn", _never),
    Mutant("needs are not waited for", "calm", Tally, "result", _needs_are_met),
    Mutant("legs have no bound", "calm", Judge, "siblings", _no_bound),
    Mutant("the policy is not asked", "wary", Conductor, "_refusal", _nothing),
    Mutant("cancellations are not heard", "wary", Desk, "is_cancelled", _never),
    Mutant("a job is started without the box of its secret", "secrets", Sealing, "unopened", _nobody),
    Mutant("nobody seals a secret to who lacks it", "secrets", Sealing, "tick", _nothing),
    Mutant("a run waits for nobody", "groups", Groups, "run_waits", _never),
    Mutant("a job waits for nobody", "groups", Groups, "waits", _never),
    Mutant("a group is taken before it has settled", "groups", Conductor, "_settled", _always),
    Mutant("a run that waits for its group is dropped", "groups", Groups, "is_superseded", _waits),
    Mutant("a checkpoint is followed before all have answered", "pruned", Checkpoints, "missing", _nobody),
    Mutant("runs that go on are pruned", "pruned", base, "_ends", _all_ended),
    Mutant("who lacks what was pruned is not led to a checkpoint", "pruned", Syncer, "_offer", _nothing),
    Mutant("nothing is ever pruned", "months", History, "tick", _nothing),
    Mutant("nobody submits a tick", "ticks", Timetable, "_is_our_turn", _never),
)
