"""TCP under libp2p: the sockets, listening and dialled, with a read buffer. Knows nothing of who is at the other end.

The library's own listener sets SO_REUSEPORT, so that two nodes of one user would share a port and lose each other's
connections without an error, and runs outside of every nursery; its stream reads two bytes at a time off the socket
and cannot name an IPv6 peer. Hence these.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import IListener, IRawConnection
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP
from multiaddr import Multiaddr

from p2pwf.errors import TryAgain, UsageError
from p2pwf.net.addresses import dial_pair, listen_pair

RECEIVE_SIZE = 1 << 18
"""Bytes asked of the socket at once: four Noise messages."""
BACKLOG = 256


class TcpStream(ReadWriteCloser):
    """A TCP connection with a read buffer: small reads, of which Noise makes many, cost no system call."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._remote = _remote_of(stream)
        self._send_lock = trio.Lock()

    async def read(self, n: int | None = None) -> bytes:
        """Up to `n` bytes, b"" at the end; raises ConnectionClosedError when the connection broke."""
        if n == 0:
            return b""
        if not self._buffer:
            try:
                chunk = await self._stream.receive_some(RECEIVE_SIZE)
            except trio.ClosedResourceError:
                return b""
            except trio.BrokenResourceError as error:
                raise ConnectionClosedError("the connection broke", transport="tcp") from error
            if n is None or len(chunk) <= n:
                return bytes(chunk)
            self._buffer += chunk
        data = bytes(memoryview(self._buffer)[:n])
        del self._buffer[: len(data)]
        return data

    async def write(self, data: bytes) -> None:
        """Send all of `data`; raises ConnectionClosedError when the connection is closed or broke."""
        async with self._send_lock:
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionClosedError("the connection broke", transport="tcp") from error

    async def close(self) -> None:
        """Close the socket; a read or write under way ends."""
        await trio.aclose_forcefully(self._stream)

    def get_remote_address(self) -> tuple[str, int] | None:
        """The peer's (address, port), IPv4 or IPv6."""
        return self._remote


class TcpListener(IListener):
    """Listening sockets of one address. `open` binds, `serve` accepts until cancelled."""

    def __init__(self, handler: Callable[[TcpStream], Awaitable[None]]) -> None:
        self._handler = handler
        self._listeners: list[trio.SocketListener] = []

    async def listen(self, maddr: Multiaddr) -> None:
        """Bind the address; raises TryAgain if it is taken or not of this machine, UsageError for other forms."""
        host, port = listen_pair(str(maddr))
        try:
            self._listeners += await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise TryAgain(f"cannot listen on {maddr}: the port is in use", "choose another --listen") from error
            raise TryAgain(f"cannot listen on {maddr}: {error.strerror or error}", "check --listen") from error

    async def serve(self) -> None:
        """Accept connections until cancelled."""
        await trio.serve_listeners(self._handle, self._listeners)

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        """The addresses bound, with their real ports."""
        return tuple(_maddr_of(listener.socket.getsockname()) for listener in self._listeners)

    async def close(self) -> None:
        """Close the sockets."""
        for listener in self._listeners:
            await trio.aclose_forcefully(listener)

    async def _handle(self, stream: trio.SocketStream) -> None:
        await self._handler(TcpStream(stream))


class Tcp(TCP):
    """The dialling half, over TcpStream; names are resolved as every program of this machine resolves them."""

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        """A connection to `/ip4/…`, `/ip6/…` or `/dns…/…/tcp/…`; raises OpenConnectionError."""
        try:
            host, port = dial_pair(str(maddr).partition("/p2p/")[0])
            stream = await trio.open_tcp_stream(host, port)
        except (OSError, UsageError) as error:
            raise OpenConnectionError(f"cannot reach {maddr}: {error}") from error
        return RawConnection(TcpStream(stream), True)


def _maddr_of(address: tuple[str, int]) -> Multiaddr:
    host, port = address[0], address[1]
    return Multiaddr(f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}")


def _remote_of(stream: trio.SocketStream) -> tuple[str, int] | None:
    try:
        name = stream.socket.getpeername()
    except OSError:
        return None  # gone already: the first read will say so
    return str(name[0]), int(name[1])
