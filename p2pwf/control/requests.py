"""Reads what a caller sent: bounded bodies, typed fields, errors that name the field. Knows no route."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import aclosing
from math import isfinite, nan
from typing import Any, Final, cast

import trio
from starlette.requests import ClientDisconnect, Request

from p2pwf.errors import TryAgain, UsageError

MAX_BODY: Final = 2 * 1024 * 1024
"""Bytes of a request's body: an event payload of 1 MiB with inputs beside it."""
BODY_SECONDS: Final = 30.0
"""A body may take as long to come; the caller is on this machine."""


class Fields:
    """The named values of a request; each is read once, and what nobody read is refused by `done`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def anything(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """A value of any kind; None if it is not there."""
        return self._values.pop(name, None)

    def text(self, name: str) -> str | None:
        """A text, or None."""
        value = self.anything(name)
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{name} is not a text")
        return value

    def needed_text(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if not value:
            raise UsageError(f"{name} is missing")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts; empty if it is not there."""
        value = self.anything(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise UsageError(f"{name} is not a list of texts")
        return value

    def number(self, name: str) -> float | None:
        """A finite number, or None."""
        value = self.anything(name)
        if value is None:
            return None
        try:
            number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else nan
        except OverflowError:  # a whole number of 400 digits is none to a float
            number = nan
        if not isfinite(number):
            raise UsageError(f"{name} is not a finite number")
        return number

    def flag(self, name: str) -> bool:
        """A truth value, also in the words of a query; false if it is not there."""
        value = self.anything(name)
        if value in (None, False, "false", "0"):
            return False
        if value in (True, "true", "1"):
            return True
        raise UsageError(f"{name} is neither true nor false")

    def needed_flag(self, name: str) -> bool:
        """A truth value that must be there: either of the two is a wish."""
        if name not in self._values:
            raise UsageError(f"{name} is missing", "true, or false")
        return self.flag(name)

    def choice(self, name: str, words: Collection[str]) -> str | None:
        """One of some words, or None."""
        value = self.text(name)
        if value is not None and value not in words:
            raise UsageError(f"{name} is not {value!r}", f"it is one of {', '.join(words)}")
        return value

    def mapping(self, name: str) -> dict[str, Any] | None:
        """An object, or None."""
        value = self.anything(name)
        if value is not None and not isinstance(value, dict):
            raise UsageError(f"{name} is not an object")
        return cast("dict[str, Any] | None", value)

    def done(self) -> None:
        """Refuse what is left over: a misspelt field must not pass as a wish fulfilled."""
        if self._values:
            raise UsageError(f"unknown field {min(self._values)!r}")


async def nothing_more(request: Request) -> None:
    """Refuse a body's fields where a route takes none."""
    (await body_fields(request)).done()


def query_fields(request: Request) -> Fields:
    """The fields of a request's query."""
    return Fields(dict(request.query_params))


async def body_fields(request: Request) -> Fields:
    """The fields of a JSON body, {} if there is none. Raises UsageError for what is none, or too large."""
    body = await _body(request)
    try:
        values = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the request's body is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError("the request's body is no JSON object")
    return Fields(values)


async def _body(request: Request) -> bytes:
    body = bytearray()
    with trio.move_on_after(BODY_SECONDS) as scope:
        try:
            async with aclosing(request.stream()) as parts:
                async for part in parts:
                    body += part
                    if len(body) > MAX_BODY:
                        raise UsageError(f"the request is larger than {MAX_BODY:,} bytes", "send files by their path")
        except ClientDisconnect as error:
            raise TryAgain("the caller hung up in the middle of a request") from error
    if scope.cancelled_caught:
        raise TryAgain("the request did not arrive in time")
    return bytes(body)
