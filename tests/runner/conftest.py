from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from p2pwf.runner import open_spawner
from tests.runner.kit import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "work").mkdir()
    async with open_spawner() as spawner:
        yield Bench(tmp_path, spawner)
