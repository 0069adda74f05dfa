"""The embedded coordinator: submit, assign, follow and end workflows on one machine, without node and network.

Everything it decides is a node of its clock, and everything it tells is the fold over that clock: see `ledger`.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from p2pwf.config import NAME_ENV
from p2pwf.embedded.durable import DurableClock
from p2pwf.embedded.files import is_p2p, metadata_of, read_workflow, refuse_untagged
from p2pwf.errors import Refused, UsageError
from p2pwf.ledger import (
    State,
    WorkflowStatus,
    WorkflowTask,
    plan_of_peer,
    plan_of_priority,
    plan_of_status,
    plan_of_submission,
)
from p2pwf.places import data_dir as chosen_data_dir


class P2PWorkflowCoordinator:
    """Workflows and peers of one state, that of (data_dir, peer_id).

    Durable: what a method has returned is on disk. Any number of coordinators, in any number of processes, may work on
    one folder at a time; those with one peer id share one state, and those with different ones have a state each. Any
    thread may call it. It runs no job: who is given a workflow runs it and says so by `update_workflow_status`.

    Errors are classes of `p2pwf.errors`, each with a message and a hint: UsageError for what is asked wrongly,
    StorageError if the disk fails.
    """

    def __init__(self, peer_id: str | None = None, data_dir: str | os.PathLike[str] | None = None) -> None:
        """`peer_id`: any text, by default P2P_PEER_ID or else this machine's name. `data_dir`: by default P2P_DATA_DIR
        or else the folder of this user's node; made if it is missing. Opening reads and verifies the whole state: about
        0.1 s for 2,000 events.

        Raises StorageError if the folder cannot be used or its database is damaged, Refused if it is none of ours.
        """
        name = peer_id if peer_id is not None else os.environ.get(NAME_ENV) or platform.node() or "node"
        self._data_dir = chosen_data_dir(None if data_dir is None else os.fspath(data_dir))
        self._clock = DurableClock(self._data_dir, name)
        self._state = State()
        self._folded = 0
        self._generation = self._clock.generation

    # -- who and where ------------------------------------------------------------------------------------------

    @property
    def peer_id(self) -> str:
        """The name of this peer."""
        return self._clock.peer_id

    @property
    def data_dir(self) -> Path:
        """The folder, an absolute path."""
        return self._data_dir

    @property
    def merkle_clock(self) -> DurableClock:
        """The clock, with what other processes have written so far. What is appended or merged into it is on disk.

        Merging the clock of another coordinator brings its workflows. Its nodes are not signed: take it from whom you
        trust.
        """
        self._clock.refresh()
        return self._clock

    def close(self) -> None:
        """Let the folder go. It also happens when coordinator and clock are forgotten; calling it twice is fine."""
        self._clock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- peers --------------------------------------------------------------------------------------------------

    @property
    def peer_list(self) -> list[str]:
        """The peers that workflows are given to: this one, then the others in the order in which they were added."""
        with self._clock.turn:
            return self._peers(self._now())

    def add_peer(self, peer_id: str) -> bool:
        """Let workflows be given to a peer, named by any text. False if it was there already."""
        _text(peer_id, "a peer id")
        with self._clock.writing() as write:
            if peer_id in self._peers(self._fold()):
                return False
            write(plan_of_peer(peer_id, add=True))
            return True

    def remove_peer(self, peer_id: str) -> bool:
        """Let no more workflows be given to a peer; those that it has not begun are pending again.

        False if it was not there. Raises Refused for this peer itself.
        """
        if peer_id == self.peer_id:
            raise Refused("a coordinator cannot remove itself", "remove other peers, or just make no coordinator")
        with self._clock.writing() as write:
            if peer_id not in self._fold().peers:
                return False
            write(plan_of_peer(peer_id, add=False))
            return True

    # -- workflows ----------------------------------------------------------------------------------------------

    def submit_workflow(
        self,
        workflow_file: str | os.PathLike[str],
        name: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        priority: float = 3.0,
        *,
        force: bool = False,
    ) -> str:
        """Hand in a workflow file; its id (64 hex digits). It is pending until it is assigned.

        `name`: by default the workflow's own; `inputs`: kept as they are given, JSON values; `priority`: lower is more
        urgent, 1.0 critical, 3.0 normal, 5.0 background. Raises InvalidWorkflow for a file that does not check, Refused
        for one without a tag unless `force`, UsageError for a file that cannot be read, inputs that JSON cannot hold
        and a priority that is no finite number.
        """
        given = {} if inputs is None else inputs
        if not isinstance(given, Mapping):
            raise UsageError(f"inputs are a dict, not {type(given).__name__}", 'such as {"level": "2"}')
        read = read_workflow(workflow_file)
        refuse_untagged(read, force)
        plan = plan_of_submission(
            name=_text(name, "a name") if name else read.name,
            file=str(read.path),
            text=read.text,
            tags=read.workflow.tags,
            inputs=given,
            priority=_priority(priority),
        )
        with self._clock.writing() as write:
            return write(plan).hash

    def assign_workflows(self) -> list[str]:
        """Give every pending workflow to the peer nearest to it, the most urgent first; the ids of these workflows."""
        with self._clock.writing() as write:
            state = self._fold()
            peers = self._peers(state)
            given = []
            for task in state.pending():
                peer, distance = state.owner_of(task.workflow_id, peers)
                write(plan_of_status(task.workflow_id, WorkflowStatus.ASSIGNED, peer=peer, distance=distance))
                given.append(task.workflow_id)
            return given

    def get_workflow_status(self, workflow_id: str) -> dict[str, Any] | None:
        """One workflow: {workflow_id, name, status, priority, tags, assigned_peer, inputs, result, error, created_at,
        started_at, completed_at}, times in seconds as of `time.time()`; None if there is none of that id.

        A beginning or end of an id does, from four characters on; UsageError if several have it.
        """
        with self._clock.turn:
            task = self._now().find(workflow_id)
        return None if task is None else task.summary()

    def list_workflows(
        self, status: WorkflowStatus | str | None = None, peer_id: str | None = None
    ) -> list[dict[str, Any]]:
        """Workflows in order of submission, as `get_workflow_status` tells them; `status` and `peer_id` filter.

        Raises UsageError for a status that there is not.
        """
        wanted = None if status is None else WorkflowStatus.of(status)
        return [
            task.summary()
            for task in self._tasks()
            if wanted in (None, task.status) and peer_id in (None, task.assigned_peer)
        ]

    def get_my_workflows(self) -> list[WorkflowTask]:
        """The workflows that were given to this peer, ended ones too, in order of submission; what is changed in one of
        them changes nothing here."""
        return [WorkflowTask.from_dict(task.to_dict()) for task in self._tasks() if task.assigned_peer == self.peer_id]

    def update_workflow_status(
        self, workflow_id: str, status: WorkflowStatus | str, result: object = None, error: str | None = None
    ) -> bool:
        """Give a workflow another status, and a result (a JSON value) or an error with it.

        False, and nothing changes, if there is no such workflow or its status cannot become that one: pending →
        assigned, cancelled, failed; assigned → in_progress, completed, failed, cancelled, pending; in_progress →
        completed, failed, cancelled; what has ended stays. Raises UsageError for a status that there is not, and for a
        result that JSON cannot hold.
        """
        wanted = WorkflowStatus.of(status)
        if error is not None:
            _text(error, "an error")
        with self._clock.writing() as write:
            state = self._fold()
            task = state.find(workflow_id)
            if task is None or not task.status.may_become(wanted):
                return False
            id, peer, distance = task.workflow_id, None, None
            if wanted is WorkflowStatus.ASSIGNED:
                peer, distance = state.owner_of(id, self._peers(state))
            write(plan_of_status(id, wanted, peer=peer, distance=distance, result=result, error=error))
            return True

    def update_workflow_priority(self, workflow_id: str, priority: float) -> bool:
        """Move a workflow up (a smaller number) or down. False if there is none of that id, or it has ended."""
        moved = _priority(priority)
        with self._clock.writing() as write:
            task = self._fold().find(workflow_id)
            if task is None or task.status.is_final:
                return False
            write(plan_of_priority(task.workflow_id, moved))
            return True

    # -- files and figures --------------------------------------------------------------------------------------

    def parse_workflow_file(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """What a workflow file says of itself: {name, tags, jobs, triggers, labels}.

        Raises UsageError if it cannot be read, InvalidWorkflow if it does not check.
        """
        return metadata_of(path)

    def is_p2p_workflow(self, metadata: Mapping[str, Any]) -> bool:
        """Whether what `parse_workflow_file` gave carries p2p-workflow or offline-workflow."""
        return is_p2p(metadata)

    def get_stats(self) -> dict[str, Any]:
        """{peer_id, total_workflows, queue_size, peer_count, merkle_clock_height, status_counts, my_workflows}.

        `queue_size`: how many are pending; `status_counts`: {status: number}, each status in it.
        """
        with self._clock.turn:
            state = self._now()
            tasks, peers, height = list(state.tasks.values()), self._peers(state), self._clock.logical_clock
        counts = {status.value: sum(task.status is status for task in tasks) for status in WorkflowStatus}
        return {
            "peer_id": self.peer_id,
            "total_workflows": len(tasks),
            "queue_size": counts[WorkflowStatus.PENDING],
            "peer_count": len(peers),
            "merkle_clock_height": height,
            "status_counts": counts,
            "my_workflows": sum(task.assigned_peer == self.peer_id for task in tasks),
        }

    # -- the fold -----------------------------------------------------------------------------------------------

    def _tasks(self) -> list[WorkflowTask]:
        with self._clock.turn:
            return list(self._now().tasks.values())

    def _now(self) -> State:
        """The state, with what others have written."""
        self._clock.refresh()
        return self._fold()

    def _fold(self) -> State:
        """The state as the clock is; only what is new is folded, unless something came in before the end."""
        if self._generation != self._clock.generation:
            self._state, self._folded, self._generation = State(), 0, self._clock.generation
        for node in self._clock.since(self._folded):
            self._state.apply(node)
        self._folded = len(self._clock)
        return self._state

    def _peers(self, state: State) -> list[str]:
        return [self.peer_id, *(peer for peer in state.peers if peer != self.peer_id)]


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{what} is a text, not {type(value).__name__}", "give it as a str")
    return value


def _priority(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise UsageError(f"not a priority: {value!r}", "1.0 is critical, 3.0 normal, 5.0 background")
    return float(value)
