"""The page about the format on disk says what the program writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from p2pwf.embedded import store as embedded
from p2pwf.store import blobindex, events
from p2pwf.store.database import Format

PAGE = (Path(__file__).parents[2] / "protocols/store.md").read_text(encoding="utf-8")


def _words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("file", "form"),
    [("events.db", events.FORMAT), ("blobs.db", blobindex.FORMAT), ("embedded.db", embedded.FORMAT)],
)
def test_the_page_gives_the_tables_and_marks_as_they_are(file: str, form: Format) -> None:
    block = PAGE.split(f"\n    {file}\n")[1].split("\n\n")[0]
    statements = [statement for step in form.migrations for statement in step]
    assert _words(block) == _words(" ".join(statements))
    row = next(line for line in PAGE.splitlines() if re.match(rf"\| `{file}` \| 0x", line))
    assert row.split("|")[2:4] == [f" 0x{form.application_id:08x} ", f" {form.version} "]
