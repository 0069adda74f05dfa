"""Writes what a caller gets: JSON, errors, streams of JSON lines. Knows no route and no node."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final, cast

import structlog
import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2pwf.errors import InternalError, InvalidWorkflow, P2pwfError

STATUS_OF: Final = {
    "usage": 400,
    "invalid_workflow": 422,
    "not_found": 404,
    "refused": 409,
    "try_again": 503,
    "storage": 507,
    "overloaded": 429,
    "remote": 502,
    "bug": 500,
}
"""The HTTP status of each error's code."""
AGAIN_SECONDS: Final = 1
"""After which who was told that there is too much may come again: each time costs this node a request."""
JSON_TYPE: Final = "application/json"
LINES_TYPE: Final = "application/x-ndjson"

_log = structlog.get_logger()


def to_bytes(value: object) -> bytes:
    """A JSON-able value on one line."""
    # Half a surrogate pair may come through from a job's output: as an escape it is legal JSON, as UTF-8 it is not.
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def error_body(error: P2pwfError) -> dict[str, Any]:
    """{error: {code, message, hint}}, of an invalid workflow with its diagnostics."""
    told: dict[str, Any] = dict(error.to_json())
    if isinstance(error, InvalidWorkflow):
        told["diagnostics"] = list(error.diagnostics)
    return {"error": told}


def json_reply(value: object) -> Response:
    """An answer."""
    return Response(to_bytes(value), media_type=JSON_TYPE)


def error_reply(error: P2pwfError, status: int | None = None) -> Response:
    """An error, with the status that fits its code."""
    code = status or STATUS_OF.get(error.code, 500)
    headers = {"Retry-After": str(AGAIN_SECONDS)} if code == STATUS_OF["overloaded"] else None
    return Response(to_bytes(error_body(error)), status_code=code, headers=headers, media_type=JSON_TYPE)


class LineStream(Response):
    """A stream of JSON lines. It begins with its first line, so that an error before that has its own status.

    An error after the first line is the last line, {error: …}; a stream that ends without closing is one whose node
    went away. Ends when the caller hangs up.
    """

    def __init__(self, lines: AsyncIterator[dict[str, Any]]) -> None:
        super().__init__(media_type=LINES_TYPE)
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:

            async def hung_up() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(hung_up)
            await self._send_lines(scope, receive, send)
            nursery.cancel_scope.cancel()

    async def _send_lines(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def put(body: bytes, more: bool) -> None:
            nonlocal begun
            if not begun:
                begun = True
                headers = [(b"content-type", LINES_TYPE.encode())]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            async with aclosing(cast("Any", self._lines)) as lines:
                async for line in lines:
                    await put(to_bytes(line), True)
            await put(b"", False)
        except P2pwfError as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - logged, and told to the caller
            _log.exception("a control stream failed")
            failed = InternalError(f"{type(error).__name__} in the node", "its log has more: please report it")
        else:
            return
        if begun:
            await put(to_bytes(error_body(failed)), False)
        else:
            await error_reply(failed)(scope, receive, send)
