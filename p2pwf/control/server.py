"""Serves the control API on its Unix socket: accepts, and checks the caller. Knows no route."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from p2pwf.control.api import ControlApi
from p2pwf.control.connections import MAX_HEAD, Connections
from p2pwf.control.endpoint import bound_socket, peer_uid
from p2pwf.control.replies import error_body, to_bytes
from p2pwf.control.routes import make_app
from p2pwf.errors import P2pwfError, Refused, TryAgain

MAX_CONNECTIONS: Final = 256
"""At a time: each watching face holds one or two."""
TURN_AWAY_SECONDS: Final = 0.5
"""For a caller that is not served to ask, and again to be answered."""
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
        await _turn_away(stream, b"403 Forbidden", FOREIGN)
        return False
    if others >= MAX_CONNECTIONS:
        _log.warning("too many control connections", bound=MAX_CONNECTIONS)
        await _turn_away(stream, b"503 Service Unavailable", CROWDED)
        return False
    return True


async def _turn_away(stream: trio.SocketStream, status: bytes, error: P2pwfError) -> None:
    """Answer whatever is going to be asked."""
    head = b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    with suppress(trio.BrokenResourceError):
        with trio.move_on_after(TURN_AWAY_SECONDS):
            await stream.receive_some(MAX_HEAD)  # a caller that is cut off while it writes may not read the answer
        with trio.move_on_after(TURN_AWAY_SECONDS):
            await stream.send_all(head + to_bytes(error_body(error)))
