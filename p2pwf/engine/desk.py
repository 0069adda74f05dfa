"""What all parts of the engine share: the clock, the runs, the time, and the one way to write an event.

Whatever a part tells the world is collected here and leaves after the store of everything written in the same step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, cast

from p2pwf.clock import Accepted, Clock, Invalid, Node
from p2pwf.clock.clock import Verify
from p2pwf.clock.messages import Attempt, Events
from p2pwf.core.bodies import MEMBERSHIP_TYPES, SETTING_TYPES
from p2pwf.core.events import MAX_AFTER, Event, SignedBlock, author_event, parse
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.sign import Signer
from p2pwf.engine.cold import ColdRuns
from p2pwf.engine.config import EngineConfig
from p2pwf.engine.inputs import Now
from p2pwf.engine.outputs import Alarm, MembersChanged, Named, Output, Publish, Recall, Scheduled, Store
from p2pwf.errors import InternalError, Refused
from p2pwf.roster import Roster
from p2pwf.runs import Run
from p2pwf.runs.caches import SavedCaches
from p2pwf.runs.checkpoints import TYPES as CHECKPOINT_TYPES
from p2pwf.runs.checkpoints import Checkpoints
from p2pwf.runs.schedules import Schedules
from p2pwf.runs.settings import Settings
from p2pwf.runs.view import pruned_summary, with_end

KEPT_ENDED = 256
"""Ended runs held whole: what people look at. A run takes some 15 KB in memory, what lists show of it less than 1."""
GOSSIP_BYTES = 512 * 1024
"""Bytes of events in one gossip message: half of what one carries, so that framing never matters."""
MAX_SENT = 512
"""Events in one message: what a peer verifies in well under a tenth of a second, so that nothing else has to wait."""


class Desk:
    """One node's knowledge and its way to act. `now` is the time of the input being handled."""

    def __init__(self, signer: Signer, network: Cid, config: EngineConfig, now: Now, verifier: Verify) -> None:
        self.signer = signer
        self.me: PeerId = signer.peer_id
        self.network = network
        self.config = config
        self.clock = Clock(network, verifier)
        self.runs: dict[Cid, Run] = {}
        self.active: dict[Cid, Run] = {}
        """Runs without an end."""
        self.dirty: dict[Cid, None] = {}
        self.superseders: dict[Cid, dict[Cid, Event]] = {}
        """Of runs without an end, the submissions that say that they take their place; see `groups`."""
        self.keys: dict[str, Cid] = {}
        """The idempotency keys of this node's own submissions."""
        self.caches = SavedCaches()
        self.schedules = Schedules()
        self.settings = Settings(lambda cid: self.clock.dag[cid].void)
        self.cold = ColdRuns()
        self.checkpoints = Checkpoints(lambda cid: self.clock.dag[cid].void)
        self.pruned: set[Cid] = set()
        """Runs of which stubs are left, and a row in `cold`."""
        self._ended: OrderedDict[Cid, None] = OrderedDict()
        self._recalling: dict[Cid, list[Event]] = {}
        """Runs that were asked for, and what has come in of them since."""
        self.meta: dict[str, bytes] = {}
        self.now = now
        self.frozen: str | None = None
        """Why this node authors nothing more, or nothing yet, if so."""
        self.recovering = False
        """Whether it authors nothing yet, because it was restored; see `recovery`."""
        self._stored: list[Event] = []
        self._stubs: list[Event] = []
        self._meta_changes: dict[str, bytes | None] = {}
        self._fresh: list[Event] = []
        self._out: list[Output] = []

    # -- outputs ------------------------------------------------------------------------------------------------

    def emit(self, output: Output) -> None:
        """Ask the shell for something, after the store."""
        self._out.append(output)

    def set_meta(self, name: str, value: bytes | None) -> None:
        """Change a small durable value of this node."""
        if value is None:
            self.meta.pop(name, None)
        else:
            self.meta[name] = value
        self._meta_changes[name] = value

    def drain(self) -> list[Output]:
        """All outputs of this step, the store first, then what this node wrote itself, for everyone."""
        outputs: list[Output] = []
        if self._stored or self._meta_changes or self._stubs:
            outputs.append(Store(tuple(self._stored), dict(self._meta_changes), tuple(self._stubs)))
        outputs.extend(Publish(Events(chunk)) for chunk in chunks([event.signed for event in self._fresh]))
        outputs.extend(self._out)
        self._stored, self._meta_changes, self._fresh, self._out = [], {}, [], []
        self._stubs = []
        return outputs

    # -- events -------------------------------------------------------------------------------------------------

    def take(self, event: Event, accepted: Accepted, store: bool = True) -> None:
        """Fold in an event that the clock has accepted."""
        if store:
            self._stored.append(event)
            if event.type == "job.finish" and event.author != self.me and not event.pruned:
                self.emit(_named(event))
        node = accepted.node
        if event.type in MEMBERSHIP_TYPES:
            self.emit(MembersChanged())
        self._take_standing(event, node)
        if event.run is not None and (event.pruned or event.run in self.pruned):
            self._take_pruned(event)
        elif event.type == "run.submit":
            self.dirty.update((one.cid, None) for one in self.schedules.submitted(event) if one.cid in self.active)
            run = Run(event, self.clock.roster_at(node.frontier))
            self.runs[event.cid] = self.active[event.cid] = run
            self.dirty[event.cid] = None
            for cid in superseded(event):
                if cid in self.active:
                    self.superseders.setdefault(cid, {})[event.cid] = event
                    self.dirty[cid] = None
            if event.author == self.me and event.body["key"] is not None:
                self.keys.setdefault(cast(str, event.body["key"]), event.cid)
        elif event.run is not None and (known := self.runs.get(event.run)) is not None:
            entry = known.add(event, self.clock.roster_at(node.frontier), node.void)
            if event.type == "job.finish" and entry.counts:
                self.caches.note(known.submission, event)
            self._settle(known, live=store)
        elif event.run is not None and event.run in self.cold:
            self._recall(event.run, event)
        if accepted.revoided:
            self.settings.changed()
        touched = {about for node in accepted.revoided if (about := node.run) is not None}
        for cid in touched & self.runs.keys():
            self.runs[cid].revoid(lambda cid: self.clock.dag[cid].void)
            self._settle(self.runs[cid], live=store)
        for cid in touched:
            if cid in self.cold and cid not in self.pruned:
                self._recall(cid)

    def _take_standing(self, event: Event, node: Node) -> None:
        """Fold in what runs draw on: schedules, secrets, variables."""
        if event.type == "schedule.add":
            self.schedules.add(event)
            if event.author != self.me and self.config.policy(event, (), None) is None:
                self.emit(Scheduled(event))
        elif event.type == "schedule.remove":
            self.schedules.remove(event, self.clock.roster_at(node.frontier).holds(event.author, "admin"))
        elif event.type in SETTING_TYPES:
            self.settings.take(event)
        elif event.type in CHECKPOINT_TYPES:
            self.checkpoints.take(event, self.clock.roster_at(node.frontier))

    def _recall(self, run: Cid, *news: Event) -> None:
        """Ask for a run that is on disk only, once until it comes; `news` of it may be younger than what was read."""
        if run not in self._recalling:
            self._recalling[run] = []
            self.emit(Recall(run))
        self._recalling[run].extend(news)

    def _settle(self, run: Run, live: bool) -> None:
        if run.tally.end is None:
            self.active[run.id] = run
        elif not live:
            self.active.pop(run.id, None)
            self.dirty.pop(run.id, None)
            self.retire(run)
            return
        self.dirty[run.id] = None

    # -- ended runs ---------------------------------------------------------------------------------------------

    def retire(self, run: Run) -> None:
        """A run has ended: of those beyond the newest KEPT_ENDED, only what lists show is held in memory."""
        self.superseders.pop(run.id, None)
        self._ended[run.id] = None
        self._ended.move_to_end(run.id)
        while len(self._ended) > KEPT_ENDED:
            oldest, _ = self._ended.popitem(last=False)
            past = self.runs.get(oldest)
            if past is not None and oldest not in self.active:
                self.cold.put(past)
                del self.runs[oldest]

    def restore(self, run: Cid, blocks: Iterable[SignedBlock]) -> None:
        """Hold an ended run whole again, from its events: somebody asks for it, or one more event of it came in."""
        news = self._recalling.pop(run, [])
        if run in self.runs or run in self.pruned:
            return
        found = {event.cid: event for event in (*map(parse, blocks), *news)}
        events = sorted(found.values(), key=lambda event: event.order)
        submission = next((event for event in events if event.cid == run), None)
        if submission is None:
            raise InternalError(f"the store gave other events than those of the run {run.text}")
        whole = Run(submission, self.clock.roster_at(self.clock.dag[run].frontier))
        for event in events:
            if event is submission:
                continue
            node = self.clock.dag[event.cid]
            entry = whole.add(event, self.clock.roster_at(node.frontier), node.void)
            if event.type == "job.finish" and entry.counts:
                self.caches.note(submission, event)
        self.cold.discard(run)
        self.runs[run] = whole
        if whole.tally.end is None:
            self.active[run] = whole
            self.dirty[run] = None
        else:
            self.retire(whole)

    def prune(self, stub: Event) -> None:
        """Leave of an event that is held no more than its stub. Those of a run come in order, its submission first."""
        self._stubs.append(stub)
        self._take_pruned(stub)

    def _take_pruned(self, event: Event) -> None:
        """Fold in an event of a run that was pruned: what lists show is its submission and its first end that counts,
        and whole events that come later change nothing."""
        run = cast(Cid, event.run)
        if event.type == "run.submit" and event.pruned:
            self.pruned.add(run)
            for held in (self.runs, self.active, self.dirty, self.superseders, self._ended, self._recalling):
                held.pop(run, None)
            self.cold.put_row(run, pruned_summary(event))
            if event.author == self.me and event.body["key"] is not None:
                self.keys.setdefault(cast(str, event.body["key"]), run)
        elif event.type == "run.end" and event.pruned and event.body["counts"]:
            row = self.cold.row(run)
            if row["conclusion"] is None:
                self.cold.put_row(run, with_end(row, event))

    def write(self, type: str, body: Mapping[str, object], run: Run | None = None, *, must_count: bool = True) -> Event:
        """Author, sign, accept and fold an event of this node; about `run`, it stands on that run's heads.

        Raises Refused if this node must not author, InternalError if what it wrote about a run has no effect: then this
        code and the fold disagree, and would do so again and again. The rules of membership are the caller's to check.
        """
        if self.frozen is not None:
            raise Refused(self.frozen, "see `p2pwf status`")
        after: tuple[Cid, ...] = ()
        if run is not None:
            heads = sorted(run.heads.values(), key=lambda head: head.order)
            after = tuple(head.cid for head in heads) or (run.id,)  # a void submission is no head, yet all there is
            while len(after) > MAX_AFTER:
                note = self._write("run.note", {"run": run.id}, after[:MAX_AFTER])
                after = (note.cid, *after[MAX_AFTER:])
        event = self._write(type, body, after)
        if must_count and run is not None and not run.events[event.cid].counts:
            raise InternalError(f"this node's {type} has no effect")
        return event

    def _write(self, type: str, body: Mapping[str, object], after: tuple[Cid, ...]) -> Event:
        parents, tip = self.clock.parents(self.me)
        links = [*parents, *(self.clock.dag[cid] for cid in after), *([tip] if tip else [])]
        event = author_event(
            self.signer,
            net=self.network,
            seq=tip.seq + 1 if tip else 0,
            prev=tip.cid if tip else None,
            parents=(node.cid for node in parents),
            after=after,
            lamport=1 + max(node.lamport for node in links),
            time=max(0, self.now.wall),
            type=type,
            body=body,
        )
        accepted = self.clock.accept(event, trusted=True)
        if not isinstance(accepted, Accepted):
            why = accepted.reason if isinstance(accepted, Invalid) else "what it stands on is not here"
            raise Refused(f"this node may not write {type} now: {why}", "ask an admin of the network")
        self.take(event, accepted)
        self._fresh.append(event)
        return event

    def standing(self) -> Roster:
        """The roster at the frontier that this node's next event will have."""
        parents, tip = self.clock.parents(self.me)
        return self.clock.roster_at(self.clock.frontier_of((*parents, *([tip] if tip else []))))

    def freeze(self, why: str, hint: str) -> None:
        """Author nothing more, and say so."""
        if self.frozen is None:
            self.frozen = why
            self.emit(Alarm(why, hint))

    # -- looking ------------------------------------------------------------------------------------------------

    @property
    def roster(self) -> Roster:
        return self.clock.roster

    def node(self, cid: Cid) -> Node | None:
        return self.clock.dag.get(cid)

    def is_cancelled(self, run: Run) -> bool:
        """Whether the run was cancelled, or its submitter removed without keeping its runs."""
        cancelled = bool(run.tally.cancels) or self.clock.dag[run.id].void
        return cancelled or self.roster.drops_runs_of(run.submitter)


