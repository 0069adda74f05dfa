"""The loader: YAML 1.2 core, every node with its place, every bound held."""

from __future__ import annotations

import math

import pytest

from p2pwf.workflow.diagnostics import Findings, Place
from p2pwf.workflow.nodes import MappingNode, Scalar, SequenceNode, to_value
from p2pwf.workflow.yaml import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, load


def scalar(text: str) -> object:
    node = load(f"- {text}\n", Findings())
    assert isinstance(node, SequenceNode)
    item = node.items[0]
    assert isinstance(item, Scalar)
    return item.value


def codes(data: str | bytes) -> list[str]:
    findings = Findings()
    load(data, findings)
    return [finding.code for finding in findings.result()]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("tRUE", "tRUE"),
        ("~", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("3.10", 3.1),
        ("0777", 777.0),
        ("0o17", 15.0),
        ("0x1f", 31.0),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("+12", 12.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1e", "1e"),
        ("0b1", "0b1"),
        ("2024-01-01", "2024-01-01"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("'12'", "12"),
        ('"null"', "null"),
        ("!!str 12", "12"),
        ("!!int 12", 12.0),
        ("!!float 12", 12.0),
        ("! 12", "12"),
        ("é", "é"),
    ],
)
def test_plain_scalar_has_its_type_by_the_core_schema(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_every_node_knows_its_line_and_column() -> None:
    root = load("a:\n  - b\n  - {c: d}\n", Findings())
    assert isinstance(root, MappingNode)
    (key, items) = root.entries[0]
    assert key.place == Place(1, 1)
    assert isinstance(items, SequenceNode)
    assert items.items[0].place == Place(2, 5)
    inner = items.items[1]
    assert isinstance(inner, MappingNode)
    assert inner.entries[0][1].place == Place(3, 9)


def test_an_alias_is_the_same_tree_again() -> None:
    root = load("a: &x {b: [1]}\nc: *x\n", Findings())
    assert root is not None
    assert to_value(root) == {"a": {"b": [1.0]}, "c": {"b": [1.0]}}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"a" * (MAX_BYTES + 1), "too-large"),
        (b"\xff\xfe\x00", "not-utf8"),
        ("a: \ud800", "not-utf8"),
        ("a: \x07", "yaml-character"),
        ("", "empty"),
        ("---\n...\n", "empty"),
        ("a: 1\n---\nb: 2\n", "yaml-documents"),
        ("[" * 200_000, "yaml-depth"),
        ("{a: " * 50_000, "yaml-depth"),
        ("- " * 100_000, "yaml-depth"),
        ("? " * 100_000, "yaml-key"),
        ("[a, " * 50_000, "yaml-depth"),
        ("a: *b", "yaml-alias"),
        ("a: &a [*a]", "yaml-alias"),
        ("a: &a 1\nb: [" + "*a, " * (MAX_ALIASES + 1) + "]", "yaml-aliases"),
        ("? [a]\n: b", "yaml-key"),
        ("&k [a]: b", "yaml-key"),
        ("x: &x [a]\n*x : b", "yaml-key"),
        ("a: 1\nA: 2", "duplicate-key"),
        ("1: a\n1.0: b", "duplicate-key"),
        ("a: &a {}\nb:\n  <<: *a", "yaml-merge"),
        ("a: !custom 1", "yaml-tag"),
        ("a: !!int x", "yaml-tag"),
        ("a: 0xFFFFFFFFFF", "yaml-number"),
        ("a: 'b", "yaml-syntax"),
        ("a: b: c", "yaml-syntax"),
        ("\ta: b", "yaml-syntax"),
        ("%YAML 9.9\n---\na", "yaml-syntax"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, (str, bytes)) else None,
)
def test_what_is_wrong_or_too_much_is_one_finding(data: str | bytes, code: str) -> None:
    assert codes(data) == [code]


def test_t29_a_tower_of_aliases_is_stopped_before_it_is_built() -> None:
    tower = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    tower += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    assert codes(tower) == ["yaml-nodes"]


def test_depth_counts_through_aliases() -> None:
    half = MAX_DEPTH // 2 + 1
    deep = "a: &a " + "[" * half + "]" * half
    assert codes(deep) == []
    assert codes(deep + "\nb: " + "[" * half + "*a" + "]" * half) == ["yaml-depth"]


def test_an_expression_in_a_block_or_quoted_scalar_is_found_in_the_file() -> None:
    text = 'a: |\n  one\n  ${{ x }}\nb: "tab\\t${{ y }}"\nc: >-\n  folded\n  here ${{ z }}\n'
    root = load(text, Findings())
    assert isinstance(root, MappingNode)
    block, quoted, folded = (value for _, value in root.entries)
    for node, line, column, name in ((block, 3, 7, "x"), (quoted, 4, 14, "y"), (folded, 7, 12, "z")):
        assert isinstance(node, Scalar)
        assert node.place_of(str(node.value).index(name)) == Place(line, column)
