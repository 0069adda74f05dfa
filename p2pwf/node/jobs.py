"""Jobs that run on this node: one task each, from StartJob to JobEnded. Knows the runner, blobs, and the reach.

A job counts as finished only once its log is held here and, where there is one, by another peer: the submitter first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from traceback import format_exception
from typing import Any, Final, Protocol, TypeAlias, cast

import attrs
import structlog
import trio

from p2pwf.clock.messages import Attempt
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine import Engine
from p2pwf.engine.inputs import JobEnded
from p2pwf.engine.outputs import StartJob
from p2pwf.errors import NotFound, P2pwfError, Refused
from p2pwf.node.birth import Identity
from p2pwf.node.facts import PIN_MS
from p2pwf.node.kept import artifacts_of, find_cache
from p2pwf.node.loop import wall_ms
from p2pwf.node.opening import Given, for_job
from p2pwf.node.planner import facts_of
from p2pwf.node.policing import Gatekeeper
from p2pwf.runner.isolation.keeper import Keeper
from p2pwf.runner.job import run_job
from p2pwf.runner.log import FileLog, LogLine
from p2pwf.runner.manifest import blobs_of, parse
from p2pwf.runner.masking import Masker
from p2pwf.runner.pack import pack
from p2pwf.runner.processes import Spawner
from p2pwf.runner.report import report
from p2pwf.runner.treewriter import read_manifest
from p2pwf.runner.values import Artifact, Cache, JobRequest, JobResult, PinnedAction, RunnerEnv, Stored
from p2pwf.store.blobs import BlobStore

HOLD_SECONDS: Final = 10.0
"""How long another peer may take to fetch what a job has left before the job counts as finished without that."""
HOLD_SECONDS_EACH: Final = 0.5
"""And so long for each of its blobs."""
HELD_AT_ONCE: Final = 64
HOLDERS_TRIED: Final = 3
EXTERNAL_SECONDS: Final = 6 * 3600.0
"""How long a client may take over a job: what GitHub gives a job whose timeout nobody sets."""
SILENT: Final = "the client that took it on has not said what became of it within 6 hours"

RunJob: TypeAlias = Callable[[JobRequest, RunnerEnv], Awaitable[JobResult]]
"""How one attempt is run: `runner.job.run_job`, or what a simulation has in its place."""

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
    told: trio.Event = attrs.field(factory=trio.Event)
    """A client has said what became of a job that it ran."""
    result: JobResult | None = None
    masker: Masker = attrs.field(factory=Masker)
    """Hides what the job was given, where its own words do not come from the runner."""


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
        engine: Engine,
        gatekeeper: Gatekeeper,
        recall: Callable[[Cid], Awaitable[None]],
        keeper: Keeper,
        external: bool = False,
        run: RunJob = run_job,
    ) -> None:
        """`external`: jobs are run by clients, which `end` them."""
        self._keeper = keeper
        self._work = work
        self._blobs = blobs
        self._reach = reach
        self._tell = report
        self._nursery = nursery
        self._spawner = spawner
        self._peer = peer
        self._identity = identity
        self._engine = engine
        self._gatekeeper = gatekeeper
        self._recall = recall
        self._external = external
        self._run_it = run
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

    def end(self, attempt: Attempt, result: JobResult) -> None:
        """A client is through with an attempt that it runs; what comes after the first such word is ignored."""
        running = self.running.get(attempt)
        if running is not None and running.result is None:
            running.result = result
            running.told.set()

    async def wait_idle(self) -> None:
        """Wait until nothing runs here."""
        while self.running:
            await self._idle.park()

    async def _run(self, order: StartJob, running: Running) -> None:
        attempt = order.attempt
        submitter = order.submission.author
        try:
            result = await (self._run_outside if self._external else self._run_job)(order, running)
        except P2pwfError as error:
            result = _failed(running, error.message)
        except OSError as error:
            result = _failed(running, f"this peer could not run it: {error}")
        except Exception as error:  # noqa: BLE001 - told, and logged with nothing that the job must keep to itself
            trace = running.masker.mask("".join(format_exception(error)))
            log.error("a bug in the runner", job=attempt.job, exception=trace)  # noqa: TRY400 - as above
            result = _failed(running, f"a bug of this peer: {error!r}")
        finally:
            running.log.close()
        cid = told = None
        try:
            cid = await trio.to_thread.run_sync(self._blobs.put_file, running.log.path)
            told = await trio.to_thread.run_sync(self._blobs.put_bytes, report(result))
            await self._keep(attempt, [cid, told, *await self._left(result)], submitter)
        except P2pwfError as error:
            log.warning("not all kept of a job", run=attempt.run.text, job=attempt.job, error=error.message)
        self.running.pop(attempt, None)
        self._idle.unpark_all()
        await self._tell(
            JobEnded(
                attempt=attempt,
                conclusion=result.conclusion,
                outcome=result.outcome,
                outputs=dict(result.outputs),
                log=cid,
                report=told,
                artifacts=[{"name": one.name, "link": one.link, "size": one.size} for one in result.artifacts],
                caches=[attrs.asdict(one) for one in result.caches],
                error=result.error,
            )
        )
        running.log.path.unlink(missing_ok=True)

    async def _run_job(self, order: StartJob, running: Running) -> JobResult:
        body = order.submission.body
        attempt = order.attempt
        facts = attrs.asdict(facts_of(order.submission, attempt.number), recurse=False)
        given = self._given(attempt)
        for secret in (*given.secrets.values(), *given.own_secrets.values()):
            running.masker.add(secret)
        for name in given.kept:
            self._note(running, f"The secret {name} is not for runs of this submitter: it is empty here")
        actions = cast("dict[str, dict[str, Any]]", body["actions"])
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
            runner_name=self._identity.name,
            labels=self._identity.labels,
            network=self._identity.network.text,
            called=cast("dict[str, str]", body["called"]),
            actions={uses: PinnedAction(**pin) for uses, pin in actions.items()},
            secrets=given.secrets,
            own_secrets=given.own_secrets,
            own_vars=given.own_vars,
        )

        async def fetch(cid: Cid) -> Path:
            return await self.blob(cid, [order.submission.author])

        async def artifacts() -> tuple[Artifact, ...]:
            return artifacts_of(self._engine, attempt.run)

        async def find(keys: tuple[str, ...], version: str) -> Cache | None:
            return await find_cache(self._engine, self._gatekeeper, attempt.run, keys, version, self._recall)

        verdict = self._gatekeeper.verdict(order.submission, order.labels, attempt.job)
        if not verdict.allowed:
            raise Refused(verdict.reason, "`p2pwf policy show` on that peer says what it lets in")
        env = RunnerEnv(
            work_root=self._keeper.root(verdict.level),
            isolation=verdict.level,
            network=verdict.network,
            keeper=self._keeper,
            log=running.log,
            fetch_blob=fetch,
            spawner=self._spawner,
            store_folder=self._store_folder,
            artifacts=artifacts,
            find_cache=find,
            cancel=running.cancel,
            now_ms=wall_ms,
        )
        return await self._run_it(request, env)

    async def _run_outside(self, order: StartJob, running: Running) -> JobResult:
        """A job that a client runs: its log is what is known here of its beginning and its end."""

        note = partial(self._note, running)
        note(f"Job {order.leg_name}, attempt {order.attempt.number}, on {self._identity.name}, run by a client of it")
        result = JobResult(outcome="failure", conclusion="failure", error=SILENT)
        async with trio.open_nursery() as nursery:

            async def cancelled() -> None:
                nonlocal result
                await running.cancel.wait()
                result = JobResult(outcome="cancelled", conclusion="cancelled")
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancelled)
            with trio.move_on_after(EXTERNAL_SECONDS):
                await running.told.wait()
                result = cast(JobResult, running.result)
            nursery.cancel_scope.cancel()
        note(f"##[error]{result.error}" if result.error else f"It came to {result.conclusion}")
        return result

    def _note(self, running: Running, text: str) -> None:
        running.log.write(LogLine(wall_ms(), 0, "system", text))
        running.log.flush()

    def _given(self, attempt: Attempt) -> Given:
        """The secrets and variables of a job; raises P2pwfError."""
        run = self._engine.desk.active.get(attempt.run)
        return Given() if run is None else for_job(self._engine, self._identity.seed, run, (attempt.job, attempt.leg))

    async def blob(self, cid: Cid, holders: Sequence[PeerId]) -> Path:
        """The local path of a blob, fetched if it is not here; raises NotFound or TryAgain if nobody gives it."""
        if not await trio.to_thread.run_sync(self._blobs.has, cid):
            peers = [peer for peer in dict.fromkeys([*holders, *self._reach.connected()]) if peer != self._peer]
            if not peers:
                raise NotFound(f"no peer that holds {cid} is known", "a peer that has it must be up")
            await self._reach.fetch_blob(cid, peers)
        return await trio.to_thread.run_sync(self._blobs.path, cid)

    async def tree(self, manifest: Cid, holders: Sequence[PeerId]) -> None:
        """Have a manifest here and all that it lists; raises as `blob` does, and RemoteError for what is none."""
        path = await self.blob(manifest, holders)
        for cid in blobs_of(parse(await trio.to_thread.run_sync(read_manifest, path, manifest))):
            await self.blob(cid, holders)

    async def _store_folder(self, folder: Path, chosen: frozenset[str] | None) -> Stored:
        return await trio.to_thread.run_sync(pack, folder, chosen, self._blobs)

    async def _left(self, result: JobResult) -> list[Cid]:
        """The blobs of what a job has left: of each artifact and cache the manifest, then its files."""
        found: list[Cid] = []
        for link in [*(one.link for one in result.artifacts), *(one.link for one in result.caches)]:
            path = await trio.to_thread.run_sync(self._blobs.path, link)
            tree = parse(await trio.to_thread.run_sync(path.read_bytes))
            found += [link, *blobs_of(tree)]
        return list(dict.fromkeys(found))

    async def _keep(self, attempt: Attempt, cids: list[Cid], submitter: PeerId) -> None:
        """Keep blobs here, and have one other peer hold them: the submitter, or who is connected."""
        until = wall_ms() + PIN_MS
        await trio.to_thread.run_sync(self._blobs.pin_all, cids, attempt.run.text, until)
        connected = self._reach.connected()
        others = [peer for peer in dict.fromkeys([submitter, *connected]) if peer != self._peer and peer in connected]
        for peer in others[:HOLDERS_TRIED]:
            with trio.move_on_after(HOLD_SECONDS + len(cids) * HOLD_SECONDS_EACH):
                try:
                    for start in range(0, len(cids), HELD_AT_ONCE):
                        wanted = cids[start : start + HELD_AT_ONCE]
                        if not set(wanted) <= await self._reach.ask_to_hold(peer, wanted):
                            break
                    else:
                        return
                except P2pwfError as error:
                    log.info("not copied", peer=peer, error=error.message)


def _failed(running: Running, message: str) -> JobResult:
    """A job that this peer could not run; what it says of that may name anything that the job works with."""
    return JobResult(outcome="failure", conclusion="failure", error=running.masker.mask(message))
