"""Members, for who asks: inviting, admitting, removing, leaving, and how each of them is."""

from __future__ import annotations

import os
from functools import partial
from hashlib import sha256
from typing import Any, Final

import trio

from p2pwf.core.tickets import SECRET_LENGTH, Ticket
from p2pwf.engine import inputs as to_engine
from p2pwf.errors import Refused, TryAgain, UsageError
from p2pwf.net.conduct import Standing
from p2pwf.node import views
from p2pwf.node.loop import wall_ms
from p2pwf.node.node import Node
from p2pwf.node.standing import require_member

LEAVE_SECONDS: Final = 5.0
"""How long a node that leaves waits for the others to learn of it."""
LEAVE_LOOKS: Final = 100
MAX_TTL: Final = 30 * 24 * 3600
"""Seconds a ticket may last: a month; who needs longer makes a new one."""


async def invite(node: Node, ttl: float, roles: list[str]) -> dict[str, Any]:
    """A ticket good once: {ticket, roles, expires (ms), addrs}; `ttl` in seconds. `addrs`: what it says to dial."""
    require_member(node.engine)
    if not 0 < ttl <= MAX_TTL:
        raise UsageError(f"a ticket lasts up to {MAX_TTL // 86400} days, not {ttl:g} s", "try --ttl 24h")
    if node.network is None:
        raise TryAgain("the network is not up yet", "try again in a moment")
    secret = os.urandom(SECRET_LENGTH)
    expires = wall_ms() + int(ttl * 1000)
    digest = sha256(secret).digest()
    kept = await node.loop.ask(partial(to_engine.Invite, digest=digest, roles=tuple(roles), expires=expires))
    addresses = tuple(node.network.addresses()[:16])
    ticket = Ticket(node.identity.network, addresses, secret, node.identity.psk)
    return {"ticket": ticket.to_text(), "roles": kept["roles"], "expires": expires, "addrs": list(addresses)}


def list_members(node: Node) -> list[dict[str, Any]]:
    """Members, this node included, with `latency` (ms of a round trip, None unless connected), `offences` (how often
    it broke a protocol, as far as is remembered) and `banned_for` (seconds, None unless it is kept out).

    See views.peers for the rest."""
    network = node.network
    rows = views.peers(node.engine)
    for row in rows:
        seconds = None if network is None or row["self"] else network.latency(row["peer_id"])
        row["latency"] = None if seconds is None else round(seconds * 1000, 2)
        standing = Standing() if network is None else network.standing(row["peer_id"])
        row["offences"] = standing.offences
        row["banned_for"] = None if standing.banned_for is None else round(standing.banned_for, 1)
    return rows


async def ping(node: Node, peer: str) -> dict[str, Any]:
    """One round trip to a member, by peer id, its end or unique name; {peer_id, name, latency (ms)}."""
    require_member(node.engine)
    found = views.find_peer(node.engine, peer)
    if node.network is None or found == node.me:
        raise UsageError("that is this node itself", "see `p2pwf peer list` for the others")
    seconds = await node.network.ping(found)
    member = node.engine.desk.roster.members.get(found)
    return {"peer_id": found, "name": member.name if member else None, "latency": round(seconds * 1000, 2)}


async def admit(node: Node, peer_id: str, name: str | None, roles: list[str]) -> dict[str, Any]:
    """Admit a peer, seen or not, by its id, or by the end of one that is known; {peer_id, roles, name}."""
    require_member(node.engine)
    peer = views.peer_to_add(node.engine, peer_id)
    made: dict[str, Any] = await node.loop.ask(partial(to_engine.AddMember, peer=peer, roles=tuple(roles), name=name))
    return made


async def remove(node: Node, peer: str, keep_runs: bool) -> dict[str, Any]:
    """Remove a member, by peer id, its end or unique name; {peer_id, removed}."""
    require_member(node.engine)
    made: dict[str, Any] = await node.loop.ask(
        partial(to_engine.RemoveMember, peer=views.find_peer(node.engine, peer), keep_runs=keep_runs)
    )
    return made


def require_other_admin(node: Node) -> None:
    """Raise Refused if this node may not leave: it is no member, or nobody else could admit anybody."""
    require_member(node.engine)
    roster = node.engine.desk.roster
    if not any(roster.holds(peer, "admin") for peer in roster.members if peer != node.me):
        raise Refused("the last admin cannot leave", "make another member an admin first: p2pwf peer add ID --roles")


async def leave(node: Node, keep_runs: bool) -> dict[str, Any]:
    """Write that this node is no member any more, and wait for the others to learn of it: {peer_id, removed}."""
    made: dict[str, Any] = await node.loop.ask(partial(to_engine.RemoveMember, peer=node.me, keep_runs=keep_runs))
    for _ in range(LEAVE_LOOKS):  # who has learned of it hangs up
        if not node.shell.connected():
            break
        await trio.sleep(LEAVE_SECONDS / LEAVE_LOOKS)
    return made
