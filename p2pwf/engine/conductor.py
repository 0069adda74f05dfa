"""What this node does about runs: as owner, as candidate, as the one to write an end. See protocols/runs.md.

Everything follows from the folded state, never from an event's arrival: `conduct` may be called at any time, any
number of times, and asks only for what the state calls for and has not been asked for yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import attrs

from p2pwf.clock.messages import Attempt
from p2pwf.core.bodies import MAX_TEXT
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.attention import IDLE_LOOK, NOBODY, Attention
from p2pwf.engine.config import SETTLE, STAGGER, TICK
from p2pwf.engine.desk import Desk, about, finish_ids
from p2pwf.engine.groups import Groups
from p2pwf.engine.inputs import JobEnded
from p2pwf.engine.judge import GIVEN_UP, REPLACED, Judge, Siblings
from p2pwf.engine.liveness import Liveness
from p2pwf.engine.outputs import Alarm, RunsChanged
from p2pwf.engine.sealing import Sealing
from p2pwf.engine.shared import Shared
from p2pwf.engine.takeover import Takeover
from p2pwf.engine.worklist import Worklist
from p2pwf.errors import P2pwfError
from p2pwf.runs import Run
from p2pwf.runs.labels import may_run
from p2pwf.runs.run import Key

PAUSED = "paused"
"""The name under which it is kept that this node is paused."""


class Conductor:
    """Looks at runs, and does what their state calls for; what falls to this node goes to its `work`."""

    def __init__(self, desk: Desk, liveness: Liveness, sealing: Sealing) -> None:
        self._desk = desk
        self._liveness = liveness
        self._sealing = sealing
        self.groups = Groups(desk)
        self.judge = Judge(desk, self.groups)
        self._takeover = Takeover(desk, liveness, sealing, self._look_within)
        self._attention = Attention()
        self._shared = Shared(desk, liveness, self.judge, self._attention, self._look_within)
        self.work = Worklist(desk, liveness, self.groups, may_act=self._may_act, is_held=self._held_by_group)
        self._roster = desk.roster
        self._settings = desk.settings.version
        self.failures = 0
        """Times that a run could not be conducted; `last_failure` says which and why."""
        self.last_failure = ""
        self._wait = 0.0
        self._concerned: set[PeerId] = set()
        """Of the run at hand, whom it has to do with."""
        self.paused = False

    # -- the step -----------------------------------------------------------------------------------------------

    def step(self, dirty: list[Cid]) -> None:
        """Do what the state of the dirty runs calls for, until it calls for nothing more."""
        changed = dict.fromkeys(dirty)
        for cid in dirty:
            self.conduct(self._desk.runs[cid])
        self.work.start_ready()
        while self._desk.dirty:
            more = list(self._desk.dirty)
            self._desk.dirty.clear()
            changed.update(dict.fromkeys(more))
            for cid in more:
                self.conduct(self._desk.runs[cid])
            self.work.start_ready()
        if changed:
            self._desk.emit(RunsChanged(tuple(changed)))

    def tick(self) -> None:
        """Look at what only time changes: silent owners, ends and expansions that others did not write."""
        for run in self._attention.due(self._desk.active, self._desk.now.mono):
            self.conduct(run)
        self.work.start_ready()

    def peer_changed(self, peer: PeerId) -> None:
        """A peer came or went: what it has to do with is to be looked at with the next tick."""
        self._attention.peer_changed(peer)

    def pause(self, on: bool) -> None:
        """Start nothing more here, or go on: what has not started goes to whoever else may run it."""
        self.paused = on
        self._desk.set_meta(PAUSED, b"1" if on else None)
        self._liveness.set_paused(on)
        self._desk.dirty.update((run.id, None) for run in self._mine())

    def judge_anew(self) -> None:
        """The policy is another: what has not started here is looked at once more."""
        self._desk.dirty.update((run.id, None) for run in self._mine())

    def place(self) -> None:
        """Look at once at everything that lacks an owner."""
        runs = [cid for cid in self._attention.of(NOBODY) if cid in self._desk.active]
        self._desk.dirty.update(dict.fromkeys(runs))

    def see_members(self) -> None:
        """If the roster is another, mark the runs that this matters to; before each step."""
        before, self._roster = self._roster, self._desk.roster
        if before is not self._roster:
            runs = self._attention.members_changed(before, self._roster, self._desk.me)
            self._desk.dirty.update(dict.fromkeys(cid for cid in runs if cid in self._desk.active))

    def see_settings(self) -> None:
        """If secrets are others, or sealed to others, mark the runs that this node has jobs of; before each step."""
        before, self._settings = self._settings, self._desk.settings.version
        if before != self._settings:
            self._desk.dirty.update((run.id, None) for run in self._mine())

    def conduct(self, run: Run) -> None:
        """Do for one run what this node is to do; and note when time alone may call for more."""
        now = self._desk.now.mono
        if self._attention.is_aside(run, now):
            return
        self._wait, self._concerned = IDLE_LOOK, {run.submitter}
        try:
            self._conduct(run)
        except Exception as error:  # noqa: BLE001 - counted and said
            # What this node wanted to write is out of form, or not its to write any more, or the language failed on
            # it. One run must not take the node with it, now and at every start: it is set aside and counted.
            self.failures += 1
            self.last_failure = f"{run.id.text}: {error!r}"
            self._desk.emit(Alarm(f"a run could not be conducted: {self.last_failure}", "please report it"))
            self._attention.set_aside(run, now + IDLE_LOOK)
        else:
            if run.id in self._desk.active:
                self._attention.looked(run, now + self._wait, self._concerned)

    def _look_within(self, seconds: float) -> None:
        """The run being conducted is to be looked at again within so many seconds, and no sooner than a tick."""
        self._wait = min(self._wait, max(TICK, seconds))

    def _conduct(self, run: Run) -> None:
        if run.tally.end is not None:
            self._leave(run)
            return
        self.groups.see(run)
        if self.work.stopped or self._desk.frozen is not None:
            return
        if not self._desk.roster.holds(self._desk.me, "run"):
            self.work.unqueue_all(run)
            for key in self.work.of_run(run):
                self.work.stop_local(run, key, "this node may not run jobs any more")
            return
        superseded = self.groups.is_superseded(run)
        cancelled = superseded or self._desk.is_cancelled(run)
        dropped = not run.tally.started and (superseded or (cancelled and self.groups.run_waits(run)))
        waits = dropped and not self._settled(run, "\0superseded")
        for job in run.plan.jobs.values():
            legs = run.tally.job_legs(job.id)
            if legs is None:
                self._concerned.add(NOBODY)
                if not waits:
                    self._shared.expand(run, job, cancelled, dropped)
                continue
            finishes = [run.tally.finish((job.id, index)) for index in range(len(legs))]
            if None not in finishes:
                for index in range(len(legs)):
                    self.work.stop_local(run, (job.id, index), "it was finished elsewhere")
                continue
            siblings = self.judge.siblings(run, job, cancelled, finishes)
            if dropped:
                why = REPLACED if superseded else GIVEN_UP
                siblings = attrs.evolve(siblings, dropped="" if waits else why, waits=waits)
            for index, finish in enumerate(finishes):
                key = (job.id, index)
                if finish is not None:
                    self.work.stop_local(run, key, "it was finished elsewhere")
                elif self.groups.gives_way(run, key, self.judge.wanted):
                    self._open_leg(run, key, attrs.evolve(siblings, dropped=REPLACED))
                else:
                    self._open_leg(run, key, siblings)
        self._shared.end(run)

    def _leave(self, run: Run) -> None:
        """A run has ended: nothing of it starts or goes on here."""
        if self._desk.active.pop(run.id, None) is None:
            return
        for key in self.work.of_run(run):
            self.work.stop_local(run, key, "the run has ended")
        self._liveness.forget(run)
        self.work.unqueue_all(run)
        self.groups.forget(run)
        self._desk.retire(run)
        self._attention.forget(run)

    # -- legs ---------------------------------------------------------------------------------------------------

    def _open_leg(self, run: Run, key: Key, siblings: Siblings) -> None:
        state = run.tally.leg(key)
        attempt = Attempt(run.id, *key, state.attempt)
        owner = run.owner(key)
        self._concerned.add(owner or NOBODY)
        local = self.work.local.get((run.id, key))
        if local is not None and (owner != self._desk.me or local != attempt):
            self.work.stop_local(run, key, "it was given to another peer")
        if owner != self._desk.me:
            self._takeover.watch(run, key, attempt, owner, state)
        elif self.work.has_ended(attempt):
            if self._liveness.suspended:
                self._look_within(TICK)
            else:
                self.work.finish_ended(run, attempt)
        elif local == attempt:
            stays = siblings.cancelled and not run.forced and self.judge.wanted(run, key[0])
            if siblings.failed or siblings.dropped or (siblings.cancelled and not stays):
                self.work.stop_local(run, key, siblings.why)
        elif self._liveness.suspended:
            self._look_within(TICK)
        elif state.attempt in state.starts or run.was_begun(key, state.attempt, self._desk.me):
            self._takeover.close_interrupted(run, key, state)
        elif self.paused and not siblings.cancelled:
            self.work.unqueue(attempt)
            self._takeover.reassign(run, key, "leaving")  # if nobody else may run it, it waits here
        elif (reason := self._refusal(run, key)) is not None:
            self._turn_down(run, attempt, siblings, reason[:MAX_TEXT])
        elif siblings.failed or siblings.dropped or run.forced:
            self.work.finish(
                run,
                JobEnded(attempt, "cancelled", "cancelled", error=siblings.dropped or None),
                uses=[],
            )
        else:
            self._prepare(run, attempt, siblings)

    def _refusal(self, run: Run, key: Key) -> str | None:
        """Why this peer does not run a leg, if so."""
        me = self._desk.roster.members[self._desk.me]
        labels = run.tally.leg_of(key).labels
        if self._desk.config.slots == 0:
            return "this peer runs no jobs (slots 0)"
        if not may_run(me.peer, me.labels, labels):
            return f"this peer has not the labels {', '.join(labels)}"
        return self._desk.config.policy(run.submission, labels, key[0])

    def _turn_down(self, run: Run, attempt: Attempt, siblings: Siblings, reason: str) -> None:
        """An attempt of ours that this peer does not run: of a cancelled run it ends, else it moves on."""
        key = (attempt.job, attempt.leg)
        state = run.tally.leg(key)
        self.work.unqueue(attempt)  # it was let in, and the policy is another since
        if siblings.cancelled:
            self.work.finish(run, JobEnded(attempt, "cancelled", "cancelled", error=siblings.why), uses=[])
            return
        if self._desk.me not in state.refused():
            self._desk.write("job.refuse", {**about(attempt), "reason": reason}, run)
        self._takeover.reassign(run, key, reason="refused")

    def _prepare(self, run: Run, attempt: Attempt, siblings: Siblings) -> None:
        """An attempt of ours that has not started: wait, skip, or queue."""
        job = siblings.job
        if any(run.tally.result(need) is None for need in job.needs):
            return
        if siblings.max_parallel and siblings.finished < attempt.leg - siblings.max_parallel + 1:
            return
        if siblings.waits:
            return
        key = (attempt.job, attempt.leg)
        decided_by = (siblings.cancelled, finish_ids(run, job.needs), self._desk.settings.version)
        if self.work.is_queued(attempt, decided_by):
            if self._held_by_group(run, key):
                self.work.unqueue(attempt)
            else:
                self.work.queue(attempt, self.priority(run), decided_by)
            return
        try:
            called = self.judge.called(run, job, attempt)
            wanted = called is None and self.judge.should_run(run, job, siblings.cancelled)
            unopened = self._sealing.unopened(run, key, self._desk.me) if wanted else []
        except P2pwfError as error:
            ended = JobEnded(attempt, "failure", "failure", error=error.message)
            self.work.finish(run, ended, finish_ids(run, job.needs))
            return
        if called is not None:
            self.work.finish_safely(run, called, finish_ids(run, job.needs))
        elif not wanted:
            word = "cancelled" if siblings.cancelled else "skipped"
            self.work.finish(run, JobEnded(attempt, word, word), finish_ids(run, job.needs))
        elif unopened:
            self.work.unqueue(attempt)
            self._look_within(STAGGER)  # if nobody else can open them, it waits here until they are sealed to this node
            self._takeover.reassign(run, key, "sealed")
        elif self._held_by_group(run, key):
            self.work.unqueue(attempt)
        elif not self.work.queue(attempt, self.priority(run), decided_by):
            self._look_within(IDLE_LOOK)  # it stays this node's, and is queued when there is room

    def priority(self, run: Run) -> float:
        """A run's priority as it is now; lower runs first."""
        event = run.tally.priority
        return float(cast(float, run.submission.body["priority"] if event is None else event.body["priority"]))

    def _may_act(self) -> bool:
        if self._liveness.suspended or self.work.stopped or self.paused or self._desk.frozen is not None:
            return False
        return self._desk.standing().holds(self._desk.me, "run")

    def _held_by_group(self, run: Run, key: Key) -> bool:
        """Whether a leg that could start otherwise is to wait for its concurrency group, or its run's."""
        settled = run.group is None or run.tally.started or self._settled(run, "\0group")
        if self.groups.run_waits(run):
            return True
        for unit in self.groups.unstarted(run, key):
            settled = self._settled(run, f"\0ready {unit}") and settled
        return self.groups.waits(run, key) or not settled

    def _settled(self, run: Run, what: str) -> bool:
        """Whether something of a run was so for long enough that what others did meanwhile has arrived here."""
        if len(self._desk.roster.members) == 1:
            return True
        waited = self._desk.now.mono - self._attention.since(run, what, self._desk.now.mono)
        if waited < SETTLE:
            self._look_within(SETTLE - waited)
        return waited >= SETTLE

    # -- what this node holds -----------------------------------------------------------------------------------

    def hand_on(self) -> None:
        """This node is about to stop: give what it owns to others, stop what runs."""
        free = self._desk.frozen is None and not self._liveness.suspended and len(self._desk.roster.members) > 1
        for run, attempt in list(self.held()):
            key = (attempt.job, attempt.leg)
            self.work.stop_local(run, key, "this node is stopping")
            if free and self._desk.roster.holds(self._desk.me, "run"):
                self._takeover.reassign(run, key, "leaving")
        self.work.stopped = True

    def _mine(self) -> list[Run]:
        """The open runs that this node has to do with."""
        return [run for cid in self._attention.of(self._desk.me) if (run := self._desk.active.get(cid)) is not None]

    def held(self) -> Iterator[tuple[Run, Attempt]]:
        """The attempts that this node owns and that have not finished."""
        for run in self._mine():
            for job in run.plan.jobs:
                for index in range(len(run.tally.job_legs(job) or ())):
                    key = (job, index)
                    if run.owner(key) == self._desk.me and run.tally.finish(key) is None:
                        yield run, Attempt(run.id, *key, run.tally.leg(key).attempt)

    def holds(self, attempt: Attempt) -> bool:
        """Whether this node owns that attempt, and it has not finished."""
        run = self._desk.active.get(attempt.run)
        key = (attempt.job, attempt.leg)
        if run is None or run.leg(key) is None or self.work.stopped:
            return False
        return (
            run.owner(key) == self._desk.me
            and run.tally.leg(key).attempt == attempt.number
            and run.tally.finish(key) is None
        )
