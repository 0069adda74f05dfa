"""`p2pwf.connect_async`: the coordinator's methods over a running node, for trio.

Every method that asks the node is a coroutine; cancelling it hangs up, and what the node has begun by then it ends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import trio

from p2pwf.client import talks
from p2pwf.client.clock import ClockView
from p2pwf.client.talks import Ask, Talk
from p2pwf.control.client import ANSWER_SECONDS, CHUNK, CONNECT_SECONDS, START_HINT, find_socket, target_of
from p2pwf.control.protocol import Exchange
from p2pwf.embedded.files import is_p2p, metadata_of
from p2pwf.errors import NoNode, P2pwfError, Refused
from p2pwf.ledger import WorkflowStatus, WorkflowTask
from p2pwf.places import data_dir as chosen_data_dir

T = TypeVar("T")


async def connect_async(data_dir: str | os.PathLike[str] | None = None) -> AsyncClient:
    """A client for trio of the node that runs on a data folder: by default that of P2P_DATA_DIR, or this user's.

    Raises NoNode, with a hint how to start one, if none runs there; Refused if it is another user's.
    """
    return await AsyncClient.open(data_dir)


class AsyncClient:
    """A running node, with the names and return forms of `p2pwf.Client`. Tasks may share it; see `connect_async`.

    What is a property there and asks the node is a coroutine here: `peer_list()` and `merkle_clock()`.
    """

    def __init__(self, data_dir: Path, peer_id: str) -> None:
        """Made by `open`."""
        self.data_dir = data_dir
        """The node's data folder."""
        self.peer_id = peer_id
        """The node's peer id."""

    @classmethod
    async def open(cls, data_dir: str | os.PathLike[str] | None = None) -> Self:
        """As `connect_async`."""
        client = cls(chosen_data_dir(None if data_dir is None else os.fspath(data_dir)), "")
        client.peer_id = await client._do(talks.peer_id())
        return client

    async def merkle_clock(self) -> ClockView:
        """See Client.merkle_clock."""
        return await self._do(talks.clock(self.peer_id))

    async def peer_list(self) -> list[str]:
        """See Client.peer_list."""
        return await self._do(talks.peer_list())

    async def add_peer(self, peer_id: str) -> bool:
        """See Client.add_peer."""
        return await self._do(talks.add_peer(peer_id))

    async def remove_peer(self, peer_id: str) -> bool:
        """See Client.remove_peer."""
        return await self._do(talks.remove_peer(peer_id))

    async def submit_workflow(
        self,
        workflow_file: str | os.PathLike[str],
        name: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        priority: float = 3.0,
        *,
        force: bool = False,
    ) -> str:
        """See Client.submit_workflow."""
        return await self._do(talks.submit(workflow_file, name, inputs, priority, force))

    async def assign_workflows(self) -> list[str]:
        """See Client.assign_workflows."""
        return await self._do(talks.assign())

    async def get_workflow_status(self, workflow_id: str) -> dict[str, Any] | None:
        """See Client.get_workflow_status."""
        return await self._do(talks.status(workflow_id))

    async def get_workflow_jobs(self, workflow_id: str) -> list[dict[str, Any]]:
        """See Client.get_workflow_jobs."""
        return await self._do(talks.jobs(workflow_id))

    async def list_workflows(
        self, status: WorkflowStatus | str | None = None, peer_id: str | None = None
    ) -> list[dict[str, Any]]:
        """See Client.list_workflows."""
        return await self._do(talks.list_runs(status, peer_id))

    async def get_my_workflows(self) -> list[WorkflowTask]:
        """See Client.get_my_workflows."""
        return await self._do(talks.mine(self.peer_id))

    async def update_workflow_status(
        self, workflow_id: str, status: WorkflowStatus | str, result: object = None, error: str | None = None
    ) -> bool:
        """See Client.update_workflow_status."""
        return await self._do(talks.update(workflow_id, status, result, error))

    async def update_workflow_priority(self, workflow_id: str, priority: float) -> bool:
        """See Client.update_workflow_priority."""
        return await self._do(talks.prioritise(workflow_id, priority))

    async def parse_workflow_file(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """See Client.parse_workflow_file; the file is read in a thread."""
        return await trio.to_thread.run_sync(metadata_of, path)

    def is_p2p_workflow(self, metadata: Mapping[str, Any]) -> bool:
        """See Client.is_p2p_workflow."""
        return is_p2p(metadata)

    async def get_stats(self) -> dict[str, Any]:
        """See Client.get_stats."""
        return await self._do(talks.stats())

    async def _do(self, talk: Talk[T]) -> T:
        # A generator's StopIteration cannot leave a coroutine, so it is caught around each step.
        failed: P2pwfError | None = None
        answer: Any = None
        while True:
            try:
                ask = talks.step(talk, answer, failed)
            except StopIteration as done:
                result: T = done.value
                return result
            failed, answer = None, None
            try:
                answer = await self._ask(ask)
            except P2pwfError as error:
                failed = error

    async def _ask(self, ask: Ask) -> Any:  # noqa: ANN401 - JSON
        exchange = Exchange()
        request = exchange.start(ask.method, target_of(*ask.parts, query=ask.query), ask.body)
        values: list[Any] = []
        async with await self._connect() as stream:
            with suppress(trio.BrokenResourceError):  # it may refuse before it reads: the answer says why
                await stream.send_all(request)
            while not exchange.done:
                data = b""
                with trio.move_on_after(ANSWER_SECONDS) as patience:
                    with suppress(trio.BrokenResourceError):
                        data = await stream.receive_some(CHUNK)
                if patience.cancelled_caught:
                    raise NoNode(f"the node of {self.data_dir} does not answer", "it may be overloaded: try again")
                values += exchange.feed(data)
        return values if ask.stream else values[0]

    async def _connect(self) -> trio.SocketStream:
        path = find_socket(self.data_dir)
        try:
            with trio.fail_after(CONNECT_SECONDS):
                return await trio.open_unix_socket(path)
        except PermissionError as error:
            raise Refused(f"the node of {self.data_dir} belongs to another user", START_HINT) from error
        except (OSError, trio.TooSlowError) as error:
            raise NoNode(f"no node runs on {self.data_dir}", START_HINT) from error
