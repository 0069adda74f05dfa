"""Jobs of a run without a node that are kept apart: finds out once what works here. Most runs never load this."""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from p2pwf.engine.outputs import StartJob
from p2pwf.errors import Refused
from p2pwf.isolation import NO_NETWORK, Level, asked_level, choose
from p2pwf.runner.isolation.keeper import Keeper
from p2pwf.runner.isolation.probe import Probe, levels, probe_all
from p2pwf.runner.processes import Spawner
from p2pwf.runner.values import RunnerEnv
from p2pwf.workflow import Flow
from p2pwf.workflow.asks import has_containers


class Apart:
    """Keeps jobs apart. `work`: the run's folder for jobs, in a temporary folder of the run's own. `image`: of level
    container."""

    def __init__(self, work: Path, spawner: Spawner, image: str | None) -> None:
        self._work = work
        self._spawner = spawner
        self._keeper = Keeper(work, image=image)
        self._looking = trio.Lock()
        self._found: dict[Level, Probe] = {}

    async def env(self, order: StartJob, flow: Flow, env: RunnerEnv, floor: Level) -> RunnerEnv:
        """What a job runs in: at the level that was asked for, by its labels or for all. Raises Refused.

        Whoever says a level wants that one, so it is not made more here than on a node that has less.
        """
        async with self._looking:
            if not self._found:
                await self._look()
        network, wanted = NO_NETWORK not in order.labels, max(floor, asked_level(order.labels))
        containers = has_containers(flow, order.attempt.job)
        level = choose(levels(self._found), wanted, network=network, containers=containers, least=True)
        if level is None:
            raise self._refusal(wanted if network else max(wanted, Level.sandbox), containers=containers)
        root = self._keeper.root(level)
        return attrs.evolve(env, work_root=root, isolation=level, network=network, keeper=self._keeper)

    def _refusal(self, wanted: Level, *, containers: bool) -> Refused:
        what = "a job with containers of its own" if containers else "the job"
        lacking = [probe for level, probe in self._found.items() if level >= wanted and not probe.available]
        reasons = "; ".join(f"{probe.level.name}: {probe.text}" for probe in lacking) or "no other level has them"
        return Refused(
            f"{what} needs isolation {wanted.name} or better, and there is none here ({reasons})",
            next((probe.hint for probe in lacking if probe.hint), "see `p2pwf doctor`"),
        )

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
