"""The public heap and queue against heapq, and where the reference page's own code breaks: each trap has a test."""

from __future__ import annotations

import heapq
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf import (
    FibonacciHeap,
    MerkleClock,
    WorkflowPriorityQueue,
    create_task_hash,
    hamming_distance,
    select_task_owner,
)

KEY = st.integers(-3, 3) | st.floats(allow_nan=False)
STEPS = st.lists(
    st.tuples(st.sampled_from(["insert", "extract", "decrease", "merge", "peek"]), st.integers(0, 99), KEY), max_size=60
)


class Model:
    """A heap of heapq with lazy deletion: entries (key, turn, value)."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, int, int]] = []
        self.keys: dict[int, float] = {}

    def push(self, key: float, value: int) -> None:
        self.keys[value] = key
        heapq.heappush(self.entries, (key, value, value))  # values are given out in order, so they are turns too

    def first(self) -> int | None:
        while self.entries and self.keys.get(self.entries[0][2]) != self.entries[0][0]:
            heapq.heappop(self.entries)
        return self.entries[0][2] if self.entries else None

    def pop(self) -> int | None:
        value = self.first()
        if value is not None:
            heapq.heappop(self.entries)
            del self.keys[value]
        return value


@given(STEPS)
def test_the_heap_does_what_heapq_does(steps: list[tuple[str, int, float]]) -> None:
    heap: FibonacciHeap[int] = FibonacciHeap()
    model, handles = Model(), {}
    turn = 0
    for what, chosen, key in steps:
        if what == "insert":
            handles[turn] = heap.insert(key, turn)
            model.push(key, turn)
            turn += 1
        elif what == "merge":
            other: FibonacciHeap[int] = FibonacciHeap()
            for index in range(chosen % 5):
                handles[turn] = other.insert(key, turn)
                model.push(key, turn)
                turn += 1
                if index == 3:
                    left = other.extract_min()
                    assert left is not None
                    del model.keys[left], handles[left]
            heap.merge(other)
        elif what == "decrease" and model.keys:
            value = sorted(model.keys)[chosen % len(model.keys)]
            smaller = min(key, model.keys[value])
            heap.decrease_key(handles[value], smaller)
            model.push(smaller, value)
        elif what == "extract":
            assert heap.extract_min() == model.pop()
        assert heap.find_min() == model.first()
        assert (len(heap), heap.size(), heap.is_empty()) == (len(model.keys), len(model.keys), not model.keys)
    assert list(iter(heap.extract_min, None)) == list(iter(model.pop, None))


def test_items_that_are_equal_to_each_other_do_not_end_a_walk_early() -> None:
    class Same:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    heap: FibonacciHeap[Same] = FibonacciHeap()
    items = [Same() for _ in range(200)]
    for item in items:
        heap.insert(1.0, item)
    out = [heap.extract_min() for _ in items]
    assert [id(item) for item in out] == [id(item) for item in items]
    assert heap.extract_min() is None


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13, 21, 34, 1000, 4181])
def test_the_table_of_degrees_is_never_too_small(count: int) -> None:
    # Trees that lost children have more degrees for their size than binomial ones: log2 slots do not hold them.
    random = Random(count)
    heap: FibonacciHeap[int] = FibonacciHeap()
    handles = [heap.insert(index, index) for index in range(count)]
    assert heap.extract_min() == 0
    alive = set(range(1, count))
    for low in range(-1, -count, -1):
        value = random.choice(sorted(alive)) if low % 7 == 0 else max(alive)
        heap.decrease_key(handles[value], low)
        if low % 3 == 0:
            left = heap.extract_min()
            assert left is not None
            alive.remove(left)
        if not alive:
            break
    assert sorted(iter(heap.extract_min, None)) == sorted(alive)


def test_nothing_is_shared_after_a_merge() -> None:
    first: FibonacciHeap[str] = FibonacciHeap()
    second: FibonacciHeap[str] = FibonacciHeap()
    first.insert(2, "a")
    handle = second.insert(3, "b")
    first.merge(second)
    assert (len(first), len(second)) == (2, 0)
    with pytest.raises(ValueError, match="merged"):
        second.insert(0, "lost")
    with pytest.raises(ValueError, match="itself"):
        first.merge(first)
    first.decrease_key(handle, 1)
    assert list(iter(first.extract_min, None)) == ["b", "a"]
    with pytest.raises(ValueError, match="used up"):
        first.decrease_key(handle, 0)


def test_nan_has_no_place_anywhere() -> None:
    heap: FibonacciHeap[str] = FibonacciHeap()
    queue = WorkflowPriorityQueue()
    handle = heap.insert(1, "a")
    queue.add_workflow("a", 1.0, {})
    for use in (
        lambda: heap.insert(math.nan, "b"),
        lambda: heap.decrease_key(handle, math.nan),
        lambda: queue.add_workflow("b", math.nan, {}),
        lambda: queue.update_priority("a", math.nan),
        lambda: MerkleClock("x").append({"n": math.nan}),
        lambda: create_task_hash({"n": math.nan}),
    ):
        with pytest.raises(ValueError, match=r"."):
            use()
    assert (len(heap), len(queue)) == (1, 1)


def test_a_queue_gives_equal_priorities_in_order_of_submission_with_their_ids() -> None:
    queue = WorkflowPriorityQueue()
    for index in range(100):
        queue.add_workflow(f"w{index}", float(index % 2), {"n": index})
    assert queue.peek_next() == {"n": 0, "workflow_id": "w0"}
    order = [data["n"] for data in iter(queue.get_next_workflow, None)]
    assert order == [*range(0, 100, 2), *range(1, 100, 2)]


@given(st.binary(min_size=1, max_size=40), st.data())
def test_distances_count_bits_not_letters(first: bytes, data: st.DataObject) -> None:
    second = data.draw(st.binary(min_size=len(first), max_size=len(first)))
    bits = sum((one ^ two).bit_count() for one, two in zip(first, second, strict=True))
    assert hamming_distance(first.hex(), second.hex()) == hamming_distance(first, second) == bits
    with pytest.raises(ValueError, match="length"):
        hamming_distance(first, second + b"x")


@given(st.sets(st.text(max_size=6), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_an_owner_does_not_depend_on_the_order_of_peers(peers: set[str], random: Random) -> None:
    head, task = create_task_hash("head"), create_task_hash({"workflow": "x", "n": [1, 2.5, None]})
    assert len(bytes.fromhex(task)) == 32
    order = sorted(peers)
    expected = select_task_owner(head, task, order)
    random.shuffle(order)
    assert select_task_owner(head, task, order) == expected
    assert expected[0] in peers
    assert 0 <= expected[1] <= 256
    with pytest.raises(ValueError, match="no peers"):
        select_task_owner(head, task, [])
