"""Jobs that run on this node: one task each, from StartJob to JobEnded. Knows the runner, blobs, and the reach.

A job counts as finished only once its log is held here and, where there is one, by another peer: the submitter first.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

import attrs
import structlog
import trio

from p2pwf.clock.messages import Attempt
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.inputs import JobEnded
from p2pwf.engine.outputs import StartJob
from p2pwf.errors import NotFound, P2pwfError
from p2pwf.node.birth import Identity
from p2pwf.node.loop import wall_ms
from p2pwf.node.planner import facts_of
from p2pwf.runner.job import run_job
from p2pwf.runner.log import FileLog
from p2pwf.runner.processes import Spawner
from p2pwf.runner.values import JobRequest, JobResult, PinnedAction, RunnerEnv
from p2pwf.store.blobs import BlobStore

HOLD_SECONDS: Final = 10.0
"""How long another peer may take to fetch a job's log before the job counts as finished without it."""
HOLDERS_TRIED: Final = 3
PIN_MS: Final = 90 * 24 * 3600 * 1000
"""A run's blobs stay for 90 days at its runner and its submitter."""

log = structlog.get_logger()


class Reach(Protocol):
    """What jobs need of the network."""

    def connected(self) -> Sequence[PeerId]: ...

    async def fetch_blob(self, cid: Cid, peers: Sequence[PeerId]) -> None: ...

    async def ask_to_hold(self, peer: PeerId, cids: Sequence[Cid]) -> set[Cid]: ...


@attrs.define(slots=True, eq=False)
class Running:
    """One job under way."""

    log: FileLog
    cancel: trio.Event
    started: float


class Jobs:
    """The jobs of this node. `running` by attempt."""

    def __init__(
        self,
        *,
        work: Path,
        blobs: BlobStore,
        reach: Reach,
        report: Callable[[JobEnded], Awaitable[None]],
        nursery: trio.Nursery,
        spawner: Spawner | None,
        identity: Identity,
        peer: PeerId,
    ) -> None:
        self._work = work
        self._blobs = blobs
        self._reach = reach
        self._report = report
        self._nursery = nursery
        self._spawner = spawner
        self._peer = peer
        self._identity = identity
        self.running: dict[Attempt, Running] = {}
        self._idle = trio.lowlevel.ParkingLot()
        self._begun = 0

    def start(self, order: StartJob) -> None:
        """Begin an attempt in a task of its own."""
        self._begun += 1
        path = self._work / "logs" / f"{order.attempt.run.text[-12:]}-{wall_ms()}-{self._begun}.ndjson"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        running = Running(FileLog(path), trio.Event(), trio.current_time())
        self.running[order.attempt] = running
        self._nursery.start_soon(self._run, order, running)

    def cancel(self, attempt: Attempt) -> None:
        """Ask an attempt to end as a cancelled one does; it reports its end by itself."""
        running = self.running.get(attempt)
        if running is not None:
            running.cancel.set()

    async def wait_idle(self) -> None:
        """Wait until nothing runs here."""
        while self.running:
            await self._idle.park()

    async def _run(self, order: StartJob, running: Running) -> None:
        attempt = order.attempt
        submitter = order.submission.author
        try:
            result = await self._run_job(order, running)
        except P2pwfError as error:
            result = JobResult(outcome="failure", conclusion="failure", error=error.message)
        except OSError as error:
            result = JobResult(outcome="failure", conclusion="failure", error=f"this peer could not run it: {error}")
        except Exception as error:
            log.exception("a bug in the runner", job=attempt.job)
            result = JobResult(outcome="failure", conclusion="failure", error=f"a bug of this peer: {error!r}")
        finally:
            running.log.close()
        cid = None
        try:
            cid = await self._keep_log(attempt, running.log.path, submitter)
        except P2pwfError as error:
            log.warning("log not kept", run=attempt.run.text, job=attempt.job, error=error.message)
        self.running.pop(attempt, None)
        self._idle.unpark_all()
        await self._report(
            JobEnded(
                attempt=attempt,
                conclusion=result.conclusion,
                outcome=result.outcome,
                outputs=dict(result.outputs),
                log=cid,
                error=result.error,
            )
        )
        running.log.path.unlink(missing_ok=True)

    async def _run_job(self, order: StartJob, running: Running) -> JobResult:
        body = order.submission.body
        attempt = order.attempt
        facts = attrs.asdict(facts_of(order.submission, attempt.number), recurse=False)
        actions = cast("Mapping[str, Mapping[str, Any]]", body["actions"])
        request = JobRequest(
            run=attempt.run.text,
            job_id=attempt.job,
            leg=attempt.leg,
            attempt=attempt.number,
            workflow_text=cast(str, body["workflow"]),
            workflow_path=cast(str, body["path"]),
            facts=facts,
            needs=cast("dict[str, dict[str, Any]]", order.needs),
            matrix=cast("dict[str, Any] | None", order.matrix),
            leg_name=order.leg_name,
            source=cast("Cid | None", body["source"]),
            called=cast("Mapping[str, str]", body["called"]),
            actions={uses: PinnedAction(sha=one["sha"], source=one["source"]) for uses, one in actions.items()},
            runner_name=self._identity.name,
            labels=self._identity.labels,
            network=self._identity.network.text,
        )

        async def fetch(cid: Cid) -> Path:
            return await self.blob(cid, [order.submission.author])

        env = RunnerEnv(
            work_root=self._work,
            log=running.log,
            fetch_blob=fetch,
            spawner=self._spawner,
            cancel=running.cancel,
            now_ms=wall_ms,
        )
        return await run_job(request, env)

    async def blob(self, cid: Cid, holders: Sequence[PeerId]) -> Path:
        """The local path of a blob, fetched if it is not here; raises NotFound or TryAgain if nobody gives it."""
        if not await trio.to_thread.run_sync(self._blobs.has, cid):
            peers = [peer for peer in dict.fromkeys([*holders, *self._reach.connected()]) if peer != self._peer]
            if not peers:
                raise NotFound(f"no peer that holds {cid} is known", "a peer that has it must be up")
            await self._reach.fetch_blob(cid, peers)
        return await trio.to_thread.run_sync(self._blobs.path, cid)

    async def _keep_log(self, attempt: Attempt, path: Path, submitter: PeerId) -> Cid:
        cid = await trio.to_thread.run_sync(self._blobs.put_file, path)
        until = wall_ms() + PIN_MS
        await trio.to_thread.run_sync(self._blobs.pin, cid, attempt.run.text, until)
        others = [peer for peer in dict.fromkeys([submitter, *self._reach.connected()]) if peer != self._peer]
        connected = set(self._reach.connected())
        for peer in [peer for peer in others if peer in connected][:HOLDERS_TRIED]:
            with trio.move_on_after(HOLD_SECONDS):
                try:
                    if cid in await self._reach.ask_to_hold(peer, [cid]):
                        return cid
                except P2pwfError as error:
                    log.info("log not copied", peer=peer, error=error.message)
        return cid


def log_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a finished log as dicts {time, step, stream, text}."""
    with path.open("rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]
