"""The control API keeps what its OpenAPI document promises, whatever is asked: schemathesis makes up the requests.

It speaks TCP, so what it says is carried to the Unix socket by a relay on loopback.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case

from p2pwf.control.openapi import document
from tests.control.kit import node
from tests.e2e.kit import Node

LEFT_OUT = {("/v1/shutdown", "post"), ("/v1/runs/{run}/watch", "get")}
"""What would end the node, and what lasts until a run ends."""
FILES = ("/v1/runs", "/v1/schedules", "/v1/clock/import")
"""Where files are named, of which no schema says whether they are there."""
EXAMPLES, MANY = 6, 200
CHUNK = 65_536
SECONDS = 20
"""For one answer."""


async def _pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(CHUNK):
            await sink.send_all(data)
        await sink.send_eof()


@asynccontextmanager
async def relay(path: Path) -> AsyncIterator[str]:
    """The URL at which the server of a Unix socket is reached."""

    async def carry(caller: trio.SocketStream) -> None:
        inner = await trio.open_unix_socket(str(path))
        async with inner, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, caller, inner)
            nursery.start_soon(_pump, inner, caller)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, carry, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def ask(url: str, examples: int, *, real: bool) -> int:
    """Ask for everything in the document, many times; how many operations there were.

    A `real` node may refuse what has the right form, such as a run that there is not.
    """
    schema = schemathesis.openapi.from_dict(document())
    count = 0
    for found in schema.get_all_operations():
        operation: Any = cast(Any, found).ok()  # the document itself is tested elsewhere
        if (operation.path, operation.method.lower()) not in LEFT_OUT:
            count += 1
            _ask(operation, url, examples, real)
    return count


def _ask(operation: Any, url: str, examples: int, real: bool) -> None:
    may_refuse = real or operation.path in FILES
    left_out: list[Any] = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")] if may_refuse else []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=not real,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def answers_as_promised(case: Case[Any]) -> None:
        case.call_and_validate(base_url=url, timeout=SECONDS, excluded_checks=left_out)

    answers_as_promised()


async def test_every_answer_is_one_that_the_document_promises() -> None:
    async with node() as (_, folder), relay(folder / "control.sock") as url:
        assert await trio.to_thread.run_sync(lambda: ask(url, EXAMPLES, real=False)) > 25


@pytest.mark.long
async def test_a_real_node_answers_as_promised_and_lives(tmp_path: Path) -> None:
    with Node(tmp_path / "one", "--slots", "0") as one:
        one.start().ready()
        async with relay(Path(one.info["control"])) as url:
            await trio.to_thread.run_sync(lambda: ask(url, MANY, real=True))
        assert one.ask("status")["ready"] is True
