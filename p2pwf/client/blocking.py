"""`p2pwf.connect`: the coordinator's methods over a running node, each call a short connection of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from p2pwf.client import talks
from p2pwf.client.clock import ClockView
from p2pwf.client.talks import Ask, Talk
from p2pwf.control import client as control
from p2pwf.embedded.files import is_p2p, metadata_of
from p2pwf.errors import P2pwfError
from p2pwf.ledger import WorkflowStatus, WorkflowTask
from p2pwf.places import data_dir as chosen_data_dir

T = TypeVar("T")


def connect(data_dir: str | os.PathLike[str] | None = None) -> Client:
    """A client of the node that runs on a data folder: by default that of P2P_DATA_DIR, or this user's.

    Raises NoNode, with a hint how to start one, if none runs there; Refused if it is another user's.
    """
    return Client(data_dir)


class Client:
    """A running node, with the methods and the return forms of `P2PWorkflowCoordinator`. Threads may share it.

    A workflow here is a run of the network; its assigned peer is the one that has its first job. Besides the errors
    named, any call raises NoNode once the node has stopped, and TryAgain while it is overloaded or not ready.
    """

    def __init__(self, data_dir: str | os.PathLike[str] | None = None) -> None:
        """As `connect`."""
        self._data_dir = chosen_data_dir(None if data_dir is None else os.fspath(data_dir))
        self._control = control.Client(self._data_dir)
        self._peer_id = self._do(talks.peer_id())

    @property
    def peer_id(self) -> str:
        """The node's peer id."""
        return self._peer_id

    @property
    def data_dir(self) -> Path:
        """The node's data folder."""
        return self._data_dir

    @property
    def merkle_clock(self) -> ClockView:
        """The node's clock as it is now, to read and to verify; costs the whole log."""
        return self._do(talks.clock(self._peer_id))

    @property
    def peer_list(self) -> list[str]:
        """The peer ids of the network's members, this node's first."""
        return self._do(talks.peer_list())

    def add_peer(self, peer_id: str) -> bool:
        """Admit a peer, seen or not. False if it is a member already.

        Raises UsageError for what is no libp2p peer id, Refused if this node may not.
        """
        return self._do(talks.add_peer(peer_id))

    def remove_peer(self, peer_id: str) -> bool:
        """Remove a member, by peer id or name; its runs are cancelled. False if there is none.

        Raises Refused if this node may not.
        """
        return self._do(talks.remove_peer(peer_id))

    def submit_workflow(
        self,
        workflow_file: str | os.PathLike[str],
        name: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        priority: float = 3.0,
        *,
        force: bool = False,
    ) -> str:
        """Run a workflow file on the network, with the source tree around it; the run's id. It is on the node's disk.

        Raises InvalidWorkflow for a file that does not check or cannot be run, Refused for one without a tag unless
        `force`, UsageError for a file that cannot be read, inputs that it does not declare and a bad priority.
        """
        return self._do(talks.submit(workflow_file, name, inputs, priority, force))

    def assign_workflows(self) -> list[str]:
        """Have jobs without a peer looked at again (nodes do so by themselves); the ids of the runs that got one."""
        return self._do(talks.assign())

    def get_workflow_status(self, workflow_id: str) -> dict[str, Any] | None:
        """One run, by its id or a beginning or end of it; None if there is none.

        {workflow_id, name, status, priority, tags, assigned_peer, inputs, result, error, created_at, started_at,
        completed_at}: `result` is {job: {result, outputs}}, times are seconds as of `time.time()`. Raises UsageError if
        several have such an id.
        """
        return self._do(talks.status(workflow_id))

    def get_workflow_jobs(self, workflow_id: str) -> list[dict[str, Any]]:
        """The jobs of a run, as `p2pwf workflow status --json` tells them, times in seconds; [] if there is no run."""
        return self._do(talks.jobs(workflow_id))

    def list_workflows(
        self, status: WorkflowStatus | str | None = None, peer_id: str | None = None
    ) -> list[dict[str, Any]]:
        """Runs in order of submission, filtered by status and by a peer (id or name) that has a job of it.

        Raises UsageError for a status that there is not.
        """
        return self._do(talks.list_runs(status, peer_id))

    def get_my_workflows(self) -> list[WorkflowTask]:
        """The runs of which this node has a job, ended ones too, in order of submission."""
        return self._do(talks.mine(self._peer_id))

    def update_workflow_status(
        self, workflow_id: str, status: WorkflowStatus | str, result: object = None, error: str | None = None
    ) -> bool:
        """Cancel a run (status cancelled), or record what became of it where this node's jobs are run from outside.

        False if there is no such run or it has ended. Raises Refused, with a hint, for whatever the node's own jobs do
        not allow: the status of a run follows from its jobs.
        """
        return self._do(talks.update(workflow_id, status, result, error))

    def update_workflow_priority(self, workflow_id: str, priority: float) -> bool:
        """Move a run up (a smaller number) or down. False if there is none of that id, or it has ended."""
        return self._do(talks.prioritise(workflow_id, priority))

    def parse_workflow_file(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """What a workflow file says of itself, {name, tags, jobs, triggers, labels}; read here, not by the node.

        Raises UsageError if it cannot be read, InvalidWorkflow if it does not check.
        """
        return metadata_of(path)

    def is_p2p_workflow(self, metadata: Mapping[str, Any]) -> bool:
        """Whether what `parse_workflow_file` gave carries p2p-workflow or offline-workflow."""
        return is_p2p(metadata)

    def get_stats(self) -> dict[str, Any]:
        """{peer_id, total_workflows, queue_size, peer_count, merkle_clock_height, status_counts, my_workflows}.

        `queue_size`: jobs that wait for a slot of this node; `my_workflows`: runs of which it has an unended job.
        """
        return self._do(talks.stats())

    def close(self) -> None:
        """Nothing is held between calls; it is here so that a client can stand in for a coordinator."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, talk: Talk[T]) -> T:
        try:
            ask = talks.step(talk)
            while True:
                failed, answer = None, None
                try:
                    answer = self._ask(ask)
                except P2pwfError as error:
                    failed = error
                ask = talks.step(talk, answer, failed)
        except StopIteration as done:
            result: T = done.value
            return result

    def _ask(self, ask: Ask) -> Any:  # noqa: ANN401 - JSON
        if ask.stream:
            return list(self._control.stream(*ask.parts, query=ask.query))
        return self._control.call(ask.method, *ask.parts, query=ask.query, body=ask.body)
