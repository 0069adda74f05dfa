from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
import trio

from p2pwf.isolation import Level
from p2pwf.runner import RunnerEnv
from p2pwf.runner.isolation.bounds import Bounds
from p2pwf.runner.isolation.keeper import Keeper
from tests.runner.kit import Bench


@attrs.define
class Apart:
    """Turns the environments of a bench into isolated ones."""

    keeper: Keeper
    level: Level
    bounds: Bounds = attrs.field(factory=Bounds)
    network: bool = True

    def env(self, env: RunnerEnv) -> RunnerEnv:
        return attrs.evolve(
            env,
            isolation=self.level,
            keeper=self.keeper,
            bounds=self.bounds,
            network=self.network,
            work_root=self.keeper.root(self.level),
        )


@pytest.fixture(params=[Level.process, Level.sandbox], ids=lambda level: level.name)
async def apart(request: pytest.FixtureRequest, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Apart]:
    """Every job of the bench is kept apart at a level."""
    keeper = Keeper(bench.root / "work")
    await trio.to_thread.run_sync(keeper.prepare)
    apart = Apart(keeper, request.param)
    plain = Bench.env
    monkeypatch.setattr(Bench, "env", lambda *args, **more: apart.env(plain(*args, **more)))
    yield apart
    keeper.close()
