"""Jobs of a run without a node that are kept apart: finds out once what works here. Most runs never load this."""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from p2pwf.engine.outputs import StartJob
from p2pwf.isolation import Level
from p2pwf.node.isolating import level_for
from p2pwf.runner.isolation.keeper import Keeper
from p2pwf.runner.isolation.probe import Probe, probe_all
from p2pwf.runner.job import has_containers
from p2pwf.runner.processes import Spawner
from p2pwf.runner.values import JobRequest, RunnerEnv


class Apart:
    """Keeps jobs apart. `work`: the run's folder for jobs, in a temporary folder of the run's own."""

    def __init__(self, work: Path, spawner: Spawner) -> None:
        self._work = work
        self._spawner = spawner
        self._keeper = Keeper(work)
        self._looking = trio.Lock()
        self._found: dict[Level, Probe] = {}

    async def env(self, order: StartJob, request: JobRequest, env: RunnerEnv, floor: Level) -> RunnerEnv:
        """What a job runs in: at the level that was asked for, by its labels or for all. Raises Refused.

        Whoever says a level wants that one, so it is not made more here than on a node that has less.
        """
        async with self._looking:
            if not self._found:
                await self._look()
        containers = await trio.to_thread.run_sync(has_containers, request)
        kept = level_for(self._found, order.labels, floor, containers=containers, least=True)
        root = self._keeper.root(kept.level)
        return attrs.evolve(env, work_root=root, isolation=kept.level, network=kept.network, keeper=self._keeper)

    async def _look(self) -> None:
        # The blobs beside the jobs are the run's alone; the way to the jobs is for the users that jobs run as.
        for folder in self._work.parent.iterdir():
            folder.chmod(0o700)
        self._work.chmod(0o711)
        self._work.parent.chmod(0o711)
        self._found = await probe_all(self._keeper, self._spawner)

    def close(self) -> None:
        """Leave nothing behind."""
        self._keeper.close()
