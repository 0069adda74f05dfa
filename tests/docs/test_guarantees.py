"""protocols/guarantees.md names tests, scripts and scenarios that there are."""

from __future__ import annotations

import re
from pathlib import Path

from p2pwf.testing import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "protocols" / "guarantees.md").read_text(encoding="utf-8")


def test_each_promise_is_held_by_something_that_is_there() -> None:
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    assert all(re.search(r"`(tests|scripts)/|scenario|I\d", held) for _, _, held in rows)
    for file, _, name in re.findall(r"`(tests/[\w/]+\.py)(::(test_\w+))?`", PAGE):
        assert (ROOT / file).is_file(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name
    for script in re.findall(r"`(scripts/[\w.]+)", PAGE):
        assert (ROOT / script).is_file(), script
    for listed in re.findall(r"scenarios? ([\w, -]+)", "\n".join(held for _, _, held in rows)):
        named = re.split(r", ", listed.strip())
        assert set(named) <= SCENARIOS.keys(), named