def _named(finish: Event) -> Named:
    body = cast("dict[str, Any]", finish.body)
    blobs = tuple(cid for cid in (body["log"], body["report"]) if cid is not None)
    return Named(finish.author, blobs, tuple(entry["link"] for entry in (*body["artifacts"], *body["caches"])))


def superseded(submission: Event) -> list[Cid]:
    """The runs of its concurrency group whose place a submission takes."""
    concurrency = cast("dict[str, list[Cid]] | None", submission.body["concurrency"])
    return [] if concurrency is None else concurrency["supersedes"]


def chunks(blocks: list[SignedBlock], limit: int = GOSSIP_BYTES) -> list[tuple[SignedBlock, ...]]:
    """Blocks in order, cut into lists of at most `limit` bytes (a larger one stands alone) and MAX_SENT entries."""
    out: list[list[SignedBlock]] = []
    size = 0
    for signed in blocks:
        length = len(signed.block) + len(signed.signature) + 16
        if not out or size + length > limit or len(out[-1]) >= MAX_SENT:
            out.append([])
            size = 0
        out[-1].append(signed)
        size += length
    return [tuple(chunk) for chunk in out]


def integral(number: float) -> float | int:
    """A number as events hold it: integral ones as integers, since many languages cannot tell 3.0 from 3."""
    return int(number) if float(number).is_integer() else float(number)


def about(attempt: Attempt) -> dict[str, object]:
    """The fields by which an event names an attempt."""
    return {"run": attempt.run, "job": attempt.job, "leg": attempt.leg, "attempt": attempt.number}


def finish_ids(run: Run, jobs: tuple[str, ...]) -> list[Cid]:
    """The ids of the outcomes of these jobs, which have all concluded, each once."""
    return list(dict.fromkeys(event.cid for job in jobs for event in run.tally.finishes(job) or ()))


def needs_context(run: Run, jobs: tuple[str, ...]) -> dict[str, dict[str, object]]:
    """The `needs` context of a job whose needs have concluded."""
    return {job: {"result": cast(str, run.tally.result(job)), "outputs": run.tally.outputs(job)} for job in jobs}
