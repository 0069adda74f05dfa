"""Serves the control API on its Unix socket: accepts, and checks the caller. Knows no route."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from p2pwf.control.api import ControlApi
from p2pwf.control.connections import Connections, turn_away
from p2pwf.control.endpoint import bound_socket, peer_uid
from p2pwf.control.routes import make_app
from p2pwf.errors import Refused, TryAgain

MAX_CONNECTIONS: Final = 256
"""At a time: each watching face holds one or two."""
FOREIGN: Final = Refused("this node belongs to another user", "run your own: p2pwf up")
CROWDED: Final = TryAgain("too many connections to this node", "close some, or try again")

_log = structlog.get_logger()


class Starting(Protocol):
    """Whoever waits for the server to be up: what trio.Nursery.start hands to a task."""

    def started(self, value: Path, /) -> None:
        """The socket at this path takes connections."""


async def serve_control(api: ControlApi, folder: Path, task_status: Starting = trio.TASK_STATUS_IGNORED) -> None:
    """Serve `api` until cancelled; starts with the socket's path. `folder`: the data folder, locked by the caller.

    Raises Refused or StorageError where the socket cannot be made.
    """
    connections = Connections(make_app(api))

    async def serve_one(stream: trio.SocketStream) -> None:
        if await _admitted(stream, connections.open):
            await connections.serve(stream)
        else:
            await trio.aclose_forcefully(stream)

    with bound_socket(folder) as (listener, path):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connections.drop_at_end)
            listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            nursery.start_soon(trio.serve_listeners, serve_one, [listening])
            task_status.started(path)


async def _admitted(stream: trio.SocketStream, others: int) -> bool:
    uid = peer_uid(stream.socket)
    if uid is not None and uid not in (0, os.geteuid()):
        _log.warning("refused a control connection", uid=uid)
        await turn_away(stream, b"403 Forbidden", FOREIGN)
        return False
    if others >= MAX_CONNECTIONS:
        _log.warning("too many control connections", bound=MAX_CONNECTIONS)
        await turn_away(stream, b"503 Service Unavailable", CROWDED)
        return False
    return True
