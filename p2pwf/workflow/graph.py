"""The graph of jobs: its cycles. Knows ids and edges only; linear, without recursion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def find_cycles(needs: Mapping[str, Sequence[str]]) -> list[frozenset[str]]:
    """The sets of jobs that need each other in a circle (a job that needs itself is one), in declared order.

    Source: Tarjan's strongly connected components (SIAM J. Comput. 1972), with a stack of our own.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    cycles: list[frozenset[str]] = []
    for root in needs:
        if root in index:
            continue
        work: list[tuple[str, int]] = [(root, 0)]
        while work:
            name, edge = work.pop()
            if edge == 0:
                index[name] = low[name] = len(index)
                path.append(name)
                on_path.add(name)
            edges = needs.get(name, ())
            if edge > 0:
                low[name] = min(low[name], low[edges[edge - 1]]) if edges[edge - 1] in on_path else low[name]
            while edge < len(edges) and edges[edge] in index:
                if edges[edge] in on_path:
                    low[name] = min(low[name], index[edges[edge]])
                edge += 1
            if edge < len(edges):
                work.extend(((name, edge + 1), (edges[edge], 0)))
                continue
            if low[name] == index[name]:
                component = _pop_component(path, on_path, name)
                if len(component) > 1 or name in edges:
                    cycles.append(component)
    return cycles


def _pop_component(path: list[str], on_path: set[str], last: str) -> frozenset[str]:
    component: set[str] = set()
    while True:
        name = path.pop()
        on_path.discard(name)
        component.add(name)
        if name == last:
            return frozenset(component)
