"""Admission: tickets, join requests, adding and removing members. Writes events; what they mean is the roster's.

A ticket is kept as the SHA-256 of its secret, with its roles and its end, at its issuer alone; redeeming it and the
admission that it gives are one store, so a crash can neither lose a ticket nor let it work twice.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import Any, Final, cast

import attrs

from p2pwf.core.bodies import ROLES
from p2pwf.core.dagcbor import decode, encode
from p2pwf.core.events import EventError
from p2pwf.core.ids import PeerId, public_key_of
from p2pwf.engine.config import MAX_REQUESTS, MAX_TICKETS
from p2pwf.engine.desk import Desk
from p2pwf.engine.inputs import AddMember, Invite, JoinAsked, RemoveMember, Token, UpdateSelf
from p2pwf.engine.outputs import Reply
from p2pwf.errors import NotFound, P2pwfError, Refused, TryAgain, UsageError

TICKET: Final = "ticket/"


@attrs.frozen(slots=True)
class Ticket:
    """What an issuer keeps of a ticket: the roles it gives, when it ends (wall ms), who has used it."""

    roles: tuple[str, ...]
    expires: int
    by: PeerId | None = None

    def to_bytes(self) -> bytes:
        return encode(attrs.asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Ticket:
        value = cast("dict[str, Any]", decode(data))
        return cls(tuple(value["roles"]), value["expires"], value["by"])


class Membership:
    """The door. `requests`: who asked to be admitted without a ticket, newest last."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.requests: OrderedDict[PeerId, JoinAsked] = OrderedDict()

    def invite(self, request: Invite) -> None:
        """Keep a ticket; only an admin's ticket can be redeemed, so only an admin may make one."""
        self._require_admin("invite")
        self._drop_expired()
        if sum(name.startswith(TICKET) for name in self._desk.meta) >= MAX_TICKETS:
            raise TryAgain(f"{MAX_TICKETS} tickets are open", "wait until some expire, or use shorter --ttl")
        roles = _sorted_roles(request.roles)
        ticket = Ticket(tuple(roles), request.expires)
        self._desk.set_meta(TICKET + request.digest.hex(), ticket.to_bytes())
        self._reply(request.token, {"roles": roles, "expires": request.expires})

    def _drop_expired(self) -> None:
        for name, value in list(self._desk.meta.items()):
            if name.startswith(TICKET) and Ticket.from_bytes(value).expires < self._desk.now.wall:
                self._desk.set_meta(name, None)

    def join(self, request: JoinAsked) -> None:
        """Answer a join request: admitted, pending, refused or removed, and why."""
        peer = request.peer
        network = {"network": self._desk.network}
        former = bool(self._desk.roster.cuts.get(peer))
        if request.network is not None and request.network != self._desk.network:
            self._reply(request.token, {"status": "refused", "reason": "this is another network", **network})
        elif self._desk.roster.holds(peer, None):
            self._reply(request.token, {"status": "admitted", "reason": "", **network})
        elif request.secret is not None:
            status, reason = self._redeem(request, sha256(request.secret).hexdigest())
            if status == "refused" and former:  # it may show the ticket that once let it in, for ever
                status = "removed"
            self._reply(request.token, {"status": status, "reason": reason, **network})
        elif former:
            reason = "it was removed from the network: an admin may admit it again"
            self._reply(request.token, {"status": "removed", "reason": reason, **network})
        else:
            self.requests[peer] = request
            self.requests.move_to_end(peer)
            while len(self.requests) > MAX_REQUESTS:
                self.requests.popitem(last=False)
            self._reply(request.token, {"status": "pending", "reason": "an admin must admit this peer", **network})

    def _redeem(self, request: JoinAsked, digest: str) -> tuple[str, str]:
        held = self._desk.meta.get(TICKET + digest)
        if held is None:
            return "refused", "this peer did not issue that ticket, or it has expired"
        ticket = Ticket.from_bytes(held)
        if ticket.expires < self._desk.now.wall:
            return "refused", "the ticket has expired"
        if ticket.by is not None:
            return "refused", "the ticket was used already"
        try:
            self._require_admin("admit")
            self._add(request.peer, ticket.roles, request.name, request.labels, request.slots)
        except P2pwfError as error:
            return "refused", error.message
        self._desk.set_meta(TICKET + digest, attrs.evolve(ticket, by=request.peer).to_bytes())
        return "admitted", ""

    def add(self, request: AddMember) -> None:
        self._require_admin("admit a peer")
        peer = request.peer
        public_key_of(peer)
        asked = self.requests.get(peer)
        known = self._desk.roster.members.get(peer)
        roles = tuple(_sorted_roles(request.roles))
        if known is not None and known.roles >= set(roles):
            self._reply(request.token, {"peer_id": peer, "roles": sorted(known.roles), "name": known.name})
            return
        if known is not None:
            name, labels, slots = known.name, known.labels, known.slots
        elif asked is not None:
            name, labels, slots = asked.name, asked.labels, asked.slots
        else:
            name, labels, slots = peer[-8:], (), 0
        name = request.name if request.name is not None else name
        labels = request.labels if request.labels is not None else labels
        slots = request.slots if request.slots is not None else slots
        self._add(peer, roles, name, labels, slots)
        self.requests.pop(peer, None)
        self._reply(request.token, {"peer_id": peer, "roles": list(roles), "name": name})

    def _add(self, peer: PeerId, roles: tuple[str, ...], name: str, labels: tuple[str, ...], slots: int) -> None:
        tips = self._desk.clock.dag.tips(peer)
        body = {
            "peer": peer,
            "roles": list(roles),
            "name": name or peer[-8:],
            "labels": sorted({label.lower() for label in labels}),
            "slots": slots,
            "tip": tips[-1].cid if tips else None,
        }
        try:
            self._desk.write("member.add", body)
        except EventError as error:
            raise UsageError(
                f"cannot admit {peer}: {error}", "names have 1 to 256 characters, slots 0 to 4096"
            ) from error
        self.requests.pop(peer, None)

    def remove(self, request: RemoveMember) -> None:
        desk = self._desk
        peer = request.peer
        if not desk.roster.holds(peer, None):
            if self.requests.pop(peer, None) is not None:
                self._reply(request.token, {"peer_id": peer, "removed": True})
                return
            raise NotFound(f"no member {peer}", "see `p2pwf peer list`")
        if peer != desk.me:
            self._require_admin("remove a peer")
        admins = [member.peer for member in desk.roster.members.values() if member.can("admin")]
        if admins == [peer]:
            raise Refused("the last admin cannot be removed", "make another member an admin first")
        desk.write("member.remove", {"peer": peer, "roles": sorted(ROLES), "keep_runs": request.keep_runs})
        self._reply(request.token, {"peer_id": peer, "removed": True})

    def update_self(self, request: UpdateSelf) -> None:
        desk = self._desk
        own = desk.roster.members.get(desk.me)
        labels = tuple(sorted({label.lower() for label in request.labels}))
        if own is not None and (own.name, own.labels, own.slots) != (request.name, labels, request.slots):
            body = {"name": request.name, "labels": list(labels), "slots": request.slots}
            try:
                desk.write("member.update", body)
            except EventError as error:
                raise UsageError(f"this node's name, labels or slots: {error}", "see `p2pwf up --help`") from error
        self._reply(request.token, {})

    def _require_admin(self, what: str) -> None:
        if not self._desk.standing().holds(self._desk.me, "admin"):
            raise Refused(f"only an admin may {what}", "ask an admin: `p2pwf peer list` shows the roles")

    def _reply(self, token: Token, result: dict[str, object]) -> None:
        self._desk.emit(Reply(token, result))


def _sorted_roles(roles: tuple[str, ...]) -> list[str]:
    unknown = set(roles) - set(ROLES)
    if unknown or not roles:
        raise UsageError(f"no such role: {', '.join(sorted(unknown)) or '(none given)'}", f"roles: {', '.join(ROLES)}")
    return sorted(set(roles))
