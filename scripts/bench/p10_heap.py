"""P10: 1e5 inserts, 8e4 decrease-keys, drain; our Fibonacci heap beside heapq with lazy deletion.

    python scripts/bench/p10_heap.py [--cut] [--others]

`--cut` extracts once before the decrease-keys, so that these cut nodes out of trees instead of finding only roots.
`--others` measures the Fibonacci heaps of PyPI as well, those that are installed (fibonacci-heap-mod, fibheap), and
says so on stderr; fibheap takes minutes, so it gets a tenth of the work and its figure, times ten, is a lower bound.
Every variant must drain in the same order. Best of five, in turns; seconds.
"""

from __future__ import annotations

import gc
import heapq
import json
import random
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from p2pwf.queue import FibonacciHeap

INSERTS, DECREASES, ROUNDS = 100_000, 80_000, 5
Work = tuple[list[float], list[tuple[int, float]], bool]
Result = tuple[float, list[int]]


def make_work(inserts: int, cut: bool) -> Work:
    """Keys to insert, then (index, new key), each smaller than before; the first to leave is never decreased."""
    source = random.Random(10)
    keys = [source.random() for _ in range(inserts)]
    first = min(range(inserts), key=keys.__getitem__)
    now = list(keys)
    decreases: list[tuple[int, float]] = []
    while len(decreases) < inserts * DECREASES // INSERTS:
        index = source.randrange(inserts)
        if index != first:
            now[index] *= source.random()
            decreases.append((index, now[index]))
    return keys, decreases, cut


def ours(work: Work) -> Result:
    """FibonacciHeap of this package."""
    keys, decreases, cut = work
    start = time.perf_counter()
    heap: FibonacciHeap[int] = FibonacciHeap()
    handles = [heap.insert(key, index) for index, key in enumerate(keys)]
    order = []
    if cut and (first := heap.extract_min()) is not None:
        order.append(first)
    for index, key in decreases:
        heap.decrease_key(handles[index], key)
    while (value := heap.extract_min()) is not None:
        order.append(value)
    return time.perf_counter() - start, order


def lazy(work: Work) -> Result:
    """The heapq module, after its own recipe: an entry that moves is marked dead and pushed again."""
    keys, decreases, cut = work
    start = time.perf_counter()
    heap: list[list[float | int]] = []
    entries: list[list[float | int]] = []
    for index, key in enumerate(keys):
        entry = [key, index, 1]
        entries.append(entry)
        heapq.heappush(heap, entry)
    order: list[int] = []

    def pop() -> bool:
        while heap:
            _, index, alive = heapq.heappop(heap)
            if alive:
                order.append(int(index))
                return True
        return False

    if cut:
        pop()
    for index, key in decreases:
        entries[index][2] = 0
        entry = [key, index, 1]
        entries[index] = entry
        heapq.heappush(heap, entry)
    while pop():
        pass
    return time.perf_counter() - start, order


def fibonacci_heap_mod(work: Work) -> Result:
    """fibonacci-heap-mod from PyPI."""
    library = import_module("fibonacci_heap_mod")
    keys, decreases, cut = work
    start = time.perf_counter()
    heap = library.Fibonacci_heap()
    handles = [heap.enqueue(index, key) for index, key in enumerate(keys)]
    order = [heap.dequeue_min().m_elem] if cut else []
    for index, key in decreases:
        heap.decrease_key(handles[index], key)
    while heap:
        order.append(heap.dequeue_min().m_elem)
    return time.perf_counter() - start, order


def fibheap(work: Work) -> Result:
    """The package fibheap from PyPI."""
    library = import_module("fibheap")
    keys, decreases, cut = work
    start = time.perf_counter()
    heap = library.makefheap()
    nodes = []
    for index, key in enumerate(keys):
        node = library.Node((key, index))
        nodes.append(node)
        heap.insert(node)
    order = [heap.extract_min().key[1]] if cut else []
    for index, key in decreases:
        heap.decrease_key(nodes[index], (key, index))
    while heap.num_nodes:
        order.append(heap.extract_min().key[1])
    return time.perf_counter() - start, order


def best(rounds: int, work: Work, *variants: Callable[[Work], Result]) -> list[float]:
    """Seconds of each variant, best of `rounds`, in turns; all must drain in the same order."""
    seconds = [float("inf")] * len(variants)
    for _ in range(rounds):
        expected: list[int] | None = None
        for place, variant in enumerate(variants):
            gc.collect()
            taken, order = variant(work)
            seconds[place] = min(seconds[place], taken)
            expected = expected or order
            if order != expected:
                raise SystemExit(f"{variant.__name__} drains in another order")
    return seconds


def main() -> None:
    """Measure and print one JSON line."""
    cut = "--cut" in sys.argv[1:]
    mine, reference = best(ROUNDS, make_work(INSERTS, cut), ours, lazy)
    row = {
        "name": "P10 heap" + (" with cuts" if cut else ""),
        "ours": round(mine, 3),
        "reference": round(reference, 3),
        "ratio": round(mine / reference, 2),
        "unit": "s",
        "n": INSERTS,
    }
    print(json.dumps(row))
    if "--others" in sys.argv[1:]:
        for other, share in ((fibonacci_heap_mod, 1), (fibheap, 10)):
            try:
                (seconds,) = best(1, make_work(INSERTS // share, cut), other)
            except ImportError:
                print(f"{other.__name__}: not installed", file=sys.stderr)
            else:
                print(f"{other.__name__}: {seconds * share:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
