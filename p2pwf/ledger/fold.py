"""From the nodes of a clock to workflows and peers: the fold, and the data that nodes carry. Knows no disk and no time.

A state is a function of the set of nodes: they are applied in the order of (logical clock, hash), and one that breaks a
rule has no effect. So two who merged each other's clocks hold the same workflows, whatever was decided meanwhile: of
two decisions about one workflow the first in that order stands, and the other is one that came too late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final, TypeGuard

import attrs

from p2pwf.assign import clock_head, create_task_hash, select_task_owner
from p2pwf.errors import NotFound, UsageError
from p2pwf.ledger.node import MerkleNode, cid_of
from p2pwf.ledger.task import WorkflowStatus, WorkflowTask
from p2pwf.queue import ReadyQueue

SUBMIT: Final = "workflow.submit"
STATUS: Final = "workflow.status"
PRIORITY: Final = "workflow.priority"
PEER_ADD: Final = "peer.add"
PEER_REMOVE: Final = "peer.remove"
MIN_PREFIX: Final = 4
"""Characters of a workflow's id that are looked for at the least, as on a node."""


def plan_of_submission(
    *, name: str, file: str, text: str, tags: tuple[str, ...], inputs: Mapping[str, Any], priority: float
) -> dict[str, Any]:
    """The data of a submission; the hash of its node is the workflow's id."""
    return {
        "event": SUBMIT, "name": name, "file": file, "workflow": text, "tags": tags, "inputs": inputs,
        "priority": float(priority),
    }  # fmt: skip


def plan_of_status(
    workflow_id: str,
    status: WorkflowStatus,
    *,
    peer: str | None = None,
    distance: int | None = None,
    result: object = None,
    error: str | None = None,
) -> dict[str, Any]:
    """The data of a change of status; `peer` and `distance` (bits): of an assignment."""
    told = {"peer": peer, "distance": distance, "result": result, "error": error}
    known = {name: value for name, value in told.items() if value is not None}
    return {"event": STATUS, "workflow_id": workflow_id, "status": status.value, **known}


def plan_of_priority(workflow_id: str, priority: float) -> dict[str, Any]:
    """The data of a change of priority."""
    return {"event": PRIORITY, "workflow_id": workflow_id, "priority": float(priority)}


def plan_of_peer(peer: str, *, add: bool) -> dict[str, Any]:
    """The data by which a peer comes or goes."""
    return {"event": PEER_ADD if add else PEER_REMOVE, "peer": peer}


