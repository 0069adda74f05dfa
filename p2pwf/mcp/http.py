"""Serves MCP as streamable HTTP on a loopback address, to those who show the token. Knows no tool.

The SDK checks Host and Origin, so that no web page reaches the server by a name that it lets point here.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Final

import trio
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from p2pwf.control.connections import Connections, turn_away
from p2pwf.control.replies import error_reply
from p2pwf.errors import NotFound, Refused, TryAgain, UsageError
from p2pwf.mcp.server import make_server
from p2pwf.mcp.token import token_of

PATH: Final = "/mcp"
MAX_BODY: Final = 2 * 1024 * 1024
"""Bytes of a request: what the control API takes."""
MAX_CONNECTIONS: Final = 256
"""At a time. A client has one for each call that it makes at once: the SDK's own up to 100."""
CROWDED: Final = TryAgain("too many connections to this server", "close some, or try again")
BACKLOG: Final = 128
"""Connections that may wait to be accepted."""
ADDRESS_HINT: Final = "give a loopback address with a port: 127.0.0.1:4071, [::1]:4071 or localhost:4071"

_log = logging.getLogger(__name__)


def loopback_address(text: str) -> tuple[str, int]:
    """Address and port of `HOST:PORT`; port 0 takes any free one. Raises UsageError for what is not loopback."""
    host, colon, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    if not colon or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(f"not an address with a port: {text[:80]!r}", ADDRESS_HINT)
    try:
        inside = ip_address(host).is_loopback
    except ValueError:
        raise UsageError(f"not an address of this machine: {text[:80]!r}", ADDRESS_HINT) from None
    if not inside:
        raise UsageError(f"{host} is reachable from elsewhere", f"{ADDRESS_HINT}; ssh -L carries it to other machines")
    return host, int(port)


def serve_http(folder: Path, host: str, port: int, announce: Callable[[str, Path], None]) -> None:
    """Serve the node of a data folder until SIGINT or SIGTERM; `announce` is told the URL and the token's file.

    Raises StorageError, Refused for a token that cannot be used, and for an address that cannot be listened on.
    """
    token, file = token_of(folder)
    with _listener(host, port) as listener:
        trio.run(_serve, folder, listener, token, lambda url: announce(url, file))


async def _serve(folder: Path, listener: socket.socket, token: str, announce: Callable[[str], None]) -> None:
    host, port = listener.getsockname()[:2]
    places = [f"{name}:{port}" for name in ("localhost", "127.0.0.1", f"[{host}]" if ":" in host else host)]
    # Without sessions: each request stands alone, so nothing is held for clients that never say good-bye, and a client
    # goes on where it was when this server was started anew.
    manager = StreamableHTTPSessionManager(
        make_server(folder),
        json_response=True,
        stateless=True,
        security_settings=TransportSecuritySettings(
            allowed_hosts=places, allowed_origins=[f"http://{place}" for place in places]
        ),
        max_request_body_size=MAX_BODY,
    )
    connections = Connections(_Door(StreamableHTTPASGIApp(manager), token))

    turned_away = 0

    async def serve_one(stream: trio.SocketStream) -> None:
        nonlocal turned_away
        if connections.open < MAX_CONNECTIONS:
            await connections.serve(stream)
        else:
            turned_away += 1
            if turned_away.bit_count() == 1:  # the 1st, 2nd, 4th, …: who comes again and again does not fill the log
                _log.warning("more than %d connections at a time: turned away %d", MAX_CONNECTIONS, turned_away)
            await turn_away(stream, b"503 Service Unavailable", CROWDED)
            await trio.aclose_forcefully(stream)

    with trio.open_signal_receiver(SIGINT, SIGTERM) as signals:
        async with manager.run(), trio.open_nursery() as nursery:
            nursery.start_soon(connections.drop_at_end)
            await nursery.start(trio.serve_listeners, serve_one, [_listening(listener)])
            announce(f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}")
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()


class _Door:
    """Lets requests with the token through, to the one path that there is."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # hypercorn would speak WebSocket as well
            await send({"type": "websocket.close"})
            return
        shown = Headers(scope=scope).get("authorization", "").encode()
        if not compare_digest(shown, self._wanted):
            reply = error_reply(Refused("no token, or a wrong one", "send `Authorization: Bearer TOKEN`"), 401)
            reply.headers["www-authenticate"] = "Bearer"
        elif scope["path"] != PATH:
            reply = error_reply(NotFound(f"nothing is at {scope['path'][:80]}", f"MCP is at {PATH}"))
        elif scope["method"] != "POST":
            # GET would open a stream of what happens by itself: nothing does, and each would take a connection. DELETE
            # would end a session: there are none.
            reply = error_reply(UsageError(f"{scope['method']} is of no use here", "send requests by POST"), 405)
            reply.headers["allow"] = "POST"
        else:
            await self._app(scope, receive, send)
            return
        await reply(scope, receive, send)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise TryAgain(
            f"cannot listen on {host}:{port}: {error.strerror}", "name another port: --http HOST:PORT"
        ) from error
    return listener


def _listening(listener: socket.socket) -> trio.SocketListener:
    listener.setblocking(False)
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener))
