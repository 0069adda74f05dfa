"""A workflow as the Python API shows it, its statuses and which may follow which. Knows no clock and no node."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, cast

import attrs

from p2pwf.errors import UsageError
from p2pwf.ledger.node import plain


class WorkflowStatus(StrEnum):
    """The statuses of a workflow. Each is equal to its own word: `WorkflowStatus.PENDING == "pending"`."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @classmethod
    def of(cls, word: str) -> WorkflowStatus:
        """The status of a word. Raises UsageError, listing the words, for any other."""
        try:
            return cls(word)
        except ValueError as error:
            raise UsageError(f"no status {word!r}", f"statuses: {', '.join(cls)}") from error

    @property
    def is_final(self) -> bool:
        """Whether nothing follows: completed, failed, cancelled."""
        return not _NEXT[self]

    def may_become(self, other: WorkflowStatus) -> bool:
        """Whether a workflow of this status may get the other one. A status does not follow upon itself."""
        return other in _NEXT[self]


_S = WorkflowStatus
_NEXT: Final[Mapping[WorkflowStatus, frozenset[WorkflowStatus]]] = {
    _S.PENDING: frozenset((_S.ASSIGNED, _S.CANCELLED, _S.FAILED)),
    _S.ASSIGNED: frozenset((_S.IN_PROGRESS, _S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.PENDING)),
    _S.IN_PROGRESS: frozenset((_S.COMPLETED, _S.FAILED, _S.CANCELLED)),
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
}
FINAL: Final = tuple(status for status in WorkflowStatus if status.is_final)

SHOWN: Final = (
    "workflow_id", "name", "status", "priority", "tags", "assigned_peer", "inputs", "result", "error", "created_at",
    "started_at", "completed_at",
)  # fmt: skip
"""The keys of `WorkflowTask.summary`, and of each workflow that the API gives as a dict."""


@attrs.frozen(slots=True, kw_only=True)
class WorkflowTask:
    """One workflow. Times are seconds of the wall clock (as of `time.time()`) of whoever recorded them, or None.

    `workflow_file`: the path that was submitted; `workflow`: its text then, empty for a run of a network.
    """

    workflow_id: str
    name: str
    workflow_file: str
    inputs: dict[str, Any] = attrs.field(factory=dict)
    priority: float = 3.0
    tags: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    status: WorkflowStatus = attrs.field(default=WorkflowStatus.PENDING, converter=WorkflowStatus)
    assigned_peer: str | None = None
    created_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    result: Any = None
    error: str | None = None
    workflow: str = attrs.field(default="", repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Every field as JSON-able values of their own."""
        told = {field.name: getattr(self, field.name) for field in attrs.fields(WorkflowTask)}
        return {**cast("dict[str, Any]", plain(told)), "status": self.status.value}

    def summary(self) -> dict[str, Any]:
        """What `get_workflow_status` gives: `to_dict` without the file."""
        told = {name: getattr(self, name) for name in SHOWN}
        return {**cast("dict[str, Any]", plain(told)), "status": self.status.value}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> WorkflowTask:
        """The workflow that `to_dict` wrote. Raises UsageError for what is none."""
        try:
            return cls(**value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"not a workflow: {error}", "give what to_dict made") from error
