"""Cycles among the needs of jobs, on graphs small and long."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from p2pwf.workflow.graph import find_cycles

LONG = {f"j{n}": [f"j{n - 1}"] if n else [] for n in range(5000)}


def test_t32_cycles_are_found_and_only_them() -> None:
    needs = {"a": ["b"], "b": ["a", "d"], "c": ["a"], "d": [], "e": ["e"], "f": ["c", "e"]}
    assert set(find_cycles(needs)) == {frozenset("ab"), frozenset("e")}


def test_long_chains_need_no_recursion() -> None:
    assert find_cycles(LONG) == []
    assert find_cycles({**LONG, "j0": ["j4999"]}) == [frozenset(LONG)]


graphs = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), max_size=6).map(
    lambda graph: {name: [need for need in needs if need in graph] for name, needs in graph.items()}
)


@given(graphs)
def test_cycles_agree_with_trying_every_path(graph: dict[str, list[str]]) -> None:
    def reaches(start: str, goal: str) -> bool:
        others = [name for name in graph if name not in (start, goal)]
        return any(
            all(b in graph[a] for a, b in zip((start, *path), (*path, goal), strict=True))
            for size in range(len(others) + 1)
            for path in permutations(others, size)
        )

    in_cycle = {name for name in graph if reaches(name, name)}
    assert set().union(*find_cycles(graph)) == in_cycle
