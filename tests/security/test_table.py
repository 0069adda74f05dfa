"""SECURITY.md says of each attack which tests hold, and they are there. Reads files without running them."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBERS: Final = [f"T{number:02}" for number in range(1, 51)]
NO_GUARD: Final = {
    "T18": "a hash that names itself cannot be made, so there is nothing to take away",
}
"""Attacks without a twin, and why."""


@pytest.fixture(scope="module")
def threats() -> ModuleType:
    spec = importlib.util.spec_from_file_location("threats", ROOT / "scripts" / "threats.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["threats"] = module
    spec.loader.exec_module(module)
    return module


def rows() -> dict[str, str]:
    """Of each attack what the table says of its tests."""
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| (T\d\d) \| [^|]+ \|([^|]*)\|$", page, re.MULTILINE))


def test_each_attack_has_a_row_and_the_table_says_what_the_tests_are_called(threats: ModuleType) -> None:
    assert list(rows()) == NUMBERS
    assert threats.main(["--check"]) == 0, "run scripts/threats.py"


def test_every_test_of_the_table_exists_and_carries_its_number(threats: ModuleType) -> None:
    known = {f"{file}::{name}" for tests in threats.numbered().values() for file, name in tests}
    for number, cell in rows().items():
        named = re.findall(r"`([^`]+)`", cell)
        assert set(named) <= known, number
        assert all(f"_{number.lower()}_" in one.partition("::")[2] for one in named), number


def test_each_attack_is_held_by_a_test_and_has_a_twin(threats: ModuleType) -> None:
    tests = threats.numbered()
    lacking = [number for number in NUMBERS if not any(not threats.is_twin(name) for _, name in tests.get(number, ()))]
    assert not lacking, f"no test holds {', '.join(lacking)}"
    alone = {number for number in NUMBERS if not any(threats.is_twin(name) for _, name in tests[number])}
    assert alone <= NO_GUARD.keys(), f"no twin of {', '.join(sorted(alone - NO_GUARD.keys()))}"
