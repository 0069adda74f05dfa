"""How values turn into one another, as tables: GitHub's documented coercions, each pair of kinds."""

from __future__ import annotations

import math

import pytest

from p2pwf.workflow.expr import Value, evaluate, is_truthy, to_number, to_string

VALUES: dict[str, Value] = {
    "null": None,
    "false": False,
    "true": True,
    "zero": 0.0,
    "one": 1,
    "nan": math.nan,
    "empty": "",
    "zero_text": "0",
    "one_text": " 1 ",
    "abc": "abc",
    "upper": "ABC",
    "list": [1],
    "map": {"a": 1},
}
EQUAL = """
           null false true zero one nan empty zero_text one_text abc upper list map
null        =    =     .    =    .   .   =     =         .        .   .     .    .
false       =    =     .    =    .   .   =     =         .        .   .     .    .
true        .    .     =    .    =   .   .     .         =        .   .     .    .
zero        =    =     .    =    .   .   =     =         .        .   .     .    .
one         .    .     =    .    =   .   .     .         =        .   .     .    .
nan         .    .     .    .    .   .   .     .         .        .   .     .    .
empty       =    =     .    =    .   .   =     .         .        .   .     .    .
zero_text   =    =     .    =    .   .   .     =         .        .   .     .    .
one_text    .    .     =    .    =   .   .     .         =        .   .     .    .
abc         .    .     .    .    .   .   .     .         .        =   =     .    .
upper       .    .     .    .    .   .   .     .         .        =   =     .    .
list        .    .     .    .    .   .   .     .         .        .   .     =    .
map         .    .     .    .    .   .   .     .         .        .   .     .    =
"""
LESS = """
           null false true zero one nan empty zero_text one_text abc upper list map
null        .    .     <    .    <   .   .     .         <        .   .     .    .
false       .    .     <    .    <   .   .     .         <        .   .     .    .
true        .    .     .    .    .   .   .     .         .        .   .     .    .
zero        .    .     <    .    <   .   .     .         <        .   .     .    .
one         .    .     .    .    .   .   .     .         .        .   .     .    .
nan         .    .     .    .    .   .   .     .         .        .   .     .    .
empty       .    .     <    .    <   .   .     <         <        <   <     .    .
zero_text   .    .     <    .    <   .   .     .         .        <   <     .    .
one_text    .    .     .    .    .   .   .     <         .        <   <     .    .
abc         .    .     .    .    .   .   .     .         .        .   .     .    .
upper       .    .     .    .    .   .   .     .         .        .   .     .    .
list        .    .     .    .    .   .   .     .         .        .   .     .    .
map         .    .     .    .    .   .   .     .         .        .   .     .    .
"""


def cells(table: str) -> list[tuple[str, str, bool]]:
    heads, *rows = [line.split() for line in table.strip().splitlines()]
    return [(row[0], head, mark != ".") for row in rows for head, mark in zip(heads, row[1:], strict=True)]


def told(left: str, operator: str, right: str) -> Value:
    # Blanks around make the text sort before the digits, and count for nothing where it is read as a number.
    return evaluate(f"v.{left} {operator} v.{right}", {"v": VALUES})


@pytest.mark.parametrize(("left", "right", "holds"), cells(EQUAL))
def test_values_are_equal(left: str, right: str, holds: bool) -> None:
    assert told(left, "==", right) is holds
    assert told(left, "!=", right) is not holds


@pytest.mark.parametrize(("left", "right", "holds"), cells(LESS))
def test_values_are_in_order(left: str, right: str, holds: bool) -> None:
    assert told(left, "<", right) is holds
    assert told(right, ">", left) is holds
    equal = told(left, "==", right)
    assert told(left, "<=", right) is (holds or equal)
    assert told(right, ">=", left) is (holds or equal)


@pytest.mark.parametrize(
    ("name", "truth", "number", "text"),
    [
        ("null", False, 0.0, ""),
        ("false", False, 0.0, "false"),
        ("true", True, 1.0, "true"),
        ("zero", False, 0.0, "0"),
        ("one", True, 1.0, "1"),
        ("nan", False, math.nan, "NaN"),
        ("empty", False, 0.0, ""),
        ("zero_text", True, 0.0, "0"),
        ("one_text", True, 1.0, " 1 "),
        ("abc", True, math.nan, "abc"),
        ("list", True, math.nan, "Array"),
        ("map", True, math.nan, "Object"),
    ],
)
def test_value_becomes_truth_number_and_text(name: str, truth: bool, number: float, text: str) -> None:
    value = VALUES[name]
    assert is_truthy(value) is truth
    assert to_string(value) == text
    assert to_number(value) == number or (math.isnan(number) and math.isnan(to_number(value)))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12), ("-12.5", -12.5), ("+3", 3), (".5", 0.5), ("5.", 5), ("1e3", 1000), ("1E-2", 0.01), ("\t7\n", 7),
        ("0x1f", 31), ("0xFFFFFFFF", -1), ("0x7fffffff", 2**31 - 1), ("0o17", 15), ("0o37777777777", -1),
        ("Infinity", math.inf), ("+Infinity", math.inf), ("-Infinity", -math.inf), ("\u3000", 0), ("1e999", math.inf),
        *((text, math.nan) for text in ("1 2", "0x", "0xg", "0X1", "0o8", "-0x1", "1_0", "1,0", "infinity")),
        *((text, math.nan) for text in ("nan", "NaN", "0x100000000", "\u0661", "1e", "e1", ".", "--1", "0b1", "1d")),
    ],
)  # fmt: skip
def test_text_is_read_as_number(text: str, number: float) -> None:
    found = to_number(text)
    assert found == number or (math.isnan(number) and math.isnan(found))
