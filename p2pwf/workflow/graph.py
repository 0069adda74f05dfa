"""The graph of jobs: its cycles and its waves. Knows ids and edges only; linear, without recursion."""

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


def waves(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Jobs by depth: the first list needs nothing, each job stands one list after the deepest of its needs.

    In declared order; `needs` is without cycles and names jobs that are there.
    """
    depth: dict[str, int] = {}
    for root in needs:
        stack = [root]
        while stack:
            waiting = [need for need in needs[stack[-1]] if need not in depth]
            if waiting:
                stack.extend(waiting)
                continue
            name = stack.pop()
            depth[name] = max((depth[need] + 1 for need in needs[name]), default=0)
    levels: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in needs:
        levels[depth[name]].append(name)
    return levels
