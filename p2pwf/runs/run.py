"""One run, folded from its events. Whether an event counts is judged from its own past alone, by `after` links.

An event that breaks a rule is in the clock and has no effect. Judgement needs only what lies below an event, so it is
made once, when the event comes in, and made anew only where a cut makes events void. Source: protocols/runs.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, cast

from p2pwf.core.bodies import MAX_ATTEMPTS
from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.roster import Roster
from p2pwf.runs.placement import RunPlacement, next_owner
from p2pwf.runs.plan import Leg, read_group, read_legs, read_plan
from p2pwf.runs.tally import LegState, RunEvent, Tally

Key = tuple[str, int]

ATTEMPT_TYPES: Final = frozenset(("job.start", "job.finish", "job.refuse", "job.reassign", "job.lost"))


class Run:
    """The state of one run: a pure function of the set of its events and of which of them are void."""

    def __init__(self, submission: Event, roster: Roster) -> None:
        self.id = submission.cid
        self.submission = submission
        self.submitter = submission.author
        self.roster = roster
        """The roster at the submission's frontier: attempt 1 is placed by it, on every peer, at any later time."""
        body = submission.body
        self.plan = read_plan(body["plan"])
        concurrency = cast("dict[str, Value] | None", body["concurrency"])
        self.group = None if concurrency is None else read_group(concurrency)
        """The concurrency group of the run as a whole."""
        self.placement = RunPlacement(self.id, submission.parents, cast("list[PeerId]", body["absent"]))
        self._placed: dict[Key, PeerId | None] = {}
        for wave in self.plan.waves():
            self._place(wave, {key: self._planned(key).labels for key in wave})
        self._orders: dict[Key, tuple[Roster, tuple[str, ...], list[PeerId]]] = {}
        self._expanded: dict[Cid, dict[Key, PeerId | None]] = {}
        self.events: dict[Cid, RunEvent] = {}
        self.heads: dict[Cid, RunEvent] = {}
        self.carried = {entry.cid: entry for entry in self._carried()}
        """What a rerun carries over from another run, expansions and outcomes, by the ids they have there."""
        self._by_leg: dict[Key, list[RunEvent]] = {}
        self._by_job: dict[str, list[RunEvent]] = {}
        for entry in self.carried.values():
            self._sort(entry)
        self.tally = self._fresh_tally()
        first = RunEvent(
            self.id, submission.author, submission.lamport, "run.submit", {}, 1, 0, roster, submission.time, counts=True
        )
        self.events[self.id] = self.heads[self.id] = first

    def _carried(self) -> Iterator[RunEvent]:
        """What the submission of a rerun says of another run, as events below all others."""
        rerun = cast("dict[str, list[dict[str, Value]]] | None", self.submission.body["rerun"])
        if rerun is None:
            return
        entries = [*rerun["expands"], *rerun["carries"]]
        legs = {name: -1 if job.legs is None else len(job.legs) for name, job in self.plan.jobs.items()}
        seen: set[Key | Cid] = set()
        for lamport, body in enumerate(entries, -len(entries)):
            kind, link = ("job.finish", "finish") if "finish" in body else ("job.expand", "expand")
            job, cid = cast(str, body["job"]), cast(Cid, body[link])
            key = (job, cast(int, body.get("leg", -1)))
            if cid in seen or key in seen or job not in legs:
                continue
            if kind == "job.expand":
                named = cast("list[Value]", body["legs"])
                if legs[job] != -1 or (body["conclusion"] is None) != bool(named):
                    continue
                legs[job] = len(named)
            elif key[1] >= legs[job]:
                continue
            seen |= {key, cid}
            rest: dict[str, Value] = {"uses": [], "error": None, "attempt": 1, "caches": []}
            yield RunEvent(
                cid=cid,
                author=cast(PeerId, body["author"]),
                lamport=lamport,
                type=kind,
                body={**rest, **body},
                bit=1,
                past=0,
                roster=self.roster,
                time=cast(int, body["time"]),
                counts=True,
            )

    def _fresh_tally(self) -> Tally:
        tally = Tally(self.plan)
        for entry in self.carried.values():
            tally.apply(entry)
        return tally

    def known(self, cid: Cid) -> RunEvent | None:
        """An event of this run, or one that it carries over."""
        return self.events.get(cid) or self.carried.get(cid)

    # -- events -------------------------------------------------------------------------------------------------

    def add(self, event: Event, roster: Roster, void: bool) -> RunEvent:
        """Take in an event about this run, whose links were taken in before; `roster` is the one at its frontier."""
        past = 0
        for cid in event.after:
            below = self.events.get(cid)
            if below is not None:
                past |= below.past | below.bit
        entry = RunEvent(
            event.cid,
            event.author,
            event.lamport,
            event.type,
            event.body,
            1 << len(self.events),
            past,
            roster,
            event.time,
            void,
        )
        self.events[event.cid] = entry
        self._sort(entry)
        self._take(entry)
        self._raise_heads(entry)
        return entry

    def _sort(self, entry: RunEvent) -> None:
        if entry.type in ATTEMPT_TYPES:
            self._by_leg.setdefault(entry.key, []).append(entry)
        elif entry.type == "job.expand":
            self._by_job.setdefault(entry.key[0], []).append(entry)

    def _raise_heads(self, entry: RunEvent) -> None:
        """Keep `heads`: the events that count and that no other one that counts lies above; but no notes, which only
        join what they stand on, and which any member may write by the thousand."""
        if entry.counts and not entry.void and entry.type != "run.note":
            self.heads = {cid: head for cid, head in self.heads.items() if not head.bit & entry.past}
            self.heads[entry.cid] = entry

    def revoid(self, void: Callable[[Cid], bool]) -> None:
        """Fold anew after a cut: `void` tells which events have no effect now."""
        self.tally = self._fresh_tally()
        self.heads = {}
        for entry in self.events.values():
            entry.void = void(entry.cid)
            if entry.type != "run.submit":
                self._take(entry)
            self._raise_heads(entry)

    def _take(self, entry: RunEvent) -> None:
        entry.counts = not entry.void and bool(entry.past & 1) and self._judge(entry)
        if entry.counts:
            self.tally.apply(entry)

    @property
    def forced(self) -> bool:
        """Whether a cancellation that counts stands on another one: then nothing goes on, whatever its `if` says."""
        cancels = self.tally.cancels
        return any(one.past & other.bit for one in cancels for other in cancels)

    # -- who owns what ------------------------------------------------------------------------------------------

    def _planned(self, key: Key) -> Leg:
        return cast("tuple[Leg, ...]", self.plan.jobs[key[0]].legs)[key[1]]

    def _place(self, wave: Iterable[Key], labels: Mapping[Key, tuple[str, ...]]) -> None:
        keys = list(wave)
        owners = self.placement.place([(*key, labels[key]) for key in keys], self.roster)
        self._placed.update(zip(keys, owners, strict=True))

    def _placed_by(self, expand: RunEvent) -> dict[Key, PeerId | None]:
        """The owners of an expanded job's legs: a wave of its own."""
        owners = self._expanded.get(expand.cid)
        if owners is None:
            legs = read_legs(expand.body["legs"])
            keys = [(expand.key[0], index) for index in range(len(legs))]
            wave = [(*key, leg.labels) for key, leg in zip(keys, legs, strict=True)]
            placed = self.placement.place(wave, self.roster)
            owners = self._expanded[expand.cid] = dict(zip(keys, placed, strict=True))
        return owners

    def placed(self, key: Key, past: int | None = None) -> PeerId | None:
        """The owner of attempt 1 of a leg by assignment, as of the events in `past` (all, if None)."""
        if self.plan.jobs[key[0]].legs is not None:
            return self._placed.get(key)
        expand = self._expand(key[0], past)
        return None if expand is None else self._placed_by(expand).get(key)

    def _expand(self, job: str, past: int | None) -> RunEvent | None:
        if past is None:
            return self.tally.expands.get(job)
        below = [entry for entry in self._by_job.get(job, ()) if entry.counts and entry.bit & past]
        return min(below, key=lambda entry: entry.order, default=None)

    def leg_in(self, key: Key, past: int) -> LegState:
        """A leg as the events in `past` have it."""
        state = LegState()
        for entry in self._by_leg.get(key, ()):
            if entry.counts and entry.bit & past:
                state.apply(entry)
        return state

    def was_begun(self, key: Key, number: int, peer: PeerId) -> bool:
        """Whether a peer has written that it starts an attempt, even if a cut has made that void since."""
        return any(
            entry.type == "job.start" and entry.attempt == number and entry.author == peer
            for entry in self._by_leg.get(key, ())
        )

    def leg(self, key: Key) -> Leg | None:
        """What is planned for a leg, by the submission or by the job's expand; None if there is no such leg."""
        return self._leg_at(key, None)

    def _leg_at(self, key: Key, past: int | None) -> Leg | None:
        job = self.plan.jobs.get(key[0])
        if job is None:
            return None
        legs = job.legs
        if legs is None:
            expand = self._expand(key[0], past)
            legs = () if expand is None else read_legs(expand.body["legs"])
        return legs[key[1]] if key[1] < len(legs) else None

    def owner(self, key: Key) -> PeerId | None:
        """Who owns the newest attempt of a leg."""
        state = self.tally.leg(key)
        return state.owner(state.attempt, self.placed(key))

    def order(self, key: Key, roster: Roster) -> list[PeerId]:
        """The members at `roster` that may run a leg, nearest first."""
        leg = self.leg(key)
        if leg is None:
            return []
        known = self._orders.get(key)
        if known is None or known[0] is not roster or known[1] != leg.labels:
            ranked = self.placement.ranked(*key, leg.labels, roster)
            known = self._orders[key] = (roster, leg.labels, [one.member.peer for one in ranked])
        return known[2]

    # -- judgement ----------------------------------------------------------------------------------------------

    def _judge(self, entry: RunEvent) -> bool:
        kind = entry.type
        if kind in ATTEMPT_TYPES:
            leg = self._leg_at(entry.key, entry.past)
            return leg is not None and self._uses_known(entry) and self._judge_attempt(entry, leg)
        if kind == "job.expand":
            job = self.plan.jobs.get(entry.key[0])
            is_open = job is not None and job.legs is None and self._expand(entry.key[0], entry.past) is None
            has_one = (entry.body["conclusion"] is None) == bool(entry.body["legs"])
            return is_open and has_one and self._uses_known(entry)
        if kind in ("run.cancel", "run.priority"):
            return entry.author == self.submitter or entry.roster.holds(entry.author, "admin")
        if kind == "run.end":
            return self._judge_end(entry)
        return kind == "run.note"

    def _uses_known(self, entry: RunEvent) -> bool:
        """Whether every outcome that an event names counts and lies in its past."""
        for cid in entry.uses:
            used = self.known(cid)
            if used is None or not used.counts or not used.bit & entry.past:
                return False
            if used.type not in ("job.finish", "job.lost", "job.expand"):
                return False
        return True

    def _judge_attempt(self, entry: RunEvent, leg: Leg) -> bool:
        state = self.leg_in(entry.key, entry.past)
        if state.finishes:
            return False
        placed = self.placed(entry.key, entry.past)
        owner = state.owner(state.attempt, placed)
        if entry.type == "job.reassign":
            return self._judge_reassign(entry, leg, state, placed)
        if entry.type == "job.lost":
            return entry.attempt == state.attempt == MAX_ATTEMPTS
        if entry.attempt != state.attempt or entry.author != owner:
            return False
        given = state.reassigns.get(entry.attempt)
        if given is not None and given.ends:
            return entry.type == "job.finish" and entry.body["conclusion"] == "cancelled"
        return entry.type == "job.finish" or entry.attempt not in state.starts

    def _judge_reassign(self, entry: RunEvent, leg: Leg, state: LegState, placed: PeerId | None) -> bool:
        owner = state.owner(state.attempt, placed)
        expected = 1 if owner is None else state.attempt + 1
        if entry.attempt != expected:
            return False
        named = cast(PeerId, entry.body["owner"])
        entry.ends = False
        if named == entry.author == owner:
            before = state.reassigns.get(state.attempt)
            entry.ends = before is not None and before.ends
            return True  # an owner that was restarted closes its interrupted attempt and goes on itself
        order = [one.member.peer for one in self.placement.ranked(*entry.key, leg.labels, entry.roster)]
        barred = state.refused() | set(cast("list[PeerId]", entry.body["absent"]))
        chosen = next_owner(order, state.tried(placed), barred)
        entry.ends = chosen is None
        if entry.ends:
            return named == entry.author and self._is_cancelled_below(entry)
        return entry.author in order and named == chosen

    def _is_cancelled_below(self, entry: RunEvent) -> bool:
        """Whether the run was cancelled as an event's past has it, or its submitter removed without keeping runs."""
        below = (other for other in self.events.values() if other.counts and other.bit & entry.past)
        return any(other.type == "run.cancel" for other in below) or entry.roster.drops_runs_of(self.submitter)

    def _judge_end(self, entry: RunEvent) -> bool:
        """Whether a run.end names every job's outcome, and the conclusion, as its own past has them."""
        below = self._fresh_tally()
        for other in self.events.values():
            if other.counts and other.bit & entry.past:
                below.apply(other)
        if below.end is not None:
            return False
        return entry.body["conclusion"] == below.conclusion() and entry.body["finishes"] == end_list(below)


def end_list(tally: Tally) -> list[Cid]:
    """What a run.end names; see `Tally.outcomes`."""
    return tally.outcomes()
