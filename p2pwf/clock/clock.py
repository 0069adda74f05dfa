"""The clock: decides acceptance, keeps the DAG and the rosters, marks what cuts made void.

Acceptance of an event depends on the event and its causal past alone, so all honest peers accept the same set
whatever the order of arrival. Being void depends on all cuts known, so it may change; the set of accepted events does
not. Knows nothing of runs, and of time only what events carry. Source: protocols/events.md, protocols/membership.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias, cast

import attrs

from p2pwf.clock.dag import Dag, Frontier, Node, Past
from p2pwf.core.bodies import FORMS, MEMBERSHIP_TYPES, ROLE_FOR
from p2pwf.core.events import MAX_PARENTS, Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.sign import verify
from p2pwf.roster import EMPTY, Cut, Membership, Roster, evaluate, extended
from p2pwf.roster.roster import ALL_ROLES

ROSTERS_KEPT = 1024
"""Rosters cached by frontier. Events of the present share a few; a walk of old history meets them in order."""
MAX_UPDATES = 1024
"""member.update events of one author: any member may write them, and everyone folds each of them for ever."""
MAX_UNKNOWN = 8 * 1024 * 1024
"""Bytes of one author's events of types that protocols/events.md does not list: room for years of what later programs
may add. No role is asked for them, and no fold looks at them, so nothing else would bound them."""

Verify: TypeAlias = Callable[[PeerId, bytes, bytes], bool]


@attrs.frozen(slots=True)
class Accepted:
    """The event is in the DAG. `revoided`: nodes whose effect changed with it (a cut or a readmission came in)."""

    node: Node
    revoided: tuple[Node, ...] = ()


@attrs.frozen(slots=True)
class Missing:
    """These links are not here; nothing was changed."""

    links: tuple[Cid, ...]


@attrs.frozen(slots=True)
class Invalid:
    """No honest peer wrote it: refused for good."""

    reason: str


class Clock:
    """One network's clock, named by the CID of its genesis event."""

    def __init__(self, network: Cid, verifier: Verify = verify) -> None:
        self.network = network
        self.dag = Dag()
        self._verify = verifier
        self._memberships: list[Membership] = []
        self._frontiers: dict[int, Frontier] = {}
        self._rosters: OrderedDict[int, Roster] = OrderedDict({0: EMPTY})
        self._updates: dict[PeerId, int] = {}
        """Of each author, the mask of its member.update events."""
        self._admissions: dict[PeerId, int] = {}
        """Of each peer ever admitted, the mask of its admissions."""
        self._proofs: dict[PeerId, dict[tuple[int, PeerId], int]] = {}
        """Of each author that forked, by epoch (see `_epoch`) and who proved it, the mask of the member.fork events."""
        self._pasts: dict[Cid, Past] = {}
        """Of each cut that took effect, what it knew of."""
        self.roster: Roster = EMPTY
        """The roster of all that is known."""

    # -- acceptance ---------------------------------------------------------------------------------------------

    def accept(self, event: Event, trusted: bool = False) -> Accepted | Missing | Invalid:
        """Take an event in, or say why not. `trusted`: it comes from this node's own store, its signature checked
        when it was stored. The caller has made sure that it is not in the DAG yet."""
        wanted = event.links()
        found = [self.dag.get(cid) for cid in wanted]
        if None in found:
            return Missing(tuple(cid for cid, node in zip(wanted, found, strict=True) if node is None))
        links = cast("tuple[Node, ...]", tuple(found))
        reason = self._wrong(event, links)
        if reason is not None:
            return Invalid(reason)
        frontier = self.frontier_of(links)
        role = ROLE_FOR.get(event.type)
        if event.type == "member.remove" and event.body["peer"] == event.author:
            role = None
        reason = self._forbidden(event, links, frontier, role)
        if reason is not None:
            return Invalid(reason)
        if not trusted and not self._verify(event.author, event.signed.block, event.signed.signature):
            return Invalid("a signature that is not the author's")
        # One object for each author and each run, and not one for each event that names it.
        before = None if event.prev is None else self.dag.get(event.prev)
        run = event.run
        of = None if run is None else self.dag.get(run)
        author = event.author if before is None else before.author
        unknown = _unknown(event, before)
        node = Node(event, links, frontier, role, author, run if of is None else of.cid, unknown)
        if event.type in MEMBERSHIP_TYPES:
            return self._accept_membership(event, node)
        self.dag.add(node)
        node.void = self._is_void(node)  # only now: a twin of another event is known as one
        self.dag.crown(node)
        return Accepted(node)

    def _wrong(self, event: Event, links: tuple[Node, ...]) -> str | None:
        if (event.cid if event.net is None else event.net) != self.network:
            return "an event of another network"
        if event.prev is not None:
            before = self.dag[event.prev]
            if before.author != event.author or before.seq != event.seq - 1:
                return "prev is not the event before in the author's chain"
        if event.lamport != 1 + max((link.lamport for link in links), default=0):
            return "a lamport number that does not follow from the links"
        if event.type == "member.fork":
            first, second = (self.dag[cast(Cid, event.body[name])] for name in ("first", "second"))
            if first.author != second.author or first.seq != second.seq or first.cid >= second.cid:
                return "no proof of a fork"
            if self._epoch(first) != self._epoch(second):
                return "two events of one seq, apart by a readmission, are no fork"
        return None

    def _forbidden(self, event: Event, links: tuple[Node, ...], frontier: Frontier, role: str | None) -> str | None:
        if event.type == "net.genesis":
            return None
        roster = self.roster_at(frontier)
        if not roster.holds(event.author, role):
            return f"its author was not a member{f' with the role {role}' if role else ''} where it stands"
        reason = self._idle(event, frontier, roster)
        if reason is not None:
            return reason
        for cut in roster.cuts.get(event.author, ()):
            if cut.roles != ALL_ROLES:
                continue
            back = [add for add in cut.readmissions if frontier.mask & add.bit]
            before = None if event.prev is None else self.dag[event.prev]
            if before is not None and any(before.below & add.bit for add in back):
                continue
            if not any(add.tip == event.prev for add in back):
                return "its author was readmitted, to go on from another event"
        return None

    def _idle(self, event: Event, frontier: Frontier, roster: Roster) -> str | None:
        """Why an event that any member may write, and everyone folds for ever, is one too many."""
        if event.type == "member.update":
            before_it = frontier.mask & self._updates.get(event.author, 0)
            if before_it.bit_count() >= MAX_UPDATES:
                return f"its author has changed itself {MAX_UPDATES:,} times"
        elif event.type not in FORMS:
            if _unknown(event, None if event.prev is None else self.dag[event.prev]) > MAX_UNKNOWN:
                return f"its author has written more than {MAX_UNKNOWN:,} bytes of unknown types"
        elif event.type == "member.remove" and event.body["peer"] == event.author:
            if roster.members[event.author].roles.isdisjoint(cast("list[str]", event.body["roles"])):
                return "its author has none of the roles that it gives up"
        elif event.type == "member.fork":
            first = self.dag[cast(Cid, event.body["first"])]
            epoch = self._epoch(first)
            own = self._proofs.get(first.author, {}).get((epoch, event.author), 0)
            if frontier.mask & own or epoch in _proven(roster, first.author):
                return "the fork is proven already where it stands"
        return None

    def _epoch(self, node: Node) -> int:
        """The admissions of its author below a node: a fork is of one of them. What an admin writes to admit itself
        belongs to the one before: it must not part that event from another one of its seq."""
        return node.frontier.mask & self._admissions.get(node.author, 0)

    def frontier_of(self, links: tuple[Node, ...]) -> Frontier:
        """The membership events at or below these nodes."""
        if not links:
            return self._shared(0)
        shared = links[0].frontier
        for link in links:
            if link.bit or link.frontier is not shared:
                break
        else:
            return shared
        mask = 0
        for link in links:
            mask |= link.below
        return self._shared(mask)

    def _shared(self, mask: int) -> Frontier:
        frontier = self._frontiers.get(mask)
        if frontier is None:
            frontier = self._frontiers[mask] = Frontier(mask)
        return frontier

    # -- membership ---------------------------------------------------------------------------------------------

    def _accept_membership(self, event: Event, node: Node) -> Accepted:
        membership = self._membership(event, len(self._memberships), node.frontier.mask)
        self._memberships.append(membership)
        node.bit = membership.bit
        if event.type == "member.update":
            self._updates[event.author] = self._updates.get(event.author, 0) | node.bit
        elif membership.admits:
            self._admissions[membership.peer] = self._admissions.get(membership.peer, 0) | node.bit
        elif event.type == "member.fork":
            proofs = self._proofs.setdefault(membership.peer, {})
            claim = membership.admissions, membership.author
            proofs[claim] = proofs.get(claim, 0) | node.bit
        self.dag.add(node)
        node.void = self._is_void(node)  # only now: a twin of another event is known as one
        self.dag.crown(node)
        before = self.roster
        self.roster = extended(before, membership) or evaluate(self._memberships)
        revoided = self._revoid(before.cuts) if before.cuts or self.roster.cuts else ()
        return Accepted(node, revoided)

    def _membership(self, event: Event, number: int, past: int) -> Membership:
        body = event.body
        peer, roles, about, admissions = event.author, ALL_ROLES, body, 0
        if event.type == "net.genesis":
            about = cast("dict[str, object]", body["founder"])  # type: ignore[assignment]
        elif event.type == "member.fork":
            first = self.dag[cast(Cid, body["first"])]
            peer, admissions = first.author, self._epoch(first)
        elif event.type in ("member.add", "member.remove"):
            peer, roles = cast(PeerId, body["peer"]), frozenset(cast("list[str]", body["roles"]))
            admissions = past & self._admissions.get(peer, 0)
        else:
            roles = frozenset()
        return Membership(
            number=number,
            cid=event.cid,
            author=event.author,
            lamport=event.lamport,
            past=past,
            type=event.type,
            peer=peer,
            roles=roles,
            name=str(about.get("name", "")),
            labels=tuple(cast("list[str]", about.get("labels", ()))),
            slots=cast(int, about.get("slots", 0)),
            tip=cast("Cid | None", body.get("tip")),
            keep_runs=bool(body.get("keep_runs", False)),
            admissions=admissions,
        )

    def roster_at(self, frontier: Frontier) -> Roster:
        """The roster of the membership events below a node. Cached; Cost otherwise: see `roster.evaluate`."""
        mask = frontier.mask
        if mask == self.roster.mask:
            return self.roster
        roster = self._rosters.get(mask)
        if roster is None:
            top = self._memberships[mask.bit_length() - 1]
            base = self._rosters.get(top.past) if top.past | top.bit == mask else None
            roster = (base and extended(base, top)) or evaluate(
                [event for event in self._memberships if event.bit & mask]
            )
            self._rosters[mask] = roster
            if len(self._rosters) > ROSTERS_KEPT:
                self._rosters.popitem(last=False)
        else:
            self._rosters.move_to_end(mask)
        return roster

    # -- cuts ---------------------------------------------------------------------------------------------------

    def _is_void(self, node: Node) -> bool:
        """Whether a cut leaves the event without effect. Admissions and cuts never are: which of them count is for the
        roster to say, and every peer has to hold all of them to come to the same one."""
        if node.bit and not node.bit & self._updates.get(node.author, 0):
            return False
        return any(self._voided_by(node, cut) for cut in self.roster.cuts.get(node.author, ()))

    def _voided_by(self, node: Node, cut: Cut) -> bool:
        if not cut.touches(node.role) or any(
            node.frontier.mask & add.bit and (node.role is None or node.role in add.roles) for add in cut.readmissions
        ):
            return False
        past = self._pasts.get(cut.event.cid)
        if past is None or (self.dag.is_forked(node.author) and not past.knows_fork(node.author)):
            past = self._pasts[cut.event.cid] = self.dag.past(cut.event.cid)
        return node not in past

    def _revoid(self, before: object) -> tuple[Node, ...]:
        """Mark what the cuts now known leave without effect; returns the nodes whose mark changed."""
        if before is self.roster.cuts:
            return ()
        changed = []
        for author in {*self.roster.cuts, *cast("dict[PeerId, object]", before)}:
            for node in self.dag.of(author):
                void = self._is_void(node)
                if void != node.void:
                    node.void = void
                    changed.append(node)
        if changed:
            self.dag.rebuild_heads()
        return tuple(changed)

    def fork_of(self, author: PeerId) -> tuple[Node, Node] | None:
        """Two events of one seq by `author` that prove a fork which is not proven yet: neither is void, and no
        readmission parts them.

        A proof by who is a member takes effect, or would leave no admin; one by anyone else may be void.
        """
        by_members = {epoch for epoch, by in self._proofs.get(author, ()) if self.roster.holds(by, None)}
        proven = by_members | _proven(self.roster, author)
        for level in self.dag.forks(author):
            seen: dict[int, Node] = {}
            for node in level:
                epoch = self._epoch(node)
                if not node.void and epoch not in proven and seen.setdefault(epoch, node) is not node:
                    return seen[epoch], node
        return None

    def is_signed(self, event: Event) -> bool:
        """Whether the signature is its author's."""
        return self._verify(event.author, event.signed.block, event.signed.signature)

    # -- authoring ----------------------------------------------------------------------------------------------

    def parents(self, author: PeerId) -> tuple[tuple[Node, ...], Node | None]:
        """What a new event of `author` stands on: at most MAX_PARENTS heads (its own newest among them, and the
        newest of the others), and its chain's tip."""
        tips = self.dag.tips(author)
        tip = tips[-1] if tips else None
        heads = self.dag.heads()
        if len(heads) > MAX_PARENTS:
            newest_first = sorted(heads, key=lambda node: (node is not tip, -node.lamport, node.cid))
            heads = newest_first[:MAX_PARENTS]
        return tuple(heads), tip


def _unknown(event: Event, before: Node | None) -> int:
    """Bytes of the events of unknown type in an author's chain up to an event, `before` the one before it."""
    spent = 0 if before is None else before.unknown
    return spent if event.type in FORMS else spent + len(event.signed.block)


def _proven(roster: Roster, author: PeerId) -> set[int]:
    """The admissions (as masks) of an author of which a fork is proven to effect in a roster."""
    cuts = (cut.event for cut in roster.cuts.get(author, ()))
    return {cut.admissions for cut in cuts if cut.type == "member.fork" and cut.peer == author}
