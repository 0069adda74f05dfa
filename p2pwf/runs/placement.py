"""Which member owns attempt 1 of which leg, and who is next in order. A pure function of the submission and rosters.

The hashes and the distance are `assign`'s; here they meet rosters, labels and absence. Candidates are the members with
the run role and slots whose labels satisfy the leg, at the submission's own frontier; those that the submission calls
absent count only if nobody else is left. Source: protocols/assignment.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

from p2pwf import assign
from p2pwf.core.ids import Cid, PeerId
from p2pwf.roster import Member, Roster
from p2pwf.runs.labels import may_run


@attrs.frozen(slots=True)
class Ranked:
    """A candidate for one task. `distance`: 0..256 bits; `tie`: the fair tie-break, 32 bytes."""

    member: Member
    distance: int
    tie: bytes


class RunPlacement:
    """The assignment of one run. Ranks are computed when asked for; rosters are given by the caller."""

    def __init__(self, run: Cid, parents: Iterable[Cid], absent: Collection[PeerId]) -> None:
        self._run = run
        self.clock_head = assign.clock_head(parents)
        self.absent = frozenset(absent)

    def task(self, job: str, leg: int) -> bytes:
        """The task hash of a job instance."""
        return assign.task_hash(self._run, job, leg)

    def combined(self, job: str, leg: int) -> bytes:
        return assign.combined(self.clock_head, self.task(job, leg))

    def ranked(self, job: str, leg: int, labels: Sequence[str], roster: Roster) -> list[Ranked]:
        """Every member of `roster` that may run the leg, in order: by distance, then by the tie-break."""
        point = self.combined(job, leg)
        found = [
            Ranked(member, assign.distance(point, assign.peer_hash(member.peer)), assign.tie_break(point, member.peer))
            for member in self.fitting(labels, roster)
        ]
        found.sort(key=lambda one: (one.distance, one.tie))
        return found

    def everyone(self, job: str, leg: int, roster: Roster) -> list[PeerId]:
        """All with the run role, whatever they offer, in the order of the leg: who ends what nobody may run."""
        point = self.combined(job, leg)
        able = [member.peer for member in roster.members.values() if member.can("run")]
        return sorted(able, key=lambda peer: (assign.distance(point, assign.peer_hash(peer)), peer))

    def fitting(self, labels: Sequence[str], roster: Roster) -> list[Member]:
        """Every member of `roster` that may run what asks for `labels`, in no order."""
        return [
            member
            for member in roster.members.values()
            if member.can("run") and member.slots > 0 and may_run(member.peer, member.labels, labels)
        ]

    def place(self, wave: Sequence[tuple[str, int, tuple[str, ...]]], roster: Roster) -> list[PeerId | None]:
        """The owners of a wave's legs (job, leg, labels), one after the other, each the candidate with the smallest
        (load // slots, load, distance, tie-break), load being what it holds of this wave already."""
        placement = assign.Placement()
        candidates: dict[tuple[str, ...], list[assign.Candidate]] = {}
        owners = []
        for job, leg, labels in wave:
            if labels not in candidates:
                members = self.fitting(labels, roster)
                present = [member for member in members if member.peer not in self.absent] or members
                candidates[labels] = [assign.Candidate(member.peer, member.slots) for member in present]
            owners.append(placement.place(self.combined(job, leg), candidates[labels]))
        return owners


def next_owner(order: Sequence[PeerId], tried: Mapping[PeerId, int], barred: Collection[PeerId]) -> PeerId | None:
    """Of the candidates in `order`, not barred (absent, or having refused), the one with the fewest attempts, then
    the first: who takes over a silent attempt."""
    open_to = [peer for peer in order if peer not in barred]
    return min(open_to, key=lambda peer: tried.get(peer, 0), default=None)