class State:
    """Workflows and peers as they follow from the nodes that were applied, in the order of (logical clock, hash)."""

    def __init__(self) -> None:
        self.tasks: dict[str, WorkflowTask] = {}
        """By id, in order of submission."""
        self.peers: dict[str, None] = {}
        """In the order in which they came."""
        self.without_effect = 0
        """Nodes of our kinds that broke a rule, or came too late."""
        self._points: dict[str, bytes] = {}
        self._rules: dict[str, Callable[[MerkleNode], bool]] = {
            SUBMIT: self._submitted,
            STATUS: self._changed,
            PRIORITY: self._moved,
            PEER_ADD: self._came,
            PEER_REMOVE: self._went,
        }

    def apply(self, node: MerkleNode) -> None:
        """Take in the next node. One that is not of our kinds changes nothing; never raises."""
        kind = node.data.get("event")
        rule = self._rules.get(kind) if isinstance(kind, str) else None
        if rule is not None and not rule(node):
            self.without_effect += 1

    def find(self, name: str) -> WorkflowTask | None:
        """The workflow of an id, or of a beginning or end of it that no other has; None if there is none.

        Raises UsageError for what several have.
        """
        if name in self.tasks or len(name) < MIN_PREFIX:
            return self.tasks.get(name)
        found = [task for id, task in self.tasks.items() if id.startswith(name) or id.endswith(name)]
        if len(found) > 1:
            raise UsageError(f"{len(found)} workflows have an id like {name!r}", "give more of it")
        return found[0] if found else None

    def pending(self) -> list[WorkflowTask]:
        """The workflows that nobody was given yet, the most urgent first, equals in order of submission."""
        waiting = [task for task in self.tasks.values() if task.status is WorkflowStatus.PENDING]
        queue: ReadyQueue[str, WorkflowTask] = ReadyQueue(bound=len(waiting))
        for task in waiting:
            queue.add(task.workflow_id, task.priority, task)
        return [entry.data for entry in iter(queue.pop, None)]

    def owner_of(self, workflow_id: str, peers: list[str]) -> tuple[str, int]:
        """Who is to have a workflow, and at which distance in bits: nearest to its submission's own past and its id.

        Raises NotFound, and UsageError if there is no peer.
        """
        if workflow_id not in self._points:
            raise NotFound(f"no workflow {workflow_id!r}", "see list_workflows()")
        return select_task_owner(self._points[workflow_id], create_task_hash(workflow_id), peers)

    def _submitted(self, node: MerkleNode) -> bool:
        data = node.data
        name, file, text = data.get("name"), data.get("file"), data.get("workflow")
        tags, inputs, priority = data.get("tags"), data.get("inputs"), data.get("priority")
        if not isinstance(name, str) or not isinstance(file, str) or not isinstance(text, str):
            return False
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            return False
        if not isinstance(inputs, dict) or not _is_priority(priority):
            return False
        self._points[node.hash] = clock_head(cid_of(parent) for parent in node.parents)
        self.tasks[node.hash] = WorkflowTask(
            workflow_id=node.hash,
            name=name,
            workflow_file=file,
            workflow=text,
            inputs=inputs,
            priority=float(priority),
            tags=tuple(tags),
            created_at=node.timestamp,
        )
        return True

    def _changed(self, node: MerkleNode) -> bool:
        task, data = self._task(node), node.data
        word, peer, error = data.get("status"), data.get("peer"), data.get("error")
        if task is None or word not in set(WorkflowStatus) or not isinstance(error, (str, type(None))):
            return False
        status = WorkflowStatus(word)
        if not task.status.may_become(status):
            return False
        if status is WorkflowStatus.ASSIGNED:
            if not isinstance(peer, str):
                return False
            task = attrs.evolve(task, assigned_peer=peer)
        elif status is WorkflowStatus.PENDING:
            task = attrs.evolve(task, assigned_peer=None)
        elif status is WorkflowStatus.IN_PROGRESS:
            task = attrs.evolve(task, started_at=node.timestamp)
        if status.is_final:
            task = attrs.evolve(task, completed_at=node.timestamp)
        result = data.get("result")
        self.tasks[task.workflow_id] = attrs.evolve(
            task,
            status=status,
            result=task.result if result is None else result,
            error=task.error if error is None else error,
        )
        return True

    def _moved(self, node: MerkleNode) -> bool:
        task, priority = self._task(node), node.data.get("priority")
        if task is None or task.status.is_final or not _is_priority(priority):
            return False
        self.tasks[task.workflow_id] = attrs.evolve(task, priority=float(priority))
        return True

    def _came(self, node: MerkleNode) -> bool:
        peer = node.data.get("peer")
        if not isinstance(peer, str) or peer in self.peers:
            return False
        self.peers[peer] = None
        return True

    def _went(self, node: MerkleNode) -> bool:
        peer = node.data.get("peer")
        if not isinstance(peer, str) or peer not in self.peers:
            return False
        del self.peers[peer]
        for task in self.tasks.values():
            # What it has begun it may still end; what it was only given is given to another one.
            if task.assigned_peer == peer and task.status is WorkflowStatus.ASSIGNED:
                self.tasks[task.workflow_id] = attrs.evolve(task, status=WorkflowStatus.PENDING, assigned_peer=None)
        return True

    def _task(self, node: MerkleNode) -> WorkflowTask | None:
        id = node.data.get("workflow_id")
        return self.tasks.get(id) if isinstance(id, str) else None


def _is_priority(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
