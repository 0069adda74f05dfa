"""Patterns of paths: what they match, and that none takes long, whatever its author had in mind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.errors import UsageError
from p2pwf.runner import hashfiles
from p2pwf.runner.hashfiles import hash_files
from p2pwf.runner.patterns import MAX_PATTERN, path_expression, segment_expression


def naive_segment(segment: str) -> str:
    """One name's pattern as it is usually translated: each `*` is tried anew at every place."""
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character)) for character in segment)


def naive_path(segments: list[str]) -> str:
    return "".join("(?:/[^/]+)*" if one == "**" else "/" + naive_segment(one) for one in segments)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_a_names_pattern_means_what_it_always_meant(pattern: str, name: str) -> None:
    assert bool(re.fullmatch(segment_expression(pattern), name)) == bool(re.fullmatch(naive_segment(pattern), name))


SEGMENTS = st.lists(st.sampled_from(["**", "**", "a", "b", "*", "a*", "?b"]), min_size=1, max_size=7)
NAMES = st.lists(st.sampled_from(["a", "b", "ab", "aa"]), min_size=1, max_size=7)


@given(SEGMENTS, NAMES)
def test_a_paths_pattern_means_what_it_always_meant(segments: list[str], names: list[str]) -> None:
    path = "/" + "/".join(names)
    assert bool(re.fullmatch(path_expression(segments), path)) == bool(re.fullmatch(naive_path(segments), path))
    more = "(?:/.*)?"
    ours, theirs = re.fullmatch(path_expression(segments) + more, path), re.fullmatch(naive_path(segments) + more, path)
    assert bool(ours) == bool(theirs)


def seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


EVIL = [
    ("*a" * 400 + "b", ["a" * 255]),
    ("**/a/" * 200 + "b", ["a"] * 1000),
    ("**/*a*a*a/" * 80 + "b", ["aaaa" * 60] * 16),
    ("**/" + "a/" * 400 + "b", ["a"] * 1000),
]


@pytest.mark.parametrize(("pattern", "names"), EVIL, ids=["stars", "folders", "both", "long"])
def test_t33_no_pattern_of_paths_takes_long(pattern: str, names: list[str]) -> None:
    expression = re.compile(path_expression(pattern.split("/")), re.DOTALL)
    assert seconds(lambda: expression.fullmatch("/" + "/".join(names))) < 5


@pytest.mark.parametrize(
    ("pattern", "names", "translate"),
    [("*a*a*a*a*a*b", ["a" * 45], naive_path), ("**/a/" * 9 + "b", ["a"] * 24, naive_path)],
    ids=["stars", "folders"],
)
def test_t33_without_the_guard_a_pattern_takes_longer_and_longer(
    pattern: str, names: list[str], translate: Callable[[list[str]], str]
) -> None:
    path, segments = "/" + "/".join(names), pattern.split("/")
    slow, quick = re.compile(translate(segments)), re.compile(path_expression(segments))
    assert slow.fullmatch(path) is quick.fullmatch(path) is None
    assert seconds(lambda: slow.fullmatch(path)) > 20 * seconds(lambda: quick.fullmatch(path))


def test_t33_hashing_files_by_an_evil_pattern_ends(tmp_path: Path) -> None:
    (tmp_path / ("a" * 200)).write_text("x")
    deep = tmp_path.joinpath(*["a"] * 60)
    deep.mkdir(parents=True)
    (deep / "c").write_text("x")
    assert hash_files(tmp_path, ["*a" * 100 + "b", "**/a/" * 40 + "b"]) == ""


def test_patterns_are_bounded_in_length_and_number(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="characters"):
        hash_files(tmp_path, ["a" * (MAX_PATTERN + 1)])
    with pytest.raises(UsageError, match="patterns"):
        hash_files(tmp_path, ["a\n" * (hashfiles.MAX_PATTERNS + 1)])


def test_a_range_that_goes_backwards_is_the_patterns_mistake(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(UsageError, match="Invalid pattern"):
        hash_files(tmp_path, ["[z-a]"])
