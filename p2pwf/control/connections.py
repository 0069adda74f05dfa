"""Speaks HTTP/1.1 on connections that others accept. Knows no route, no socket's address and no caller.

hypercorn does the speaking; accepting is not left to it, because it neither looks at who calls nor gives up on a
caller that stops reading.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, cast

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from p2pwf.control.replies import error_body, to_bytes
from p2pwf.errors import P2pwfError

MAX_HEAD: Final = 16 * 1024
"""Bytes of a request's line and headers: ours take a few hundred."""
IDLE_SECONDS: Final = 30.0
"""A connection may say nothing, or half a request's head, for as long."""
STALLED_SECONDS: Final = 3600.0
"""What a caller leaves unread for as long: someone may read a log in a pager. Waiting costs a task and a buffer."""
TURN_AWAY_SECONDS: Final = 0.5
"""For a caller that is not served to ask, and again to be answered."""

_log = structlog.get_logger()


class _Caller:
    """A connection as hypercorn wants it, with a bound on writing: hypercorn shields its writes from cancellation."""

    def __init__(self, stream: trio.SocketStream, context: WorkerContext) -> None:
        self._stream = stream
        self._context = context
        self.socket = stream.socket

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(STALLED_SECONDS) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the caller has stopped reading")

    async def receive_some(self, limit: int) -> bytes:
        data = bytes(await self._stream.receive_some(limit))
        if not data:
            # hypercorn would hold on to a caller that left without a word as to one that is silent; now it lets go.
            await self._context.terminated.set()
        return data

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def drop(self) -> None:
        """Close at once; whoever waits on the connection is told."""
        self.socket.close()


class Connections:
    """The connections to one ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._config = Config()
        self._config.h11_max_incomplete_size = MAX_HEAD
        self._config.keep_alive_timeout = IDLE_SECONDS
        self._config.include_server_header = False
        self._config.accesslog = None
        self._config.errorlog = None
        self._app = wrap_app(cast("object", app), self._config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]
        self._callers: set[_Caller] = set()

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._callers)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Speak on one connection until it ends, and close it."""
        context = WorkerContext(None)
        caller = _Caller(stream, context)
        self._callers.add(caller)
        try:
            await TCPServer(self._app, self._config, context, ConnectionState({}), caller)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - logged
            # One connection must never end the server; what an endpoint raises is answered before it comes here.
            _log.exception("a connection failed")
        finally:
            self._callers.discard(caller)
            caller.drop()

    async def drop_at_end(self) -> None:
        """Once cancelled, close every connection: a shielded write to a stopped caller would hold the end up."""
        try:
            await trio.sleep_forever()
        finally:
            for caller in tuple(self._callers):
                caller.drop()


async def turn_away(stream: trio.SocketStream, status: bytes, error: P2pwfError) -> None:
    """Answer whatever a caller is going to ask, without looking at it."""
    head = b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    with suppress(trio.BrokenResourceError):
        with trio.move_on_after(TURN_AWAY_SECONDS):
            await stream.receive_some(MAX_HEAD)
        with trio.move_on_after(TURN_AWAY_SECONDS):
            await stream.send_all(head + to_bytes(error_body(error)))
            await stream.send_eof()
            while await stream.receive_some(MAX_HEAD):  # a caller that is cut off while it writes misses the answer
                pass
