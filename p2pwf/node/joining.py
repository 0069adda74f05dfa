"""Getting into a network: by ticket or by a bootstrap address, before the node proper starts. Decides nothing.

A host of its own is opened for it, on loopback with a port of the system's choice: it only dials. What it brings home
is the network's id and who let it in; the node keeps both before it says that it has joined.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.tickets import Ticket
from p2pwf.errors import Refused, RemoteError, TryAgain
from p2pwf.net.opened import open_network
from p2pwf.net.types import JoinReply, JoinRequest, NetConfig

ASK_AGAIN: Final = 2.0
"""Seconds between two requests while an admin has not decided."""
JOIN_SECONDS: Final = 60.0
"""How long a ticket's issuer is tried before joining is given up."""


@attrs.frozen(slots=True)
class Joined:
    """The network, and who let this node in, with its addresses."""

    network: Cid
    introducer: PeerId
    addresses: tuple[str, ...]


class _Nobody:
    def is_member(self, peer: PeerId) -> bool:
        return False


def peer_of(address: str) -> PeerId:
    """The peer id at the end of a multiaddr; raises Refused if it has none."""
    _, mark, peer = address.rpartition("/p2p/")
    if not mark:
        raise Refused(
            f"the address {address} names no peer", "it must end in /p2p/12D3KooW…, as `p2pwf status` shows it"
        )
    return PeerId(peer)


async def join_network(
    seed: bytes,
    request: JoinRequest,
    addresses: tuple[str, ...],
    psk: bytes | None,
    tell: Callable[[str], None],
) -> Joined:
    """Ask until admitted. Raises Refused if the answer is no, TryAgain if a ticket's issuer cannot be reached.

    Without a ticket it asks for ever, since an admin may take a day; `tell` is given what a person should know.
    """
    config = NetConfig(listen=("/ip4/127.0.0.1/tcp/0",), topic="p2pwf/join", boot=os.urandom(16), psk=psk)
    async with open_network(config, seed, _Nobody()) as net:
        started = trio.current_time()
        said = ""
        while True:
            reply, by, why = await _ask_each(net.ask_join, addresses, request)
            if reply is not None and by is not None:
                if reply.status == "admitted" and reply.network is not None:
                    same = tuple(address for address in addresses if peer_of(address) == peer_of(by))
                    return Joined(reply.network, peer_of(by), same)
                if reply.status == "removed":
                    raise Refused(
                        "not admitted: this peer was removed from that network",
                        f"an admin lets it in again with `p2pwf peer add {net.peer_id}`, or by a new ticket",
                    )
                if reply.status == "refused":
                    raise Refused(f"not admitted: {reply.reason}", "ask for a new ticket: `p2pwf invite` at its issuer")
                why = f"waiting to be admitted: ask an admin to run `p2pwf peer add {net.peer_id}`"
                # The next question goes on a connection of its own: this one is closed as idle about when that is due.
                await net.drop(peer_of(by))
            elif request.secret is not None and trio.current_time() - started > JOIN_SECONDS:
                raise TryAgain(f"cannot reach the ticket's issuer: {why}", "is it up, and can this machine reach it?")
            if why != said:
                tell(why)
                said = why
            await trio.sleep(ASK_AGAIN)


async def _ask_each(
    ask: Callable[[str, JoinRequest], Awaitable[JoinReply]], addresses: tuple[str, ...], request: JoinRequest
) -> tuple[JoinReply | None, str | None, str]:
    why = "no address"
    for address in addresses:
        try:
            return await ask(address, request), address, ""
        except TryAgain as error:
            why = error.message
        except RemoteError:
            why = f"connected to {peer_of(address)}, which broke off instead of answering: asking again"
    return None, None, why


def request_of(ticket: Ticket | None, name: str, labels: tuple[str, ...], slots: int) -> JoinRequest:
    """The request of a ticket's holder, or of a peer that only knows an address."""
    if ticket is None:
        return JoinRequest(None, None, name, labels, slots)
    return JoinRequest(ticket.network, ticket.secret, name, labels, slots)
