"""Legs of a matrix: the cross product, what is excluded, what is included, how they are named."""

from __future__ import annotations

import pytest

from p2pwf.workflow.expr import Value
from p2pwf.workflow.matrix import MatrixError, build_legs, leg_name


def legs(matrix: Value) -> list[Value]:
    return [leg for leg, _ in build_legs(matrix)]


def names(matrix: Value) -> list[str]:
    return [leg_name("job", segments) for _, segments in build_legs(matrix)]


def test_cross_product_turns_the_last_key_fastest() -> None:
    assert names({"os": ["a", "b"], "v": [1, 2.5, True]}) == [
        "job (a, 1)",
        "job (a, 2.5)",
        "job (a, true)",
        "job (b, 1)",
        "job (b, 2.5)",
        "job (b, true)",
    ]


def test_exclude_matches_partially_deeply_and_loosely() -> None:
    matrix: Value = {
        "os": [{"name": "linux", "arch": "x64"}, {"name": "mac", "arch": "arm"}],
        "v": [1, 2, "two"],
        "exclude": [{"v": "1", "os": {"name": "LINUX"}}, {"v": "TWO"}],
    }
    assert names(matrix) == ["job (linux, x64, 2)", "job (mac, arm, 1)", "job (mac, arm, 2)"]


def test_exclude_compares_sequences_by_position() -> None:
    assert names({"v": [["a", "b"], ["a", "c"]], "exclude": [{"v": ["a", "b"]}]}) == ["job (a, c)"]


def test_include_adds_to_matching_legs_without_changing_their_names() -> None:
    matrix: Value = {
        "os": ["a", "b"],
        "include": [{"colour": "green"}, {"os": "b", "colour": "red"}, {"os": "B", "more": 1}, {"os": "c", "more": 2}],
    }
    assert build_legs(matrix) == [
        ({"os": "a", "colour": "green"}, ("a",)),
        ({"os": "b", "colour": "red", "more": 1}, ("b",)),
        ({"os": "c", "more": 2}, ("c", "2")),
    ]


def test_include_alone_makes_one_leg_each() -> None:
    assert legs({"include": [{"a": 1}, {"a": 1, "b": {"c": None}}]}) == [{"a": 1}, {"a": 1, "b": {"c": None}}]


def test_include_never_overwrites_a_value_of_the_cross_product() -> None:
    matrix: Value = {"a": [1], "b": [1], "include": [{"a": 1, "b": 2}]}
    assert legs(matrix) == [{"a": 1, "b": 1}, {"a": 1, "b": 2}]


def test_an_excluded_leg_can_come_back_by_include() -> None:
    assert legs({"a": [1, 2], "exclude": [{"a": 1}], "include": [{"a": 1, "x": 1}]}) == [{"a": 2}, {"a": 1, "x": 1}]


def test_long_name_is_cut_as_github_cuts_it() -> None:
    name = leg_name("j", ["x" * 200])
    assert len(name) == 100
    assert name.endswith("xxx...")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([], "mapping"),
        ("text", "mapping"),
        ({}, "at least one vector"),
        ({"include": []}, "at least one vector"),
        ({"a": []}, "does not contain any values"),
        ({"a": "x"}, "Expected a sequence"),
        ({"a": {"b": 1}}, "Expected a sequence"),
        ({"a": [1], "exclude": [{"b": 1}]}, "does not match any key"),
        ({"a": [1], "exclude": [{}]}, "must not be empty"),
        ({"a": [1], "exclude": ["x"]}, "Expected a mapping"),
        ({"a": [1], "include": [{}]}, "does not contain any values"),
        ({"a": [float("nan")]}, "NaN"),
        ({"a": list(range(16)), "b": list(range(17))}, "more than 256"),
        ({"include": [{"a": n} for n in range(257)]}, "more than 256"),
        ({f"k{n}": [0, 1] for n in range(64)}, "too many"),
        ({"a": list(range(256)), "include": [{"a": 1, "b": n} for n in range(1000)]}, "too many"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_matrix_that_is_none_says_why(matrix: Value, message: str) -> None:
    with pytest.raises(MatrixError, match=message):
        build_legs(matrix)


def test_the_largest_matrix_github_takes_is_taken() -> None:
    assert len(build_legs({"a": list(range(16)), "b": list(range(16))})) == 256
