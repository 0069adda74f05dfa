"""The connections that stand, by peer, and what changes among them. Knows no protocol."""

from __future__ import annotations

import trio
from libp2p.network.connection.swarm_connection import SwarmConn

from p2pwf.core.ids import PeerId
from p2pwf.net.links import Connection


class Connections:
    """All connections of this host; each is in it from its handshake to its end."""

    def __init__(self) -> None:
        self._by_conn: dict[int, Connection] = {}
        self._by_peer: dict[PeerId, list[Connection]] = {}
        self._lost = trio.Event()

    def __len__(self) -> int:
        return len(self._by_conn)

    def add(self, connection: Connection) -> None:
        """Note a new connection."""
        self._by_conn[id(connection.conn)] = connection
        self._by_peer.setdefault(connection.peer, []).append(connection)

    def remove(self, connection: Connection) -> None:
        """Note the end of a connection."""
        del self._by_conn[id(connection.conn)]
        rest = self._by_peer[connection.peer]
        rest.remove(connection)
        if not rest:
            del self._by_peer[connection.peer]
        self._lost.set()
        self._lost = trio.Event()

    def find(self, conn: SwarmConn) -> Connection | None:
        """Our side of a libp2p connection, None once it ended."""
        return self._by_conn.get(id(conn))

    def of(self, peer: PeerId) -> list[Connection]:
        """The connections with `peer`, oldest first."""
        return [connection for connection in self._by_peer.get(peer, ()) if not connection.closed]

    def all(self) -> list[Connection]:
        """Every connection."""
        return list(self._by_conn.values())

    async def wait_lost(self, peer: PeerId) -> None:
        """Wait until there is no connection with `peer`."""
        while self.of(peer):
            await self._lost.wait()
