"""Who goes on with an attempt whose owner is silent, gone or unwilling; see protocols/runs.md, "What others do"."""

from __future__ import annotations

from collections.abc import Callable

from p2pwf.clock.messages import Attempt
from p2pwf.core.bodies import MAX_ATTEMPTS
from p2pwf.core.ids import PeerId
from p2pwf.engine.config import LEASE, PROBE_LEAD, STAGGER, TICK
from p2pwf.engine.desk import Desk, about
from p2pwf.engine.liveness import Liveness
from p2pwf.engine.sealing import Sealing
from p2pwf.runs import LegState, Run
from p2pwf.runs.placement import next_owner
from p2pwf.runs.run import Key


class Takeover:
    """`look_within` asks for the run at hand to be looked at again within so many seconds."""

    def __init__(self, desk: Desk, liveness: Liveness, sealing: Sealing, look_within: Callable[[float], None]) -> None:
        self._desk = desk
        self._liveness = liveness
        self._sealing = sealing
        self._look_within = look_within

    def close_interrupted(self, run: Run, key: Key, state: LegState) -> None:
        """An attempt that this node had started before it was stopped: go on with the next one, here."""
        if state.attempt >= MAX_ATTEMPTS:
            self._desk.write("job.lost", about(Attempt(run.id, *key, state.attempt)), run)
            return
        body = {
            **about(Attempt(run.id, *key, state.attempt + 1)),
            "owner": self._desk.me,
            "absent": [],
            "reason": "interrupted",
        }
        self._desk.write("job.reassign", body, run)

    def watch(self, run: Run, key: Key, attempt: Attempt, owner: PeerId | None, state: LegState) -> None:
        """Take over an attempt of another peer if it is silent past its lease, and it is our turn."""
        desk, liveness = self._desk, self._liveness
        liveness.note(attempt, started=attempt.number in state.starts)
        if liveness.suspended:
            self._look_within(TICK)
            return
        order = run.order(key, desk.standing())
        live = [peer for peer in order if peer != owner and peer not in state.refused() and liveness.is_alive(peer)]
        if not live and self._may_be_ended(run):
            everyone = run.placement.everyone(*key, desk.standing())
            live = [peer for peer in everyone if peer != owner and liveness.is_alive(peer)]
        if desk.me not in live:
            return
        rank = live.index(desk.me)
        gone = owner is None or owner in state.refused() or not desk.roster.holds(owner, "run")
        deadline = rank * STAGGER + (0.0 if gone else desk.config.lease * 2.0 ** (attempt.number - 1))
        if owner is not None and not gone:
            if not liveness.expects_beats(attempt, owner, rank):
                self._look_within(LEASE)
                return
            liveness.ask(owner, attempt, deadline)
        left = deadline - liveness.silence(attempt)
        if left > 0:
            self._look_within(left - PROBE_LEAD if left > PROBE_LEAD else left)
            return
        self.reassign(run, key, "unplaced" if owner is None else "refused" if gone else "silent")

    def _may_be_ended(self, run: Run) -> bool:
        """Whether anyone may take an attempt that nobody fits, to end it: as the fold judges what is written now."""
        return bool(run.tally.cancels) or self._desk.standing().drops_runs_of(run.submitter)

    def reassign(self, run: Run, key: Key, reason: str) -> None:
        """Name the next owner: among the candidates not absent and not having refused, the one with the fewest
        attempts, then the first in order. Who could not open the job's secrets is passed over as if absent, unless
        nobody else is left: then it waits for them there, and with the reason "sealed" where it is."""
        desk = self._desk
        state = run.tally.leg(key)
        owner = run.owner(key)
        number = 1 if owner is None else state.attempt + 1
        if number > MAX_ATTEMPTS and reason == "sealed":
            return
        if number > MAX_ATTEMPTS:
            desk.write("job.lost", about(Attempt(run.id, *key, state.attempt)), run)
            return
        order = run.order(key, desk.standing())
        absent = {peer for peer in order if not self._liveness.is_alive(peer)}
        if reason in ("silent", "leaving") and owner is not None:
            absent.add(owner)
        closed = self._sealing.without_boxes(run, key, order)
        chosen = next_owner(order, state.tried(run.placed(key)), state.refused() | absent | closed)
        if chosen is not None:
            absent |= closed
        elif reason == "sealed":
            return
        else:
            chosen = next_owner(order, state.tried(run.placed(key)), state.refused() | absent)
        if chosen is None and self._may_be_ended(run):
            chosen = desk.me  # not to run it, but to end it
        elif chosen is None or desk.me not in order:
            return
        body = {
            **about(Attempt(run.id, *key, number)),
            "owner": chosen,
            "absent": sorted(absent),
            "reason": reason,
        }
        desk.write("job.reassign", body, run)
