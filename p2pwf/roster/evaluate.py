"""From a set of membership events to a roster: adds, updates, and cuts walked in one pass.

The set is closed under causality. Cuts are taken in one order, the same on every peer: proven forks first, then by the
depth of the cut's author in the admission chain from the founder, the (lamport, id) of that author's own admission,
and the (lamport, id) of the cut. A cut takes effect unless an earlier one of the walk has cut its author and it lies
outside that cut's past, its author has said the same before, or it would leave the network without an admin. What took
effect stays. An act of a cut peer
counts only in the past of every cut of it that took effect, or after a readmission that has that cut in its past: so a
stolen key cannot backdate, and the peers that it let in go with it. Source: protocols/membership.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from p2pwf.core.ids import Cid, PeerId
from p2pwf.roster.roster import ALL_ROLES, Cut, Member, Membership, Roster


def evaluate(events: Sequence[Membership]) -> Roster:
    """The roster of a causally closed set of membership events, whatever their order in the sequence.

    Cost: O(n log n) for n events, and O(n) more for each cut that takes effect.
    """
    return _Walk(sorted(events, key=lambda event: event.order)).roster()


def extended(base: Roster, event: Membership) -> Roster | None:
    """The roster of `base` and one more event on top of all of it, or None where only a full walk can tell.

    A network grows by one admission after another; this keeps that linear where no cut is involved. A cut that only
    repeats another needs nothing below it, and a member that is not cut may change itself.
    """
    if event.cuts:
        repeated = any(event.repeats(cut.event) for cut in base.cuts.get(event.peer, ()))
        return attrs.evolve(base, mask=base.mask | event.bit) if repeated else None
    if event.past != base.mask or (base.cuts and (event.admits or event.peer in base.cuts)):
        return None
    admissions = dict(base.admissions)
    if event.admits:
        admissions[event.peer] = (*admissions.get(event.peer, ()), event)
    before = base.members.get(event.peer)
    roles = event.roles if before is None else before.roles | event.roles
    if event.type == "member.update" and before is None:
        return None
    members = dict(base.members)
    members[event.peer] = Member(event.peer, roles, event.name, event.labels, event.slots)
    return Roster(base.mask | event.bit, members, base.cuts, admissions)


@attrs.define(slots=True)
class _Walk:
    """The walk's working state; `_cuts` grows, and shrinks only when a cut would leave no admin."""

    _events: list[Membership]
    _cuts: dict[PeerId, list[Cut]] = attrs.field(factory=dict)
    _adds: dict[PeerId, list[Membership]] = attrs.field(factory=dict)
    _claims: set[tuple[object, ...]] = attrs.field(factory=set)
    """What the cuts so far said, void ones aside."""
    _void_adds: set[int] = attrs.field(factory=set)
    """Numbers of the adds that are void by the cuts so far: found anew, in order, whenever the cuts change."""

    def roster(self) -> Roster:
        for event in self._events:
            if event.admits:
                self._adds.setdefault(event.peer, []).append(event)
        rank = self._ranks()
        cuts = [event for event in self._events if event.cuts]
        for cut in sorted(cuts, key=lambda event: (event.type != "member.fork", *rank[event.author], event.order)):
            self._apply(cut)
        mask = 0
        for event in self._events:
            mask |= event.bit
        return Roster(mask, self._members(), self._final_cuts(), self._counting_adds())

    def _ranks(self) -> Mapping[PeerId, tuple[int, tuple[int, Cid]]]:
        """Of each peer ever admitted: its depth in the admission chain, and the order of its own (first) admission."""
        ranks: dict[PeerId, tuple[int, tuple[int, Cid]]] = {}
        for event in self._events:
            if event.admits and event.peer not in ranks:
                depth = 0 if event.type == "net.genesis" else ranks[event.author][0] + 1
                ranks[event.peer] = (depth, event.order)
        return ranks

    def _apply(self, event: Membership) -> None:
        others = event.type == "member.remove" and event.peer != event.author
        if event.claim in self._claims or self._void(event, event.author, "admin" if others else None):
            return
        self._claims.add(event.claim)
        before = {peer: list(cuts) for peer, cuts in self._cuts.items()}
        self._cuts.setdefault(event.peer, []).append(Cut(event.peer, event.roles, event))
        self._refresh()
        touched = {event.peer}
        while touched:
            touched = self._cascade(event, touched)
            self._refresh()
        if not any("admin" in self._roles(peer) for peer in self._adds):
            self._cuts = before
            self._refresh()

    def _cascade(self, event: Membership, touched: set[PeerId]) -> set[PeerId]:
        """Cut whom only the touched peers had admitted: those all of whose adds are void by now."""
        fallen = set()
        for peer, adds in self._adds.items():
            if not any(add.author in touched for add in adds) or any(
                cut.event is event and cut.roles == ALL_ROLES for cut in self._cuts.get(peer, ())
            ):
                continue
            if all(self._void_add(add) for add in adds):
                self._cuts.setdefault(peer, []).append(Cut(peer, ALL_ROLES, event))
                fallen.add(peer)
        return fallen

    def _refresh(self) -> None:
        """Find the void adds. In (lamport, id) order, so that the adds of an add's author are settled before it."""
        self._void_adds = set()
        for event in self._events:
            if event.type == "member.add" and self._void(event, event.author, "admin"):
                self._void_adds.add(event.number)

    def _void_add(self, add: Membership) -> bool:
        return add.number in self._void_adds

    def _void(self, act: Membership, author: PeerId, role: str | None) -> bool:
        """Whether an act counts no more, by the cuts so far."""
        for cut in self._cuts.get(author, ()):
            if cut.touches(role) and not cut.event.past & act.bit and cut.event is not act:
                readmitted = any(
                    add.past & cut.event.bit and act.past & add.bit and (role is None or role in add.roles)
                    for add in self._adds.get(author, ())
                    if not self._void_add(add)
                )
                if not readmitted:
                    return True
        return False

    def _roles(self, peer: PeerId) -> frozenset[str]:
        held: set[str] = set()
        for add in self._adds.get(peer, ()):
            if not self._void_add(add):
                lost = {role for cut in self._cuts.get(peer, ()) if not add.past & cut.event.bit for role in cut.roles}
                held |= add.roles - lost
        return frozenset(held)

    def _members(self) -> Mapping[PeerId, Member]:
        about: dict[PeerId, Membership] = {}
        for event in self._events:
            if (event.admits and not self._void_add(event)) or (
                event.type == "member.update" and not self._void(event, event.author, None)
            ):
                about[event.peer] = event
        members = {}
        for peer in self._adds:
            roles = self._roles(peer)
            if roles:
                latest = about[peer]
                members[peer] = Member(peer, roles, latest.name, latest.labels, latest.slots)
        return members

    def _counting_adds(self) -> Mapping[PeerId, tuple[Membership, ...]]:
        return {
            peer: counting
            for peer, adds in self._adds.items()
            if (counting := tuple(add for add in adds if not self._void_add(add)))
        }

    def _final_cuts(self) -> Mapping[PeerId, tuple[Cut, ...]]:
        final = {}
        for peer, cuts in self._cuts.items():
            adds = [add for add in self._adds.get(peer, ()) if not self._void_add(add)]
            final[peer] = tuple(
                attrs.evolve(cut, readmissions=tuple(add for add in adds if add.past & cut.event.bit)) for cut in cuts
            )
        return final
