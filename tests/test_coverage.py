"""COVERAGE.md names, for each row of what must hold, tests that exist. Reads test files without running them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import attrs

from tests.workflow.test_availability import PLACES

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "COVERAGE.md"
CORPUS = "test_file_of_the_corpus_says_what_it_said_before"
PLACE = "test_an_expression_may_use_what_its_place_allows_and_nothing_else"


@attrs.frozen
class Row:
    """One line of the table: `tests` as (file, function, parameter or empty)."""

    name: str
    text: str
    tests: tuple[tuple[str, str, str], ...]


def rows() -> list[Row]:
    found = []
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[0] not in ("row", "---"):
            named = re.findall(r"`(tests/[^:`]+\.py)::(\w+)(?:\[([^`]+)\])?`", cells[2])
            assert len(named) == cells[2].count("`") // 2, f"{cells[0]}: what is no id of a test? {cells[2]}"
            found.append(Row(cells[0], cells[1], tuple(named)))
    return found


@cache
def functions(file: str) -> frozenset[str]:
    """The tests that a file defines."""
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def test_every_row_of_the_list_stands_in_the_table_once() -> None:
    listed = re.findall(r"^- (.+)$", TABLE.read_text(), re.MULTILINE)
    assert len(listed) > 40
    assert [row.name for row in rows()] == listed
    assert len(set(listed)) == len(listed)


def test_every_row_says_what_holds_and_names_tests() -> None:
    for row in rows():
        assert row.text, row.name
        assert row.tests, f"no test holds '{row.name}'"
        assert len(set(row.tests)) == len(row.tests), row.name


def test_every_test_that_is_named_exists() -> None:
    data = ROOT / "tests" / "workflow" / "data"
    for row in rows():
        for file, name, parameter in row.tests:
            assert (ROOT / file).is_file(), f"{row.name}: {file}"
            assert name.startswith("test_"), name
            assert name in functions(file), f"{row.name}: {file} has no {name}"
            if parameter:
                known = {CORPUS: (data / f"{parameter}.yml").is_file(), PLACE: parameter in PLACES}
                assert known.get(name), f"{row.name}: {name} has no case '{parameter}'"
