"""The ten tools as plain methods: names and parameters as assistants know them, answers as dicts, errors among them.

Knows the Python API only; whether it is called by an MCP server or by a script it cannot tell.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from p2pwf.client.blocking import Client
from p2pwf.embedded.coordinator import P2PWorkflowCoordinator
from p2pwf.embedded.files import is_p2p, metadata_of
from p2pwf.errors import InvalidWorkflow, NotFound, P2pwfError, Refused
from p2pwf.ledger import WorkflowStatus

TOOLS: Final = (
    "submit_p2p_workflow", "assign_p2p_workflows", "get_p2p_workflow_status", "list_p2p_workflows",
    "update_p2p_workflow_status", "add_p2p_peer", "remove_p2p_peer", "get_p2p_stats", "parse_workflow_tags",
    "get_my_p2p_workflows",
)  # fmt: skip
CHECK_HINT: Final = "`p2pwf check FILE` shows all that is wrong with the file, each with its place"

JsonObject = dict[str, Any]

_log = logging.getLogger(__name__)  # of the standard library: a server on stdio must not find lines in its stdout


class P2PWorkflowTools:
    """The tools over a coordinator that is given, or else over the node that runs on a data folder when a tool is used.

    Every method gives a dict with `success`; one that failed has `error` (what happened), `hint` (what to do, or None)
    and `code`, and raises nothing. Without a node the hint says how to start one.
    """

    def __init__(
        self,
        coordinator: P2PWorkflowCoordinator | Client | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        """`data_dir`: of the node; by default that of P2P_DATA_DIR, or this user's. Nothing is asked or made yet."""
        self._coordinator = coordinator
        self._data_dir = data_dir

    def submit_p2p_workflow(
        self,
        workflow_file: str,
        name: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        priority: float | None = None,
    ) -> JsonObject:
        """Submit a workflow file, by its path, for peers to run: {workflow_id, status, message}.

        `priority`: lower is more urgent, 3.0 if it is not given.
        """

        def work() -> JsonObject:
            over = self._over()
            id = over.submit_workflow(workflow_file, name, inputs, 3.0 if priority is None else priority)
            found = over.get_workflow_status(id)
            status = "pending" if found is None else found["status"]
            return {"workflow_id": id, "status": status, "message": f"submitted as {id}"}

        return _told(work)

    def assign_p2p_workflows(self) -> JsonObject:
        """Give workflows that nobody has yet to peers: {assigned_count, workflow_ids, message}."""

        def work() -> JsonObject:
            ids = self._over().assign_workflows()
            return {"assigned_count": len(ids), "workflow_ids": ids, "message": f"{len(ids)} workflows assigned"}

        return _told(work)

    def get_p2p_workflow_status(self, workflow_id: str) -> JsonObject:
        """One workflow: {workflow_id, name, status, priority, tags, assigned_peer, inputs, result, error, created_at,
        started_at, completed_at}. Of a workflow that failed, `error` says why, and `success` is true all the same.
        """
        return _told(lambda: self._found(workflow_id), workflow_id=workflow_id)

    def list_p2p_workflows(self, status: str | None = None, peer_id: str | None = None) -> JsonObject:
        """Workflows by status and peer: {count, workflows, filters}."""

        def work() -> JsonObject:
            found = self._over().list_workflows(status or None, peer_id or None)
            return {"count": len(found), "workflows": found, "filters": {"status": status, "peer_id": peer_id}}

        return _told(work)

    def update_p2p_workflow_status(
        self, workflow_id: str, status: str, result: Mapping[str, Any] | None = None, error: str | None = None
    ) -> JsonObject:
        """Give a workflow another status, with a result or an error: {workflow_id, new_status, message}."""

        def work() -> JsonObject:
            wanted = WorkflowStatus.of(status)
            before = WorkflowStatus(self._found(workflow_id)["status"])
            if not self._over().update_workflow_status(workflow_id, wanted, result, error):
                after = [one.value for one in WorkflowStatus if before.may_become(one)]
                hint = f"it may become {', '.join(after)}" if after else "it has ended, and that stays"
                raise Refused(f"a workflow that is {before.value} cannot become {wanted.value}", hint)
            return {"workflow_id": workflow_id, "new_status": wanted.value, "message": f"now {wanted.value}"}

        return _told(work, workflow_id=workflow_id)

    def add_p2p_peer(self, peer_id: str) -> JsonObject:
        """Let a peer have workflows; on a network: admit it. {peer_id, message}."""

        def work() -> JsonObject:
            new = self._over().add_peer(peer_id)
            return {"peer_id": peer_id, "message": "added" if new else "was there already"}

        return _told(work, peer_id=peer_id)

    def remove_p2p_peer(self, peer_id: str) -> JsonObject:
        """Let a peer have no more workflows; on a network: remove it. {peer_id, message}."""

        def work() -> JsonObject:
            if not self._over().remove_peer(peer_id):
                raise NotFound(f"no peer {peer_id!r}", "see who is there: get_p2p_stats, or `p2pwf peer list`")
            return {"peer_id": peer_id, "message": "removed"}

        return _told(work, peer_id=peer_id)

    def get_p2p_stats(self) -> JsonObject:
        """{peer_id, total_workflows, queue_size, peer_count, merkle_clock_height, status_counts, my_workflows}."""
        return _told(lambda: self._over().get_stats())

    def parse_workflow_tags(self, workflow_file: str) -> JsonObject:
        """Whether a workflow file is meant for peers: {workflow_file, is_p2p, metadata}. Needs no node."""

        def work() -> JsonObject:
            metadata = metadata_of(workflow_file)
            return {"workflow_file": str(Path(workflow_file)), "is_p2p": is_p2p(metadata), "metadata": metadata}

        return _told(work, workflow_file=workflow_file, is_p2p=False)

    def get_my_p2p_workflows(self) -> JsonObject:
        """The workflows that this peer has: {count, peer_id, workflows}."""

        def work() -> JsonObject:
            over = self._over()
            found = [task.summary() for task in over.get_my_workflows()]
            return {"count": len(found), "peer_id": over.peer_id, "workflows": found}

        return _told(work)

    def _over(self) -> P2PWorkflowCoordinator | Client:
        if self._coordinator is None:
            self._coordinator = Client(self._data_dir)
        return self._coordinator

    def _found(self, workflow_id: str) -> JsonObject:
        found = self._over().get_workflow_status(workflow_id)
        if found is None:
            raise NotFound(f"no workflow {workflow_id!r}", "see list_p2p_workflows")
        return found


def _told(work: Callable[[], JsonObject], **about: object) -> JsonObject:
    """What a tool answers: what it made, or what went wrong and with what."""
    try:
        return {"success": True, **work()}
    except P2pwfError as error:
        hint = error.hint or (CHECK_HINT if isinstance(error, InvalidWorkflow) else None)
        return {"success": False, "error": error.message, "hint": hint, "code": error.code, **about}
    except Exception as error:  # noqa: BLE001 - an assistant wants an answer, and may have sent anything
        _log.warning("a tool failed", exc_info=error)
        hint = "check the kinds of the arguments; if they are right, please report it"
        return {"success": False, "error": f"{type(error).__name__}: {error}", "hint": hint, "code": "bug", **about}
