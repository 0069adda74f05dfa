"""The client's half of the control protocol, without I/O: bytes in, values out. One for every face.

Imports json and h11 only: a command of the CLI must not wait for more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, cast

import h11

from p2pwf.errors import InvalidWorkflow, NoNode, P2pwfError, from_json

MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes of one line of a stream: a run of a thousand legs with outputs stays below."""
MAX_ANSWER: Final = 256 * 1024 * 1024
"""Bytes of one whole answer: a long list of runs."""
GONE_HINT: Final = "see whether it still runs: `p2pwf status`"


def error_of(value: object) -> P2pwfError:
    """The error that a body {error: …} carries, as the exception that the node raised."""
    told = value.get("error") if isinstance(value, dict) else None
    if not isinstance(told, dict):
        return NoNode("what answers on the control socket is not a p2pwf node", "use another --data-dir")
    error = from_json(told)
    found = told.get("diagnostics")
    if isinstance(error, InvalidWorkflow) and isinstance(found, list):
        error.diagnostics = tuple(cast("list[dict[str, object]]", found))
    return error


class Gone(NoNode):
    """The node went away before it had answered: what was asked may have been done."""


class Exchange:
    """One request and its answer. `start` gives the bytes to send; `feed` takes what came, and yields values.

    A plain answer is one value, a stream one for each line. `done` once nothing more comes. Raises the error that the
    node sent, or NoNode if the connection ended too early.
    """

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT)
        self._status = 0
        self._streaming = False
        self._rest = bytearray()
        self.done = False

    def start(self, method: str, target: str, body: object = None) -> bytes:
        """The request's bytes; `body` is sent as JSON unless it is None."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = [("host", "p2pwf"), ("connection", "close"), ("content-length", str(len(content)))]
        request = h11.Request(method=method, target=target, headers=headers)
        data = self._http.send(request)
        if content:
            data += self._http.send(h11.Data(data=content))
        return data + self._http.send(h11.EndOfMessage())

    def feed(self, data: bytes) -> Iterator[Any]:
        """Values that `data` (empty: the end of the connection) brought."""
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                if isinstance(event, h11.Response):
                    self._status = event.status_code
                    kind = dict(event.headers).get(b"content-type", b"")
                    self._streaming = kind.startswith(b"application/x-ndjson")
                elif isinstance(event, h11.Data):
                    self._rest += event.data
                    if self._streaming:
                        yield from self._lines()
                    self._check_size()
                elif isinstance(event, h11.EndOfMessage):
                    self.done = True
                    yield from self._end()
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    raise Gone("the node hung up before it answered", GONE_HINT)
        except h11.RemoteProtocolError as error:
            if data:
                raise NoNode(f"what answers is not a p2pwf node: {error}", "use another --data-dir") from error
            raise Gone("the node went away before it had answered", GONE_HINT) from error

    def _check_size(self) -> None:
        if len(self._rest) > (MAX_LINE if self._streaming else MAX_ANSWER):
            raise NoNode("the node's answer is larger than any should be", "use another --data-dir")

    def _lines(self) -> Iterator[Any]:
        *whole, rest = self._rest.split(b"\n")
        self._rest = rest
        for line in whole:
            if line:
                yield self._value(line)

    def _end(self) -> Iterator[Any]:
        if not self._streaming:
            yield self._value(bytes(self._rest))
        elif self._rest:
            yield from self._lines()

    def _value(self, text: bytes | bytearray) -> Any:  # noqa: ANN401 - JSON
        try:
            value = json.loads(text)
        except ValueError as error:
            raise NoNode("what answers on the control socket is not a p2pwf node", "use another --data-dir") from error
        if self._status >= 400 or (self._streaming and isinstance(value, dict) and set(value) == {"error"}):
            raise error_of(value)
        return value
