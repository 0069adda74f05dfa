"""Serves the control API on its Unix socket: accepts, checks the caller, speaks HTTP/1.1. Knows no route.

hypercorn speaks HTTP on connections that are accepted here, because it neither looks at who calls nor gives up on a
caller that stops reading.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, cast

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from p2pwf.control.api import ControlApi
from p2pwf.control.endpoint import bound_socket, peer_uid
from p2pwf.control.replies import error_body, to_bytes
from p2pwf.control.routes import make_app
from p2pwf.errors import P2pwfError, Refused, TryAgain

MAX_CONNECTIONS: Final = 256
"""At a time: each watching face holds one or two."""
MAX_HEAD: Final = 16 * 1024
"""Bytes of a request's line and headers: ours take a few hundred."""
IDLE_SECONDS: Final = 30.0
"""A connection may say nothing, or half a request's head, for as long."""
TURN_AWAY_SECONDS: Final = 0.5
"""For a caller that is not served to ask, and again to be answered."""
STALLED_SECONDS: Final = 3600.0
"""What a caller leaves unread for as long: someone may read a log in a pager. Waiting costs a task and a buffer."""
FOREIGN: Final = Refused("this node belongs to another user", "run your own: p2pwf up")
CROWDED: Final = TryAgain("too many connections to this node", "close some, or try again")

_log = structlog.get_logger()


class _Caller:
    """A connection as hypercorn wants it, with a bound on writing: hypercorn shields its writes from cancellation."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(STALLED_SECONDS) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the caller has stopped reading")

    async def receive_some(self, limit: int) -> bytes:
        return bytes(await self._stream.receive_some(limit))

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def drop(self) -> None:
        """Close at once; whoever waits on the connection is told."""
        self.socket.close()


class Starting(Protocol):
    """Whoever waits for the server to be up: what trio.Nursery.start hands to a task."""

    def started(self, value: Path, /) -> None:
        """The socket at this path takes connections."""


async def serve_control(api: ControlApi, folder: Path, task_status: Starting = trio.TASK_STATUS_IGNORED) -> None:
    """Serve `api` until cancelled; starts with the socket's path. `folder`: the data folder, locked by the caller.

    Raises Refused or StorageError where the socket cannot be made.
    """
    config = Config()
    config.h11_max_incomplete_size = MAX_HEAD
    config.keep_alive_timeout = IDLE_SECONDS
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    app = wrap_app(cast("object", make_app(api)), config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]
    context = WorkerContext(None)
    callers: set[_Caller] = set()

    async def serve_one(stream: trio.SocketStream) -> None:
        if not await _admitted(stream, len(callers)):
            await trio.aclose_forcefully(stream)
            return
        caller = _Caller(stream)
        callers.add(caller)
        try:
            await TCPServer(app, config, context, ConnectionState({}), caller)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - logged
            # One connection must never end the node; what an endpoint raises is answered before it comes here.
            _log.exception("a control connection failed")
        finally:
            callers.discard(caller)
            caller.drop()

    with bound_socket(folder) as (listener, path):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drop_at_end, callers)
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


async def _drop_at_end(callers: set[_Caller]) -> None:
    """When the server is cancelled, close every connection: a shielded write to a stopped caller would hold it up."""
    try:
        await trio.sleep_forever()
    finally:
        for caller in tuple(callers):
            caller.drop()
