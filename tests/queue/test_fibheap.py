"""The Fibonacci heap: a model it must agree with, the structure its bounds rest on, and the ways to misuse it."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from p2pwf.queue import FibonacciHeap, Handle, HeapMisuse

KEYS = st.one_of(st.integers(-3, 3), st.floats(allow_nan=False))


def drain(heap: FibonacciHeap[str]) -> list[str]:
    found = []
    while (value := heap.extract_min()) is not None:
        found.append(value)
    return found


def check_structure(heap: FibonacciHeap[int]) -> None:
    """What the amortised bounds rest on: heap order, sound links, and degrees that the size of a tree pays for."""
    fibonacci = [0, 1]
    while len(fibonacci) < 40:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    roots, bundles = list(heap._fresh), list(heap._bundles)
    for slot, root in enumerate(heap._table):
        if root is not None:
            assert len(root._children) == slot == root._pos
            roots.append(root)
    while bundles:
        bundle = bundles.pop()
        roots += bundle.fresh + [root for root in bundle.table if root is not None]
        bundles += bundle.bundles
    assert all(root._parent is None for root in roots)
    order: list[Handle[int]] = list(roots)
    for node in order:
        for index, child in enumerate(node._children):
            assert child._parent is node
            assert child._pos == index
            assert (node.key, node._turn) < (child.key, child._turn)
        order += node._children
    assert len(order) == len(set(map(id, order))) == len(heap)
    sizes: dict[int, int] = {}
    for node in reversed(order):
        sizes[id(node)] = 1 + sum(sizes[id(child)] for child in node._children)
        assert sizes[id(node)] >= fibonacci[len(node._children) + 2]


class HeapAgainstSortedList(RuleBasedStateMachine):
    """Several heaps, each beside a plain dict sorted on demand by (key, order of insertion)."""

    heaps = Bundle("heaps")

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[int, dict[int, float]] = {}
        self.alive: dict[int, FibonacciHeap[int]] = {}
        self.handles: dict[int, Handle[int]] = {}
        self.inserted = 0

    @rule(target=heaps)
    def new_heap(self) -> FibonacciHeap[int]:
        heap: FibonacciHeap[int] = FibonacciHeap()
        self.alive[id(heap)] = heap
        self.models[id(heap)] = {}
        return heap

    def first(self, heap: FibonacciHeap[int]) -> int | None:
        model = self.models[id(heap)]
        return min(model, key=lambda turn: (model[turn], turn), default=None)

    @rule(heap=heaps, keys=st.lists(KEYS, min_size=1, max_size=20))
    def insert(self, heap: FibonacciHeap[int], keys: list[float]) -> None:
        for key in keys:
            self.handles[self.inserted] = heap.insert(key, self.inserted)
            self.models[id(heap)][self.inserted] = key
            self.inserted += 1

    @rule(heap=heaps, times=st.integers(1, 4))
    def extract(self, heap: FibonacciHeap[int], times: int) -> None:
        for _ in range(times):
            expected = self.first(heap)
            assert heap.extract_min() == expected
            if expected is not None:
                del self.models[id(heap)][expected]
                with pytest.raises(HeapMisuse):
                    heap.decrease_key(self.handles.pop(expected), -math.inf)

    @rule(heap=heaps, data=st.data())
    def decrease(self, heap: FibonacciHeap[int], data: st.DataObject) -> None:
        model = self.models[id(heap)]
        for turn in data.draw(st.lists(st.sampled_from(sorted(model)), max_size=8) if model else st.just([])):
            key = min(data.draw(KEYS), model[turn])
            heap.decrease_key(self.handles[turn], key)
            model[turn] = key

    @rule(heap=heaps, key=KEYS, data=st.data())
    def change(self, heap: FibonacciHeap[int], key: float, data: st.DataObject) -> None:
        model = self.models[id(heap)]
        if model:
            turn = data.draw(st.sampled_from(sorted(model)))
            heap.change_key(self.handles[turn], key)
            model[turn] = key

    @rule(heap=heaps, data=st.data())
    def delete(self, heap: FibonacciHeap[int], data: st.DataObject) -> None:
        model = self.models[id(heap)]
        if model:
            turn = data.draw(st.sampled_from(sorted(model)))
            assert heap.delete(self.handles.pop(turn)) == turn
            del model[turn]

    @precondition(lambda self: len(self.alive) > 1)
    @rule(heap=heaps, other=consumes(heaps))
    def merge(self, heap: FibonacciHeap[int], other: FibonacciHeap[int]) -> None:
        if heap is other:
            with pytest.raises(HeapMisuse):
                heap.merge(other)
            del self.alive[id(heap)]
            return
        if id(heap) not in self.alive:
            return
        heap.merge(other)
        self.models[id(heap)] |= self.models.pop(id(other))
        del self.alive[id(other)]
        assert len(other) == 0

    @invariant()
    def agree(self) -> None:
        for heap in self.alive.values():
            assert heap.size() == len(heap) == len(self.models[id(heap)])
            assert heap.is_empty() == (not self.models[id(heap)])
            assert heap.find_min() == self.first(heap)
            check_structure(heap)


TestHeapAgainstSortedList = HeapAgainstSortedList.TestCase


def test_equal_keys_leave_in_order_of_insertion_whatever_happened_to_other_entries() -> None:
    heap: FibonacciHeap[str] = FibonacciHeap()
    early = [heap.insert(9, f"late{index}") for index in range(50)]
    for index in range(200):
        heap.insert(5, f"{index:03}")
    heap.insert(1, "first")
    assert heap.extract_min() == "first"
    for handle in reversed(early):
        heap.decrease_key(handle, 5)
    assert drain(heap) == [f"late{index}" for index in range(50)] + [f"{index:03}" for index in range(200)]


def test_equal_keys_of_merged_heaps_leave_in_order_of_insertion() -> None:
    heaps: list[FibonacciHeap[str]] = [FibonacciHeap() for _ in range(4)]
    for index in range(100):
        heaps[index * 7 % 4].insert(2.0, f"{index:03}")
    for heap in heaps[1:]:
        heap.insert(0, "tidy up first")
        assert heap.extract_min() == "tidy up first"
        heaps[0].merge(heap)
    assert drain(heaps[0]) == [f"{index:03}" for index in range(100)]


def test_handles_of_a_merged_heap_stay_valid_through_chains_of_merges() -> None:
    random = Random(7)
    heaps: list[FibonacciHeap[str]] = [FibonacciHeap() for _ in range(64)]
    handles = [heap.insert(100 + index, str(index)) for index, heap in enumerate(heaps)]
    while len(heaps) > 1:
        taken = heaps.pop(random.randrange(len(heaps)))
        random.choice(heaps).merge(taken)
    for index in random.sample(range(64), 64):
        heaps[0].decrease_key(handles[index], -index)
    assert drain(heaps[0]) == [str(index) for index in reversed(range(64))]


def test_a_heap_that_was_merged_away_is_empty_and_refuses_use() -> None:
    heap: FibonacciHeap[str] = FibonacciHeap()
    other: FibonacciHeap[str] = FibonacciHeap()
    handle = other.insert(1, "a")
    heap.merge(other)
    assert len(other) == 0
    assert other.is_empty()
    for use in (
        lambda: other.insert(1, "b"),
        other.find_min,
        other.extract_min,
        other.min_handle,
        lambda: other.decrease_key(handle, 0),
        lambda: other.change_key(handle, 0),
        lambda: other.delete(handle),
        lambda: other.merge(heap),
        lambda: heap.merge(other),
        lambda: heap.merge(heap),
    ):
        with pytest.raises(HeapMisuse):
            use()
    assert drain(heap) == ["a"]


def test_an_empty_heap_gives_none_and_can_be_merged() -> None:
    heap: FibonacciHeap[str] = FibonacciHeap()
    assert heap.find_min() is None
    assert heap.min_handle() is None
    assert heap.extract_min() is None
    heap.merge(FibonacciHeap())
    heap.insert(1, "a")
    heap.merge(FibonacciHeap())
    assert drain(heap) == ["a"]


@pytest.mark.parametrize("key", [math.nan, "1", None, (1, 2), 1j])
def test_a_key_without_order_is_refused_and_changes_nothing(key: object) -> None:
    heap: FibonacciHeap[str] = FibonacciHeap()
    handle = heap.insert(3, "a")
    for use in (
        heap.insert,
        lambda key, _: heap.decrease_key(handle, key),
        lambda key, _: heap.change_key(handle, key),
    ):
        with pytest.raises(HeapMisuse):
            use(key, "b")  # type: ignore[arg-type]
    assert (handle.key, handle.value) == (3, "a")
    assert drain(heap) == ["a"]


def test_a_handle_is_used_up_once_its_entry_has_left() -> None:
    heap: FibonacciHeap[str] = FibonacciHeap()
    extracted, deleted = heap.insert(1, "a"), heap.insert(2, "b")
    heap.insert(3, "c")
    heap.extract_min()
    heap.delete(deleted)
    for handle in (extracted, deleted):
        for use in (
            lambda handle: heap.decrease_key(handle, 0),
            heap.delete,
            lambda handle: heap.change_key(handle, 9),
        ):
            with pytest.raises(HeapMisuse):
                use(handle)
    assert drain(heap) == ["c"]


def test_a_handle_of_another_heap_is_refused() -> None:
    heap: FibonacciHeap[str] = FibonacciHeap()
    other: FibonacciHeap[str] = FibonacciHeap()
    handle = other.insert(1, "a")
    heap.insert(1, "b")
    with pytest.raises(HeapMisuse):
        heap.decrease_key(handle, 0)
    with pytest.raises(HeapMisuse):
        heap.delete(handle)
    assert (drain(heap), drain(other)) == (["b"], ["a"])


def test_decrease_key_refuses_a_larger_key_and_takes_an_equal_one() -> None:
    heap: FibonacciHeap[str] = FibonacciHeap()
    handle = heap.insert(2, "a")
    with pytest.raises(HeapMisuse):
        heap.decrease_key(handle, 2.5)
    heap.decrease_key(handle, 2)
    assert handle.key == 2


def test_integers_and_infinities_compare_exactly() -> None:
    heap: FibonacciHeap[str] = FibonacciHeap()
    for key, value in ((math.inf, "e"), (2**53 + 1, "d"), (float(2**53), "c"), (True, "b"), (-math.inf, "a")):
        heap.insert(key, value)
    assert drain(heap) == ["a", "b", "c", "d", "e"]


def test_values_are_never_compared() -> None:
    heap: FibonacciHeap[object] = FibonacciHeap()
    values = [object() for _ in range(100)]
    for value in values:
        heap.insert(1, value)
    assert [heap.extract_min() for _ in values] == values


def test_a_tree_as_deep_as_the_heap_is_big_is_handled_without_recursion() -> None:
    # The known worst case: three smaller keys come in, one leaves, one of the two others is cut away again. Each
    # round puts the whole tree under a new root, so it grows into a chain.
    heap: FibonacciHeap[int] = FibonacciHeap()
    rounds = 30_000
    handles = {}
    for low in range(0, -3 * rounds, -3):
        for key in (low, low - 1, low - 2):
            handles[key] = heap.insert(key, key)
        assert heap.extract_min() == low - 2
        if low:
            assert heap.delete(handles.pop(low)) == low
    node, depth = handles[low - 1], 0
    while node._children:
        node, depth = node._children[0], depth + 1
    assert depth > rounds // 2
    del node
    bottom = handles[-1]
    heap.decrease_key(bottom, -math.inf)
    assert heap.extract_min() == -1
    handles.clear()
    del heap, bottom  # freeing the chain must not exhaust the stack either


def test_cuts_cascade_so_that_no_tree_has_more_degrees_than_its_size_pays_for() -> None:
    heap: FibonacciHeap[int] = FibonacciHeap()
    handles = [heap.insert(index, index) for index in range(1025)]
    assert heap.extract_min() == 0
    for lowest in range(-1, -2000, -1):  # take away grandchildren of the root only, as long as there are any
        deep = [handle for handle in handles[1:] if handle._parent is not None and handle._parent._parent is not None]
        if not deep:
            break
        heap.decrease_key(deep[0], lowest)
        check_structure(heap)
    assert len(heap) == 1024


def test_cascading_cuts_are_paid_for_by_the_cuts_that_went_before() -> None:
    # Each decrease_key cuts one node and marks at most one; each further cut uses up a mark.
    random = Random(5)
    heap: FibonacciHeap[int] = FibonacciHeap()
    handles = [heap.insert(random.random(), index) for index in range(1000)]
    operations = cuts = 0
    for _ in range(200):
        heap.insert(-math.inf, -1)
        assert heap.extract_min() == -1
        for handle in random.sample(handles, 60):
            if (parent := handle._parent) is not None:
                roots = len(heap._fresh) - heap._table.count(None)
                heap.decrease_key(handle, parent.key - 1e-9)
                operations += 1
                cuts += len(heap._fresh) - heap._table.count(None) - roots
    assert operations > 5_000
    assert operations <= cuts <= 2 * operations


def test_consolidations_stay_within_the_amortised_bound() -> None:
    # Counts comparisons, not time: after every kind of operation the whole must cost O(operations + extracts * log n).
    comparisons = 0

    class Counted(int):
        def __lt__(self, other: int) -> bool:
            nonlocal comparisons
            comparisons += 1
            return int(self) < int(other)

    random = Random(3)
    heap: FibonacciHeap[int] = FibonacciHeap()
    cheap = extracts = 0
    handles: dict[int, Handle[int]] = {}
    for step in range(20_000):
        match random.randrange(8):
            case 0 | 1 | 2:
                handles[step] = heap.insert(Counted(random.randrange(10**6)), step)
                cheap += 1
            case 3 | 4 | 5 if handles:
                handle = handles[random.choice(list(handles)[-50:])]
                heap.decrease_key(handle, Counted(handle.key - random.randrange(1, 10**5)))
                cheap += 1
            case 6:
                other: FibonacciHeap[int] = FibonacciHeap()
                handles[step] = other.insert(Counted(random.randrange(10**6)), step)
                heap.merge(other)
                cheap += 2
            case _:
                left = heap.extract_min()
                handles.pop(-1 if left is None else left, None)
                extracts += 1
    assert comparisons < 4 * cheap + 3 * extracts * math.log2(10_000)
    check_structure(heap)
