"""The ready queue: urgent first, submission order among equals, bounded, and movable both ways."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.errors import TryAgain, UsageError
from p2pwf.queue import Ready, ReadyQueue, WorkflowPriorityQueue


def test_lower_priority_values_run_first_and_equals_in_order_of_submission() -> None:
    queue: ReadyQueue[str, None] = ReadyQueue()
    for job, priority in (("a", 3.0), ("b", 1.0), ("c", 3.0), ("d", 1.0)):
        queue.add(job, priority, None)
    assert queue.peek() == Ready("b", 1.0, None)
    assert [entry.id for entry in iter(queue.pop, None)] == ["b", "d", "a", "c"]
    assert queue.peek() is None


@given(
    st.lists(st.integers(0, 3), max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 3)), max_size=30),
    st.sets(st.integers(0, 29)),
)
def test_moves_up_and_down_keep_the_order_of_submission(
    priorities: list[int], moves: list[tuple[int, int]], removed: set[int]
) -> None:
    queue: ReadyQueue[int, str] = ReadyQueue()
    model = dict(enumerate(priorities))
    for job, priority in model.items():
        queue.add(job, priority, f"data of {job}")
    for job, priority in moves:
        assert queue.update_priority(job, priority) == (job in model)
        if job in model:
            model[job] = priority
    for job in removed:
        assert queue.remove(job) == (f"data of {job}" if model.pop(job, None) is not None else None)
    assert len(queue) == len(model)
    assert all(job in queue for job in model)
    assert [(entry.priority, entry.id, entry.data) for entry in iter(queue.pop, None)] == sorted(
        (priority, job, f"data of {job}") for job, priority in model.items()
    )


def test_a_full_queue_refuses_counts_it_and_takes_again_once_there_is_room() -> None:
    queue: ReadyQueue[str, None] = ReadyQueue(bound=2)
    queue.add("a", 1, None)
    queue.add("b", 1, None)
    with pytest.raises(TryAgain):
        queue.add("c", 0, None)
    assert queue.statistics() == {"queued": 2, "bound": 2, "refused": 1}
    queue.pop()
    queue.add("c", 0, None)
    assert queue.pop() == Ready("c", 0, None)


def test_a_queued_id_and_nan_are_refused_and_change_nothing() -> None:
    queue: ReadyQueue[str, str] = ReadyQueue()
    queue.add("a", 2.0, "old")
    for job, priority in (("a", 1.0), ("b", math.nan)):
        with pytest.raises(UsageError):
            queue.add(job, priority, "new")
    with pytest.raises(ValueError, match="NaN"):
        queue.update_priority("a", math.nan)
    assert "b" not in queue
    assert list(iter(queue.pop, None)) == [Ready("a", 2.0, "old")]


def test_an_id_can_come_back_after_it_has_left() -> None:
    queue: ReadyQueue[str, int] = ReadyQueue()
    queue.add("a", 1, 1)
    queue.pop()
    queue.add("a", 1, 2)
    assert queue.remove("a") == 2
    assert queue.update_priority("a", 0) is False


def test_workflows_come_with_their_id_and_the_callers_data_stays_its_own() -> None:
    queue = WorkflowPriorityQueue()
    data = {"name": "nightly"}
    queue.add_workflow("w1", 3.0, data)
    queue.add_workflow("w2", 3.0, {"name": "build"})
    data["name"] = "changed"
    peeked = queue.peek_next()
    assert peeked == {"name": "nightly", "workflow_id": "w1"}
    peeked["name"] = "changed"
    assert queue.update_priority("w2", 1.0)
    assert not queue.update_priority("w3", 1.0)
    assert (queue.size(), len(queue), queue.is_empty()) == (2, 2, False)
    assert queue.get_next_workflow() == {"name": "build", "workflow_id": "w2"}
    assert queue.get_next_workflow() == {"name": "nightly", "workflow_id": "w1"}
    assert queue.get_next_workflow() is None
    assert queue.peek_next() is None
    assert queue.is_empty()
