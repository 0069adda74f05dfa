from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oneshot.kit import Here


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """A project of its own, with caches and temporary files of its own; nothing may be left of the latter."""
    place = Here(tmp_path, monkeypatch, capsys)
    monkeypatch.setattr(tempfile, "tempdir", str(place.temporary))
    monkeypatch.setenv("TMPDIR", str(place.temporary))
    monkeypatch.setenv("P2PWF_CACHE_DIR", str(place.cache))
    monkeypatch.chdir(place.root)
    yield place
    assert list(place.temporary.iterdir()) == []
