"""Telling a service manager how far this process is: one datagram a word, to the socket that NOTIFY_SOCKET names.

Knows the socket and the words; must not know the node. Source: sd_notify(3), "Notification socket protocol".
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import Final

import structlog

VARIABLE: Final = "NOTIFY_SOCKET"

log = structlog.get_logger()


class ServiceManager:
    """Whoever started this process as a service; without one, every word goes nowhere. `failed` counts lost words."""

    def __init__(self, address: str | None) -> None:
        """`address`: the path of a Unix datagram socket, or `@name` of an abstract one."""
        self._address = address
        self.failed = 0

    @classmethod
    def take_from(cls, environ: MutableMapping[str, str]) -> ServiceManager:
        """The one that the environment names; the name is taken out, since what runs in our jobs has no say there."""
        return cls(environ.pop(VARIABLE, None) or None)

    def starting(self, what: str) -> None:
        """Say what a start waits for."""
        self._send(f"STATUS={what}")

    def ready(self, what: str) -> None:
        """The start is done."""
        self._send(f"READY=1\nSTATUS={what}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        try:
            if not self._address.startswith(("/", "@")):
                raise OSError(f"not a Unix socket: {self._address}")  # noqa: TRY301 - told as any other
            path = os.fsencode(self._address)
            where = b"\0" + path[1:] if path.startswith(b"@") else path
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)  # a manager that does not read must not hold the node up
                out.sendto(text.encode(), where)
        except OSError as error:
            self.failed += 1
            log.warning("the service manager was not told", error=str(error))
