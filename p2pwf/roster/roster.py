"""The values of membership: one membership event, a member, a cut, a roster. Knows nothing of the DAG around them.

Membership events are few, so each is given a small number as it is accepted, and a set of them is an int used as a bit
mask: `past` of an event is the mask of the membership events below it, and asking whether one lies in another's past
is one bit test. Numbers are local to a node; everything that two nodes compare goes by (lamport, id).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from p2pwf.core.bodies import ROLES
from p2pwf.core.ids import Cid, PeerId

ALL_ROLES = frozenset(ROLES)


@attrs.frozen(slots=True, eq=False)
class Membership:
    """One accepted membership event (net.genesis, member.add, member.update, member.remove, member.fork)."""

    number: int
    cid: Cid
    author: PeerId
    lamport: int
    past: int
    type: str
    peer: PeerId
    """Whom it is about: the founder, the peer added, updated or removed, the peer that forked."""
    roles: frozenset[str]
    """Roles given (genesis, add) or taken (remove, fork)."""
    name: str = ""
    labels: tuple[str, ...] = ()
    slots: int = 0
    tip: Cid | None = None
    """For a readmission: the last event of the peer's old chain, from which the chain goes on."""
    keep_runs: bool = False
    admissions: int = 0
    """For a cut: the admissions of `peer` that it is about, as a mask. Of a removal those in its past, of a fork those
    at or below the two events."""

    @property
    def bit(self) -> int:
        return 1 << self.number

    @property
    def order(self) -> tuple[int, Cid]:
        return self.lamport, self.cid

    @property
    def admits(self) -> bool:
        return self.type in ("net.genesis", "member.add")

    @property
    def cuts(self) -> bool:
        return self.type in ("member.remove", "member.fork")

    @property
    def claim(self) -> tuple[object, ...]:
        """What a cut says: of several by one author that say the same, one counts."""
        return self.author, self.type, self.peer, self.roles, self.keep_runs, self.admissions

    def repeats(self, other: Membership) -> bool:
        """Whether this cut says what `other`, which comes before it in the walk, has said."""
        return self.claim == other.claim and self.order > other.order


@attrs.frozen(slots=True)
class Member:
    """One member as a roster shows it. `slots`: jobs it runs at a time, 0 = never runs jobs."""

    peer: PeerId
    roles: frozenset[str]
    name: str
    labels: tuple[str, ...]
    slots: int

    def can(self, role: str) -> bool:
        return role in self.roles


@attrs.frozen(slots=True, eq=False)
class Cut:
    """A cut that took effect: acts of `peer` that need one of `roles` count no more outside of the past of `event`,
    until one of `readmissions`, which have it in their past."""

    peer: PeerId
    roles: frozenset[str]
    event: Membership
    readmissions: tuple[Membership, ...] = ()

    def touches(self, role: str | None) -> bool:
        """Whether acts that need `role` (None: membership of any kind) fall under this cut."""
        return self.roles == ALL_ROLES if role is None else role in self.roles


@attrs.frozen(slots=True, eq=False)
class Roster:
    """The members at one frontier, and the cuts that took effect there."""

    mask: int
    members: Mapping[PeerId, Member]
    cuts: Mapping[PeerId, tuple[Cut, ...]]
    admissions: Mapping[PeerId, tuple[Membership, ...]]
    """The adds of each peer that count, in (lamport, id) order."""

    def holds(self, peer: PeerId, role: str | None) -> bool:
        """Whether `peer` is a member with `role` (None: with any role)."""
        member = self.members.get(peer)
        return member is not None and (role is None or role in member.roles)

    def drops_runs_of(self, submitter: PeerId) -> bool:
        """Whether a submitter is no member any more, and no cut of it says that its runs are to be kept."""
        kept = any(cut.event.keep_runs for cut in self.cuts.get(submitter, ()))
        return not self.holds(submitter, None) and not kept


EMPTY = Roster(0, {}, {}, {})
