"""The blocking client of the control API: finds a node's socket and talks to it. Knows no method of the API.

Imports socket and the protocol only: it is in the path of every command.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from p2pwf.control.protocol import Exchange, Gone
from p2pwf.errors import NoNode, Overloaded, Refused
from p2pwf.places import SOCKET_NAME, SOCKET_NOTE, fits_socket

CONNECT_SECONDS: Final = 5.0
"""To be accepted: the node is on this machine."""
ANSWER_SECONDS: Final = 120.0
"""For the first byte of a plain answer: a large source takes a while to be read. Streams may stay silent for ever."""
MAX_NOTE: Final = 4096
"""Bytes read of the file that names the socket."""
CHUNK: Final = 64 * 1024
CROWD_SECONDS: Final = 0.02
"""Between two attempts to reach a node before which more callers wait than the system holds."""
START_HINT: Final = "start one with `p2pwf up`"


def find_socket(folder: str | os.PathLike[str]) -> str:
    """The control socket of the node of a data folder. Raises NoNode or Refused; creates nothing."""
    path = os.path.join(folder, SOCKET_NAME)  # noqa: PTH118 - pathlib costs start-up time
    if fits_socket(path):
        return path
    try:
        with open(os.path.join(folder, SOCKET_NOTE), "rb") as file:  # noqa: PTH118, PTH123 - as above
            return os.fsdecode(file.read(MAX_NOTE).strip())
    except PermissionError as error:
        raise Refused(f"the node of {folder} belongs to another user", START_HINT) from error
    except OSError as error:
        raise NoNode(f"no node runs on {folder}", START_HINT) from error


def target_of(*parts: str, query: Mapping[str, object] | None = None) -> str:
    """A request's target below the prefix: parts are quoted; of the query, None and False are left out."""
    path = "/v1/" + "/".join(map(_quoted, parts))
    wanted = {name: value for name, value in (query or {}).items() if value is not None and value is not False}
    pairs = (f"{_quoted(name)}={'true' if value is True else _quoted(str(value))}" for name, value in wanted.items())
    text = "&".join(pairs)
    return f"{path}?{text}" if text else path


def _quoted(text: str) -> str:
    """Percent-encoded, for a path or a query."""
    if text.isascii() and text.isalnum():  # an id: nothing to import for it
        return text
    from urllib.parse import quote  # noqa: PLC0415 - costs start-up time

    return quote(text, safe="")


class Client:
    """Talks to the node of one data folder; each call is a connection of its own, and threads may share a client."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)

    def call(
        self,
        method: str,
        *parts: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        again: bool = False,
    ) -> Any:  # noqa: ANN401 - JSON
        """The answer to one request. Raises what the node raised, or NoNode.

        `again`: ask once more if the node went away before it had answered; for what may be done twice.
        """
        target = target_of(*parts, query=query)
        try:
            return next(self._exchange(method, target, body, ANSWER_SECONDS))
        except Gone:
            if not again:
                raise
            return next(self._exchange(method, target, body, ANSWER_SECONDS))

    def stream(self, *parts: str, query: Mapping[str, object] | None = None) -> Iterator[Any]:
        """The lines of a stream, as they come; closing the iterator hangs up."""
        return self._exchange("GET", target_of(*parts, query=query), None, None)

    def _exchange(self, method: str, target: str, body: object, patience: float | None) -> Iterator[Any]:
        exchange = Exchange()
        with self._connect() as connection:
            connection.settimeout(patience)
            with suppress(BrokenPipeError, ConnectionResetError):  # it may refuse before it reads: the answer says why
                connection.sendall(exchange.start(method, target, body))
            while not exchange.done:
                try:
                    data = connection.recv(CHUNK)
                except ConnectionResetError:
                    data = b""
                except TimeoutError as error:
                    hint = "it may be overloaded: try again"
                    raise NoNode(f"the node of {self.folder} does not answer", hint) from error
                yield from exchange.feed(data)

    def _connect(self) -> socket.socket:
        path = find_socket(self.folder)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_SECONDS)
            _connect_patiently(connection, path)
        except BlockingIOError as error:
            connection.close()
            raise Overloaded(f"the node of {self.folder} has no time for callers", "try again in a moment") from error
        except PermissionError as error:
            connection.close()
            raise Refused(f"the node of {self.folder} belongs to another user", START_HINT) from error
        except OSError as error:
            connection.close()
            raise NoNode(f"no node runs on {self.folder}", START_HINT) from error
        except BaseException:
            connection.close()
            raise
        return connection


def _connect_patiently(connection: socket.socket, path: str) -> None:
    """Connect; where too many callers wait a Unix socket refuses at once, so come again, for CONNECT_SECONDS.

    Raises BlockingIOError if there was no room in all that time.
    """
    until = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(CROWD_SECONDS)
        else:
            return
