"""TCP sockets of simulated hosts, under trio's own interface: whatever opens sockets through trio gets these instead.

trio lets a run have another socket factory, so the production code above (trio's streams and listeners, `p2pwf.net`,
libp2p) runs unchanged. Only what it uses is here; the rest raises NotImplementedError, as trio's base class does.
Host N has the address 10.0.0.N.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self

import trio

from p2pwf.testing.stack.lan import Host, Lan, Pipe

PREFIX: Final = "10.0.0."
LOOPBACK: Final = "127."


def address_of(number: int) -> str:
    """The address of a host."""
    return f"{PREFIX}{number}"


class SimSocket(trio.socket.SocketType):
    """One TCP socket of a host."""

    def __init__(self, lan: Lan, host: Host) -> None:
        self._lan = lan
        self._host = host
        self._local = ("0.0.0.0", 0)  # noqa: S104 - what an unbound socket says
        self._remote: tuple[str, int] | None = None
        self._reading: Pipe | None = None
        self._writing: Pipe | None = None
        self._waiting: deque[tuple[Pipe, Pipe]] = deque()
        self._knock = trio.Event()
        self._listens = False
        self._closed = False

    # -- what trio's streams and listeners ask ------------------------------------------------------------------

    @property
    def family(self) -> Any:  # noqa: ANN401 - trio's type of it is the standard library's socket's
        return trio.socket.AF_INET

    @property
    def type(self) -> Any:  # noqa: ANN401 - as above
        return trio.socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        return 0

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802 - trio's name
        return False

    def fileno(self) -> int:
        return -1 if self._closed else 0

    def setsockopt(self, *_: object) -> None:
        """All options are as they are."""

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:  # noqa: ANN401 - trio's
        return int(self._listens)

    def getsockname(self) -> tuple[str, int]:
        return self._local

    def getpeername(self) -> tuple[str, int]:
        if self._remote is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return self._remote

    # -- listening ----------------------------------------------------------------------------------------------

    async def bind(self, address: Any) -> None:  # noqa: ANN401 - trio's type
        """Take a port of the host; 0 is any that is free."""
        await trio.lowlevel.checkpoint()
        name, port = address
        if not port:
            self._host.last_port += 1
            port = self._host.last_port
        elif port in self._host.listening:
            raise OSError(errno.EADDRINUSE, "address in use")
        self._local = name, port

    def listen(self, backlog: int = 0) -> None:
        self._listens = True
        self._host.listening[self._local[1]] = self._offer

    def _offer(self, reading: Pipe, writing: Pipe) -> None:
        self._waiting.append((reading, writing))
        self._knock.set()

    async def accept(self) -> tuple[SimSocket, tuple[str, int]]:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            self._must_be_open()
            self._knock = trio.Event()
            await self._knock.wait()
        taken = SimSocket(self._lan, self._host)
        taken._reading, taken._writing = self._waiting.popleft()
        taken._local = address_of(self._host.number), self._local[1]
        taken._remote = address_of(taken._reading.source.number), 0
        return taken, taken._remote

    # -- connected ----------------------------------------------------------------------------------------------

    async def connect(self, address: Any) -> None:  # noqa: ANN401 - trio's type
        """Connect; raises OSError when nobody answers."""
        name, port = address
        if name.startswith(LOOPBACK):
            other = self._host
        elif name.startswith(PREFIX):
            other = self._lan.host(int(name.removeprefix(PREFIX)))
        else:
            raise OSError(errno.EHOSTUNREACH, "no such host")
        self._host.last_port += 1
        self._local = address_of(self._host.number), self._host.last_port
        self._reading, self._writing = await self._lan.connect(self._host, other, port)
        self._remote = name, port
        if self._closed:
            self._lan.close(self._reading, self._writing)
            self._must_be_open()

    async def send(self, data: Any, flags: int = 0) -> int:  # noqa: ANN401 - trio's signature
        if self._writing is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return await self._lan.send(self._writing, bytes(data))

    async def recv(self, limit: int, flags: int = 0) -> bytes:
        if self._reading is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return await self._lan.receive(self._reading, limit)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._knock.set()
        if self._listens and self._host.listening.get(self._local[1]) == self._offer:
            del self._host.listening[self._local[1]]
        for reading, writing in self._waiting:
            self._lan.close(reading, writing)
        if self._reading is not None and self._writing is not None:
            self._lan.close(self._reading, self._writing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _must_be_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("the socket was closed")


class Sockets(trio.abc.SocketFactory):
    """Makes the sockets of one simulated network; `here` says whose host asks."""

    def __init__(self, lan: Lan, here: Callable[[], Host]) -> None:
        self._lan = lan
        self._here = here

    def socket(self, *_: object) -> SimSocket:
        """A socket of the host whose code this is."""
        return SimSocket(self._lan, self._here())
