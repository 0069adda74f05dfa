"""A Fibonacci heap whose equal keys leave in the order in which they came. Knows nothing of what it holds.

Theory of operation (Fredman and Tarjan, 1987). The heap is a forest of heap-ordered trees. Whatever is cheap is put
off: `insert`, `merge` and a cut only add trees. `extract_min` alone tidies up, linking trees of equal degree until
each degree is there once. A node that loses a second child is cut as well (it carries a mark after the first), so a
tree of degree d holds at least Fibonacci(d + 2) nodes and degrees stay below 1.45 log2(n).

Amortised: insert, find_min, decrease_key and merge O(1); extract_min and delete O(log n). (After merges, finding out
that a handle belongs here adds the inverse Ackermann function of their number, which is at most 4.)

What differs from the paper's pointers, for the sake of CPython:

- a node's children are a list, each child knows its index in it, and a cut moves the last child into the gap;
- the table of degrees outlives a consolidation: trees that were tidy stay where they are, and `extract_min` touches
  only what is new (`_fresh`) and the children of the node that leaves;
- a merged heap is kept whole as a bundle and unpacked by the next `extract_min`, which the tidying up that filled its
  table has paid for already;
- marks are cleared by the cut alone. A mark that survives as a root costs one early cut, paid for by that mark.
"""

from __future__ import annotations

from itertools import count
from math import isnan
from typing import Any, Final, Generic, TypeVar

from p2pwf.errors import UsageError

V = TypeVar("V")

_NO_CHILDREN: Final[list[Any]] = []
"""Shared by all leaves and never appended to: half of all nodes need no list of their own."""

_next_turn = count().__next__
"""Order of insertion over all heaps of the process, so that it holds after a merge too. Only compared, never shown."""


class HeapMisuse(UsageError, ValueError):
    """A key that has no order, or a handle or a heap that is not, or no longer, valid here. Nothing was changed."""


class _Realm:
    """Names the heap that a node belongs to; after a merge it points to the realm that took it in (union by rank)."""

    __slots__ = ("into", "rank")

    def __init__(self) -> None:
        self.into: _Realm | None = None
        self.rank = 0

    def root(self) -> _Realm:
        realm = self
        while (into := realm.into) is not None:
            if into.into is not None:
                realm.into = into.into  # path halving
            realm = into
        return realm


class Handle(Generic[V]):
    """What `insert` returns: names an entry until it leaves the heap. Read `key` and `value`; the rest is private."""

    __slots__ = ("_children", "_mark", "_parent", "_pos", "_realm", "_turn", "key", "value")

    def __init__(self, key: float, value: V, realm: _Realm) -> None:
        self.key = key
        self.value = value
        self._turn = _next_turn()
        self._realm: _Realm | None = realm  # None once the entry has left
        self._parent: Handle[V] | None = None
        self._children: list[Handle[V]] = _NO_CHILDREN
        self._pos = -1  # index among the parent's children; a root's slot in the table, -1 while it is fresh
        self._mark = False

    def __repr__(self) -> str:
        return f"Handle(key={self.key!r}, value={self.value!r})"


class _Bundle(Generic[V]):
    """The trees of a heap that was merged in, as they were: its table, its fresh roots, its own bundles."""

    __slots__ = ("bundles", "fresh", "table")

    def __init__(self, table: list[Handle[V] | None], fresh: list[Handle[V]], bundles: list[_Bundle[V]]) -> None:
        self.table = table
        self.fresh = fresh
        self.bundles = bundles


