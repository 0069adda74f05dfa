"""One task for each connection, from its handshake to its end: a member gets its streams, a stranger two idle seconds.

Membership is asked of the gate when a connection begins, and for every connection again on `members_changed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import trio
from libp2p.network.connection.swarm_connection import SwarmConn

from p2pwf.core.ids import PeerId
from p2pwf.net.conduct import CAME_FOR_NOTHING, Conduct
from p2pwf.net.connections import Connections
from p2pwf.net.counters import Counters
from p2pwf.net.links import Connection, Emit, Links
from p2pwf.net.swarm import host_of
from p2pwf.net.types import Gate, Timing, Unlinked
from p2pwf.net.yamux import GuardedYamux

MAX_STRANGERS = 64
"""Connections of no members at one time; each has seconds to live."""
MAX_STRANGERS_PER_HOST = 32
"""The same from one address, so that nobody can take every place from there."""


class Attendants:
    """Attends the connections of a host: `links` keeps the clock streams, `open_gossip` opens that for gossip."""

    def __init__(
        self,
        connections: Connections,
        *,
        gate: Gate,
        timing: Timing,
        counters: Counters,
        conduct: Conduct,
        nursery: trio.Nursery,
        links: Links,
        open_gossip: Callable[[PeerId], None],
        emit: Emit,
    ) -> None:
        self._connections = connections
        self._gate = gate
        self._timing = timing
        self._counters = counters
        self._conduct = conduct
        self._nursery = nursery
        self._links = links
        self._open_gossip = open_gossip
        self._emit = emit

    def on_connection(self, conn: SwarmConn, muxed: GuardedYamux, peer: PeerId) -> None:
        """Attend a connection that just stood up."""
        connection = Connection(peer, conn, muxed, conn.direction.name == "INBOUND", host=host_of(muxed))
        self._connections.add(connection)
        self._nursery.start_soon(self._attend, connection)

    def members_changed(self, farewells: Mapping[PeerId, Sequence[bytes]]) -> None:
        """Let new members in, close the connections of former ones, each after its farewell: last clock frames."""
        for connection in self._connections.all():
            member = self._gate.is_member(connection.peer)
            if member and not connection.admitted:
                self._admit(connection)
            elif not member and connection.admitted and not connection.parting:
                connection.parting = True
                self._counters.count("member_closed")
                self._nursery.start_soon(self._part, connection, farewells.get(connection.peer, ()))

    async def _part(self, connection: Connection, farewell: Sequence[bytes]) -> None:
        if farewell and self._links.connection(connection.peer) is connection:
            with trio.move_on_after(self._timing.farewell) as told:
                await self._links.part(connection.peer, farewell)
            if told.cancelled_caught:
                self._counters.count("farewell_not_heard")
        await connection.muxed.abort()

    def _admit(self, connection: Connection) -> None:
        connection.admission.set()
        self._open_gossip(connection.peer)

    async def _attend(self, connection: Connection) -> None:
        try:
            async with trio.open_nursery() as nursery:
                if self._gate.is_member(connection.peer):
                    self._admit(connection)
                nursery.start_soon(self._tend, connection)
                nursery.start_soon(self._watch_link, connection)
                await connection.muxed.event_closed.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._connections.remove(connection)
            if not connection.admitted and not connection.asked:
                self._conduct.strike_host(connection.host, CAME_FOR_NOTHING)

    async def _watch_link(self, connection: Connection) -> None:
        """Tell of a member that is connected and takes, or opens, no clock stream."""
        await connection.admission.wait()
        while True:
            await trio.sleep(self._timing.unlinked)
            if not connection.parting and self._links.connection(connection.peer) is None:
                await self._emit(Unlinked(connection.peer))

    def _is_one_too_many(self, connection: Connection) -> bool:
        strangers = [each for each in self._connections.all() if not each.admitted]
        near = sum(each.host == connection.host for each in strangers if each.host)
        return len(strangers) > MAX_STRANGERS or near > MAX_STRANGERS_PER_HOST

    async def _tend(self, connection: Connection) -> None:
        if not connection.admitted and self._is_one_too_many(connection):
            self._counters.count("stranger_refused")
            await connection.muxed.abort()
            return
        while not connection.admitted:
            left = connection.last_join + self._timing.stranger_idle - trio.current_time()
            if left <= 0 and not connection.joins:
                self._counters.count("stranger_closed")
                await connection.muxed.close()
                return
            with trio.move_on_after(left if left > 0 else self._timing.stranger_idle):
                await connection.admission.wait()
        await self._links.run_outbound(connection)
