"""What this node has in hand: what is queued to start here, what runs, and how it ended. See protocols/runs.md.

The conductor decides what belongs here; this keeps it in order, starts it when a slot is free, and records its outcome.
Nothing here looks at another peer.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from p2pwf.clock.messages import Attempt
from p2pwf.core.bodies import MAX_OUTPUTS, MAX_TEXT, outputs_size
from p2pwf.core.events import EventError
from p2pwf.core.ids import Cid
from p2pwf.engine.desk import Desk, about, finish_ids, needs_context
from p2pwf.engine.groups import Groups
from p2pwf.engine.inputs import JobEnded
from p2pwf.engine.liveness import Liveness
from p2pwf.engine.outputs import CancelJob, StartJob
from p2pwf.queue import ReadyQueue
from p2pwf.runs import Run
from p2pwf.runs.run import Key

MAX_READY = 100_000
"""Attempts queued here at a time; a run has at most 4096 legs, and a node that holds more should be given fewer."""


class Worklist:
    """`local`: what runs here, by run and leg. `ready`: what may start here as soon as a slot is free.

    `may_act`: whether this node may start anything now; `is_held`: whether a leg has to wait for its concurrency group.
    """

    def __init__(
        self,
        desk: Desk,
        liveness: Liveness,
        groups: Groups,
        *,
        may_act: Callable[[], bool],
        is_held: Callable[[Run, Key], bool],
    ) -> None:
        self._desk = desk
        self._liveness = liveness
        self._groups = groups
        self._may_act = may_act
        self._is_held = is_held
        self.local: dict[tuple[Cid, Key], Attempt] = {}
        self.ready: ReadyQueue[Attempt, None] = ReadyQueue(MAX_READY)
        self._judged: dict[Attempt, object] = {}
        """Of what is in `ready`, from what it followed that it is to run: asked again only when that changes."""
        self._stopping: set[Attempt] = set()
        self._ended: dict[Attempt, JobEnded] = {}
        self.stopped = False
        """Whether this node is on its way out: what ends now is for others to find out."""

    # -- the queue ----------------------------------------------------------------------------------------------

    def is_queued(self, attempt: Attempt, decided_by: object) -> bool:
        """Whether an attempt is queued, and was so for the same reasons."""
        return attempt in self.ready and self._judged.get(attempt) == decided_by

    def queue(self, attempt: Attempt, priority: float, decided_by: object) -> bool:
        """Queue an attempt, or have its place follow from these reasons; False if there is no room."""
        if attempt in self.ready:
            self.ready.update_priority(attempt, priority)
        elif len(self.ready) >= MAX_READY:
            return False
        else:
            self.ready.add(attempt, priority, None)
        self._judged[attempt] = decided_by
        return True

    def unqueue_all(self, run: Run) -> None:
        """Queue nothing of a run any more."""
        for job in run.plan.jobs:
            for index in range(len(run.tally.job_legs(job) or ())):
                for number in range(run.tally.leg((job, index)).attempt):
                    self.unqueue(Attempt(run.id, job, index, number + 1))

    def unqueue(self, attempt: Attempt) -> None:
        """Take an attempt out of the queue, if it is there."""
        self.ready.remove(attempt)
        self._judged.pop(attempt, None)

    # -- what runs ----------------------------------------------------------------------------------------------

    def start_ready(self) -> None:
        """Fill this node's slots with what is ready, most urgent first; unless it is for clients to begin it."""
        if not self._desk.config.external and self._may_act():
            while len(self.local) < self._desk.config.slots and (entry := self.ready.pop()) is not None:
                self._start(entry.id)
        self._liveness.load = len(self.local)

    def begin(self, cid: Cid, wanted: Key | None) -> tuple[list[Attempt], int]:
        """Start what is ready of a run, or of one leg, for a client that runs it; and how many find no slot."""
        run = self._desk.active.get(cid)
        if run is None or not self._may_act():
            return [], 0
        begun, waiting = [], 0
        keys = [(job, leg) for job in run.plan.jobs for leg in range(len(run.tally.job_legs(job) or ()))]
        for job, leg in keys if wanted is None else [wanted]:
            attempt = Attempt(cid, job, leg, run.tally.leg((job, leg)).attempt)
            if attempt not in self.ready:
                continue
            if len(self.local) >= self._desk.config.slots:
                waiting += 1
                continue
            self.ready.remove(attempt)
            if self._start(attempt):
                begun.append(attempt)
        self._liveness.load = len(self.local)
        return begun, waiting

    def _start(self, attempt: Attempt) -> bool:
        """Record the start of what was queued and have it run, if that is still to be."""
        self._judged.pop(attempt, None)
        run = self._desk.active.get(attempt.run)
        key = (attempt.job, attempt.leg)
        if run is None or not self._may_start(run, key, attempt):
            return False
        job = run.plan.jobs[attempt.job]
        leg = run.tally.leg_of(key)
        self._desk.write("job.start", {**about(attempt), "uses": finish_ids(run, job.needs)}, run)
        self._groups.see(run)  # for what else is ready
        self.local[run.id, key] = attempt
        needs = needs_context(run, job.needs)
        self._desk.emit(StartJob(attempt, run.submission, leg.matrix, leg.name, needs, leg.labels))
        return True

    def _may_start(self, run: Run, key: Key, attempt: Attempt) -> bool:
        """Whether what was queued is still to be started, as the state is now."""
        state = run.tally.leg(key)
        return (
            run.owner(key) == self._desk.me
            and state.attempt == attempt.number
            and not state.finishes
            and attempt.number not in state.starts
            and not self._is_held(run, key)
            and (run.tally.started or not self._groups.is_superseded(run))
        )

    def of_run(self, run: Run) -> list[Key]:
        """The legs of a run that run here."""
        return [key for cid, key in self.local if cid == run.id]

    def stop_local(self, run: Run, key: Key, reason: str) -> None:
        """Have a leg stopped that runs here, once."""
        attempt = self.local.get((run.id, key))
        if attempt is not None and attempt not in self._stopping:
            self._stopping.add(attempt)
            self._desk.emit(CancelJob(attempt, reason))

    # -- finishing ----------------------------------------------------------------------------------------------

    def ended(self, ended: JobEnded) -> None:
        """The runner is through with an attempt. What moved on, or was decided, meanwhile, is dropped."""
        attempt = ended.attempt
        key = (attempt.job, attempt.leg)
        if self.local.get((attempt.run, key)) == attempt:
            del self.local[attempt.run, key]
            self._liveness.load = len(self.local)
        self._stopping.discard(attempt)
        run = self._desk.active.get(attempt.run)
        if run is None or self.stopped:
            self.start_ready()
            return
        self._desk.dirty[run.id] = None
        if run.owner(key) == self._desk.me and run.tally.leg(key).attempt == attempt.number:
            self._ended[attempt] = ended

    def has_ended(self, attempt: Attempt) -> bool:
        """Whether the runner is through with an attempt that is still this node's, and nothing is recorded yet."""
        return attempt in self._ended

    def finish_ended(self, run: Run, attempt: Attempt) -> None:
        """Record how an attempt ended that `has_ended`."""
        self.finish_safely(run, self._ended.pop(attempt), uses=[])

    def finish_safely(self, run: Run, ended: JobEnded, uses: list[Cid]) -> None:
        """Record how an attempt of ours ended, or that this cannot be recorded."""
        if outputs_size(ended.outputs) > MAX_OUTPUTS:
            error = f"the job's outputs are over {MAX_OUTPUTS // 1024} KiB: put what is large into an artifact"
            ended = _failed(ended, error)
        try:
            self.finish(run, ended, uses)
        except EventError as error:
            self.finish(run, _failed(ended, f"its outcome cannot be recorded: {error}"), uses)

    def finish(self, run: Run, ended: JobEnded, uses: list[Cid]) -> None:
        """Record how an attempt of ours ended; `uses`: the outcomes that a job which never started was decided by."""
        body = {
            **about(ended.attempt),
            "uses": uses,
            "conclusion": ended.conclusion,
            "outcome": ended.outcome,
            "outputs": ended.outputs,
            "log": ended.log,
            "report": ended.report,
            "artifacts": list(ended.artifacts),
            "caches": list(ended.caches),
            "error": ended.error[:MAX_TEXT] if ended.error else None,
        }
        self.unqueue(ended.attempt)
        self._desk.write("job.finish", body, run)


def _failed(ended: JobEnded, error: str) -> JobEnded:
    return attrs.evolve(ended, conclusion="failure", outcome="failure", outputs={}, error=error)