class FibonacciHeap(Generic[V]):
    """A priority queue of (key, value): the smallest key first, equal keys in order of insertion.

    Keys are real numbers (int or float, not NaN). Values are anything; None is a poor one, because `find_min` and
    `extract_min` give None when the heap is empty. Not for use from several threads at once.
    """

    __slots__ = ("_bundles", "_fresh", "_min", "_realm", "_size", "_table")

    def __init__(self) -> None:
        self._fresh: list[Handle[V]] = []  # roots not yet in the table, in no order
        self._table: list[Handle[V] | None] = []  # the root of each degree
        self._bundles: list[_Bundle[V]] = []
        self._min: Handle[V] | None = None
        self._size = 0
        self._realm: _Realm | None = _Realm()  # None once merged into another heap

    def __len__(self) -> int:
        return self._size

    def size(self) -> int:
        """Number of entries."""
        return self._size

    def is_empty(self) -> bool:
        """Whether there is no entry."""
        return self._size == 0

    def insert(self, key: float, value: V) -> Handle[V]:
        """Add an entry, O(1). The handle names it until it leaves. Raises HeapMisuse for NaN or no number."""
        realm = self._realm
        if realm is None:
            raise _merged_away()
        _check_key(key)
        node = Handle(key, value, realm)
        least = self._min
        if least is None or key < least.key:
            self._min = node
        self._fresh.append(node)
        self._size += 1
        return node

    def find_min(self) -> V | None:
        """The value of the entry that would leave next, O(1); None when empty."""
        least = self._min
        if least is None:
            if self._realm is None:
                raise _merged_away()
            return None
        return least.value

    def min_handle(self) -> Handle[V] | None:
        """The handle of the entry that would leave next, O(1); None when empty."""
        if self._realm is None:
            raise _merged_away()
        return self._min

    def extract_min(self) -> V | None:
        """Remove the entry with the smallest key and give its value, O(log n) amortised; None when empty."""
        least = self._min
        if least is None:
            if self._realm is None:
                raise _merged_away()
            return None
        if self._bundles:
            self._unpack()
        table = self._table
        roots = least._children
        least._children = _NO_CHILDREN
        if least._pos >= 0:
            table[least._pos] = None
        if self._fresh:
            roots = [node for node in self._fresh if node is not least] + roots
            self._fresh = []
        least._pos = -1
        least._realm = None
        self._size -= 1
        # Degrees are below log_phi(n) < 1.5 * bit_length(n); a slot past that is always empty.
        slots = self._size.bit_length() * 3 // 2 + 1
        if len(table) < slots:
            table.extend([None] * (slots - len(table)))
        else:
            del table[slots:]
        for tree in roots:
            node = tree
            degree = len(node._children)
            key = node.key
            while (other := table[degree]) is not None:
                table[degree] = None
                other_key = other.key
                if key < other_key or (key == other_key and node._turn < other._turn):
                    other._parent = node
                    other._pos = degree
                    if degree:
                        node._children.append(other)
                    else:
                        node._children = [other]
                else:
                    node._parent = other
                    node._pos = degree
                    if degree:
                        other._children.append(node)
                    else:
                        other._children = [node]
                    node = other
                    key = other_key
                degree += 1
            table[degree] = node
        best: Handle[V] | None = None
        for degree, root in enumerate(table):
            if root is not None:
                root._parent = None
                root._pos = degree
                if best is None or root.key < best.key or (root.key == best.key and root._turn < best._turn):
                    best = root
        self._min = best
        return least.value

    def decrease_key(self, handle: Handle[V], key: float) -> None:
        """Give the entry a smaller (or the same) key, O(1) amortised; among equals it keeps its turn.

        Raises HeapMisuse if the entry has left or is of another heap, if the key is larger, NaN or no number.
        """
        if handle._realm is not self._realm or self._realm is None:
            self._check_mine(handle)
        _check_key(key)
        if key > handle.key:
            raise HeapMisuse(f"decrease_key would raise the key from {handle.key} to {key}", "use change_key")
        handle.key = key
        parent = handle._parent
        if parent is not None and (key < parent.key or (key == parent.key and handle._turn < parent._turn)):
            self._cut(handle, parent)
        self._lead(handle)

    def change_key(self, handle: Handle[V], key: float) -> None:
        """Give the entry any other key; among equals it keeps its turn.

        O(1) amortised downwards, O(log n) upwards. Raises HeapMisuse as `decrease_key` does, but for larger keys.
        """
        self._check_mine(handle)
        _check_key(key)
        if key <= handle.key:
            self.decrease_key(handle, key)
            return
        self.delete(handle)
        handle.key = key
        handle._realm = self._realm
        handle._mark = False
        self._fresh.append(handle)
        self._size += 1
        self._lead(handle)

    def delete(self, handle: Handle[V]) -> V:
        """Remove the entry, O(log n) amortised, and give its value. Raises HeapMisuse if it is not in this heap."""
        self._check_mine(handle)
        if handle._parent is not None:
            self._cut(handle, handle._parent)
        self._min = handle  # what leaves next; the new minimum is found among all roots in any case
        self.extract_min()
        return handle.value

    def merge(self, other: FibonacciHeap[V]) -> None:
        """Take in all entries of `other`, O(1). Their handles are valid here from now on.

        `other` is empty afterwards, and any use of it but its length raises HeapMisuse; so does merging a heap with
        itself.
        """
        mine, theirs = self._realm, other._realm
        if mine is None or theirs is None:
            raise _merged_away()
        if mine is theirs:
            raise HeapMisuse("a heap cannot be merged with itself")
        if mine.rank < theirs.rank:
            mine, theirs = theirs, mine
        theirs.into = mine
        mine.rank += mine.rank == theirs.rank
        self._realm = mine
        least = other._min
        if least is not None:
            self._bundles.append(_Bundle(other._table, other._fresh, other._bundles))
            self._size += other._size
            if self._min is None:
                self._min = least
            self._lead(least)
        other._realm = other._min = None
        other._fresh, other._table, other._bundles, other._size = [], [], [], 0

    def _lead(self, node: Handle[V]) -> None:
        """Make `node`, a root or at least no better than its parent, the minimum if it comes before it."""
        least = self._min
        if least is None or node.key < least.key or (node.key == least.key and node._turn < least._turn):
            self._min = node

    def _cut(self, node: Handle[V], parent: Handle[V]) -> None:
        """Make `node` a root, and each ancestor that has now lost two children."""
        fresh = self._fresh
        while True:
            siblings = parent._children
            last = siblings.pop()
            if last is not node:
                siblings[node._pos] = last
                last._pos = node._pos
            node._parent = None
            node._pos = -1
            node._mark = False
            fresh.append(node)
            node = parent
            above = node._parent
            if above is None:
                break
            if not node._mark:
                node._mark = True
                return
            parent = above
        # A root of the table has lost a child, so its slot is no longer that of its degree. (Its slot belongs to
        # another node if it waits in a bundle: then unpacking counts its children.)
        table, slot = self._table, node._pos
        if 0 <= slot < len(table) and table[slot] is node:
            table[slot] = None
            node._pos = -1
            fresh.append(node)

    def _unpack(self) -> None:
        """Make the roots of all bundles fresh ones."""
        fresh, bundles = self._fresh, self._bundles
        while bundles:
            bundle = bundles.pop()
            bundles.extend(bundle.bundles)
            fresh.extend(bundle.fresh)
            for root in bundle.table:
                if root is not None:
                    root._pos = -1
                    fresh.append(root)

    def _check_mine(self, handle: Handle[V]) -> None:
        """Raise HeapMisuse unless the entry is in this heap."""
        if self._realm is None:
            raise _merged_away()
        realm = handle._realm
        if realm is None:
            raise HeapMisuse("this handle was used up: its entry has left the heap")
        root = realm.root()
        if root is not self._realm:
            raise HeapMisuse("this handle belongs to another heap")
        handle._realm = root


def _check_key(key: object) -> None:
    """Raise HeapMisuse unless `key` is a number that has an order."""
    if isinstance(key, float):
        if isnan(key):
            raise HeapMisuse("NaN has no order and cannot be a key")
    elif not isinstance(key, int):
        raise HeapMisuse(f"a key must be a number, not {type(key).__name__}")


def _merged_away() -> HeapMisuse:
    return HeapMisuse("this heap was merged into another one", "use the heap that it was merged into")
