"""T35 at the levels of isolation: a few of the jobs of scripts/kills, which ends a thousand in every way."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import kills


@pytest.mark.parametrize("way", ["given up", "job timeout", "supervisor killed", "runner killed"])
@pytest.mark.parametrize("level", ["process", "sandbox"])
def test_t35_no_process_of_an_isolated_job_outlives_it(tmp_path: Path, level: str, way: str) -> None:
    left, _, said = kills.batch(level, way, tmp_path / "jobs", 2, None)
    assert (left, said) == (0, "")
