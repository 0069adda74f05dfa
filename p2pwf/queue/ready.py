"""What is ready to run here, most urgent first. Knows nothing of slots, processes or the clock.

A lower priority value runs first (3.0 is normal); equal priorities keep the order of submission, also after their
priority was changed. `WorkflowPriorityQueue` is the same queue with the embedded API's names.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final, Generic, TypeVar

from attrs import frozen

from p2pwf.errors import TryAgain
from p2pwf.queue.fibheap import FibonacciHeap, Handle, HeapMisuse

Id = TypeVar("Id", bound=Hashable)
Data = TypeVar("Data")

MAX_READY: Final = 65_536
"""Entries of one queue: 256 matrix legs of 256 runs, some tens of MB. More is a flood, not a backlog."""


@frozen
class Ready(Generic[Id, Data]):
    """One entry: its id, its priority (lower first) and what was given with it."""

    id: Id
    priority: float
    data: Data


class ReadyQueue(Generic[Id, Data]):
    """Entries by (priority, order of submission), each with an id of its own; at most `bound` of them."""

    def __init__(self, bound: int = MAX_READY) -> None:
        self._bound = bound
        self._heap: FibonacciHeap[tuple[Id, Data]] = FibonacciHeap()
        self._handles: dict[Id, Handle[tuple[Id, Data]]] = {}
        self._refused = 0

    def __len__(self) -> int:
        return len(self._handles)

    def __contains__(self, id: object) -> bool:
        return id in self._handles

    def add(self, id: Id, priority: float, data: Data) -> None:
        """Queue an entry, O(1). Raises TryAgain when full; HeapMisuse if the id is queued or the priority is NaN."""
        if id in self._handles:
            raise HeapMisuse(f"{id!s} is queued already", "use update_priority to move it")
        if len(self._handles) >= self._bound:
            self._refused += 1
            raise TryAgain(f"the queue is full ({self._bound} entries)", "wait until some have run")
        self._handles[id] = self._heap.insert(priority, (id, data))

    def pop(self) -> Ready[Id, Data] | None:
        """Take out the most urgent entry, O(log n) amortised; None when empty."""
        entry = self.peek()
        if entry is not None:
            self._heap.extract_min()
            del self._handles[entry.id]
        return entry

    def peek(self) -> Ready[Id, Data] | None:
        """The entry that `pop` would give, O(1); None when empty."""
        handle = self._heap.min_handle()
        if handle is None:
            return None
        name, data = handle.value
        return Ready(name, handle.key, data)

    def update_priority(self, id: Id, priority: float) -> bool:
        """Move an entry up or down; False if it is not queued. Raises HeapMisuse if the priority is NaN."""
        handle = self._handles.get(id)
        if handle is None:
            return False
        self._heap.change_key(handle, priority)
        return True

    def remove(self, id: Id) -> Data | None:
        """Take out one entry, O(log n) amortised, and give its data; None if it is not queued."""
        handle = self._handles.pop(id, None)
        return None if handle is None else self._heap.delete(handle)[1]

    def statistics(self) -> dict[str, int]:
        """{queued, bound, refused}: entries now, entries at most, entries refused for want of room so far."""
        return {"queued": len(self._handles), "bound": self._bound, "refused": self._refused}


class WorkflowPriorityQueue:
    """Workflows by (priority, order of submission), lower priority values first."""

    def __init__(self) -> None:
        self._queue: ReadyQueue[str, dict[str, object]] = ReadyQueue()

    def __len__(self) -> int:
        return len(self._queue)

    def size(self) -> int:
        """Number of workflows queued."""
        return len(self._queue)

    def is_empty(self) -> bool:
        """Whether no workflow is queued."""
        return len(self._queue) == 0

    def add_workflow(self, workflow_id: str, priority: float, workflow_data: Mapping[str, object]) -> None:
        """Queue a copy of the data. Raises TryAgain when full; HeapMisuse if queued already or the priority is NaN."""
        self._queue.add(workflow_id, priority, {**workflow_data, "workflow_id": workflow_id})

    def get_next_workflow(self) -> dict[str, object] | None:
        """Take out the most urgent workflow: its data with its `workflow_id`; None when empty."""
        entry = self._queue.pop()
        return None if entry is None else entry.data

    def peek_next(self) -> dict[str, object] | None:
        """What `get_next_workflow` would give, as a copy; None when empty."""
        entry = self._queue.peek()
        return None if entry is None else dict(entry.data)

    def update_priority(self, workflow_id: str, priority: float) -> bool:
        """Move a workflow up or down; False if it is not queued. Raises HeapMisuse if the priority is NaN."""
        return self._queue.update_priority(workflow_id, priority)
