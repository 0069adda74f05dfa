"""The shell around an engine that is alone: no store, no network, one run. Performs its outputs; decides nothing.

Theory of operation. A network of one is founded in memory, the run is submitted to it, and every job that the engine
starts becomes a task; how it ended is the next input. The first Ctrl-C cancels the run, as a user would on the network;
the second ends everything at once. Whichever way it ends, no process and no file of a job is left.
"""

from __future__ import annotations

import os
import platform
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import trio

from p2pwf import __version__
from p2pwf.clock.messages import Attempt
from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, parse_cid
from p2pwf.core.sign import Signer
from p2pwf.engine import Engine, EngineConfig, found
from p2pwf.engine.inputs import CancelRun, Input, JobEnded, Now, Submit, Tick
from p2pwf.engine.outputs import Alarm, CancelJob, Output, Reply, StartJob, WakeAt
from p2pwf.errors import InternalError, P2pwfError, StorageError
from p2pwf.isolation import NO_NETWORK, Level, asked_level
from p2pwf.node.planner import WorkflowPlanner, facts_of
from p2pwf.oneshot.ahead import Ahead
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.oneshot.keep import CacheFolder, artifact_folder, cache_home
from p2pwf.oneshot.prepare import ISOLATION, Prepared, anywhere
from p2pwf.oneshot.request import Outcome, RunRequest, Tell, Told
from p2pwf.oneshot.telling import JobTeller, RunTeller, now_ms
from p2pwf.runner.checkout import layout
from p2pwf.runner.environment import Folders
from p2pwf.runner.job import run_job
from p2pwf.runner.jobfiles import remove_tree
from p2pwf.runner.pack import pack
from p2pwf.runner.processes import Spawner
from p2pwf.runner.values import (
    Artifact,
    Cache,
    JobRequest,
    JobResult,
    PinnedAction,
    RunnerEnv,
    Stored,
)
from p2pwf.runs import Run

if TYPE_CHECKING:
    from p2pwf.oneshot.apart import Apart

SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SMALL_SOURCE: Final = 1024 * 1024
SHORT_JOB_MS: Final = 1000
DEAD_FOLDERS: Final = 64
"""Folders of ended jobs that may wait to be removed together, if each holds little."""


class LocalPlanner(WorkflowPlanner):
    """The planner of one machine: whatever label a job asks for, it runs here."""

    def expand(self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Value]]:
        """The legs of a job whose matrix depends on needs."""
        return cast("list[dict[str, Value]]", anywhere(super().expand(submission, job, needs)))


def _now() -> Now:
    return Now(time.monotonic(), now_ms())


@attrs.define(slots=True, eq=False)
class Running:
    """A job under way."""

    cancel: trio.Event
    teller: JobTeller


class OneShot:
    """One run from its submission to its end."""

    def __init__(
        self,
        request: RunRequest,
        prepared: Prepared,
        blobs: FolderBlobs,
        spawner: Spawner,
        work: Path,
        ahead: Ahead,
        tell: Tell,
    ) -> None:
        self._request = request
        self._prepared = prepared
        self._blobs = blobs
        self._spawner = spawner
        self._work = work
        self._ahead = ahead
        self._teller = RunTeller(tell, request.secrets.values(), self._leave)
        self._inputs: deque[Input] = deque()
        self._arrived = trio.Event()
        self._running: dict[Attempt, Running] = {}
        self._results: dict[Attempt, JobResult] = {}
        self._artifacts: list[Artifact] = []
        self._interrupted: int | None = None
        self._killed = False
        self._caches = CacheFolder(cache_home(), prepared.source.root, blobs)
        self._name = platform.node() or "local"
        self._wake = 0.0
        self._removing = trio.CapacityLimiter(1)
        self._dead: list[Path] = []
        self._apart: Apart | None = None
        self._nursery: trio.Nursery
        self._planner = LocalPlanner()
        self._engine = self._found()
        self._run: Run

    def _found(self) -> Engine:
        """The engine of a network that is this process alone."""
        signer = Signer(os.urandom(32))
        slots = self._request.slots
        founder = {"name": self._name, "labels": sorted(ISOLATION), "slots": slots}
        genesis = found(signer, _now(), nonce=os.urandom(16), name=self._name, private=False, founder=founder)
        config = EngineConfig(boot=os.urandom(8), version=__version__, slots=slots, planner=self._planner)
        engine = Engine(signer, genesis.cid, config, _now())
        engine.load([genesis.signed], {})
        return engine

    # -- the loop -----------------------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Run to the end. Raises what the engine refused the submission with, and our own bugs."""
        with trio.open_signal_receiver(*SIGNALS) as signals:
            submission = self._engine.handle(Submit("run", self._prepared.body), _now())
            reply = next(output for output in submission if isinstance(output, Reply))
            if reply.error is not None:
                raise reply.error
            self._run = self._engine.desk.runs[parse_cid(reply.result["workflow_id"])]
            try:
                await self._conduct(signals, submission)
            except BaseExceptionGroup as group:
                raise _first(group) from None
        if self._teller.failed is not None:
            raise self._teller.failed
        word = "cancelled" if self._killed else str(self._run.tally.conclusion())
        kept = [] if self._killed else await self._keep_artifacts()
        outcome = Outcome(word, self._interrupted)
        called = {name: cast(str, self._prepared.body[name]) for name in ("name", "title")}
        self._teller.ended(self._run, called, outcome, self._outputs(), kept)
        return outcome

    async def _conduct(self, signals: AsyncIterator[int], submission: Sequence[Output]) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._obey, signals, nursery.cancel_scope)
            self._perform(nursery, submission)
            while not self._over():
                self._perform(nursery, self._engine.handle(await self._next(), _now()))
            nursery.cancel_scope.cancel()
        if self._apart is not None:
            self._apart.close()

    def _over(self) -> bool:
        return self._run.tally.end is not None and not self._running

    async def _next(self) -> Input:
        """The next input; a Tick when the engine wants one."""
        if not self._inputs:
            self._arrived = trio.Event()
            with trio.move_on_after(max(0.0, self._wake - time.monotonic())):
                await self._arrived.wait()
        return self._inputs.popleft() if self._inputs else Tick()

    def _leave(self) -> None:
        self._nursery.cancel_scope.cancel()

    def _put(self, input: Input) -> None:
        self._inputs.append(input)
        self._arrived.set()

    async def _obey(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            if self._interrupted is not None:
                self._killed = True
                scope.cancel()
                return
            self._interrupted = number
            self._put(CancelRun("cancel", self._run.id))

    def _perform(self, nursery: trio.Nursery, outputs: Sequence[Output]) -> None:
        self._teller.finished(self._run)
        for output in outputs:
            match output:
                case StartJob():
                    running = self._begin(output)
                    nursery.start_soon(self._run_job, output, running)
                case CancelJob():
                    if output.attempt in self._running:
                        self._running[output.attempt].cancel.set()
                case WakeAt():
                    self._wake = output.mono
                case Alarm():
                    raise InternalError(output.message, output.hint)
                case _:
                    pass  # stores, messages and members: nobody is there

    # -- jobs ---------------------------------------------------------------------------------------------------

    def _begin(self, order: StartJob) -> Running:
        running = self._running[order.attempt] = Running(trio.Event(), self._teller.started(order))
        return running

    async def _run_job(self, order: StartJob, running: Running) -> None:
        attempt = order.attempt
        try:
            request, env = self._job_request(order), self._runner_env(running)
            wanted = max(self._request.isolation, asked_level(order.labels))
            if wanted > Level.none or NO_NETWORK in order.labels:
                env = await self._isolated(order, env)
            result = await run_job(request, env)
        except (P2pwfError, OSError) as error:
            result = JobResult(outcome="failure", conclusion="failure", error=str(error))
        except Exception as error:  # noqa: BLE001 - one job's bug is that job's failure, and is told
            result = JobResult(outcome="failure", conclusion="failure", error=f"a bug of ours: {error!r}")
        running.teller.annotate(result.annotations)
        self._artifacts.extend(attrs.evolve(one, job=attempt.job, attempt=attempt.number) for one in result.artifacts)
        for cache in result.caches:
            try:
                await trio.to_thread.run_sync(self._caches.save, cache)
            except P2pwfError as error:
                self._teller.warn(error.message)
        del self._running[attempt]
        self._put(
            JobEnded(
                attempt=attempt,
                conclusion=result.conclusion,
                outcome=result.outcome,
                outputs=dict(result.outputs),
                artifacts=[{"name": one.name, "link": one.link, "size": one.size} for one in result.artifacts],
                caches=[attrs.asdict(one, recurse=False) for one in result.caches],
                error=result.error,
            )
        )

    def _job_request(self, order: StartJob) -> JobRequest:
        body = order.submission.body
        attempt = order.attempt
        actions = cast("Mapping[str, Mapping[str, Any]]", body["actions"])
        return JobRequest(
            run=attempt.run.text,
            job_id=attempt.job,
            leg=attempt.leg,
            attempt=attempt.number,
            workflow_text=cast(str, body["workflow"]),
            workflow_path=cast(str, body["path"]),
            facts=attrs.asdict(facts_of(order.submission, attempt.number), recurse=False),
            needs=cast("dict[str, dict[str, Any]]", order.needs),
            matrix=cast("dict[str, Any] | None", order.matrix),
            leg_name=order.leg_name,
            legs=len(self._run.tally.job_legs(attempt.job) or ()),
            source=cast("Cid | None", body["source"]),
            runner_name=self._name,
            secrets=self._request.secrets,
            env=self._request.env,
            called=cast("Mapping[str, str]", body["called"]),
            actions={uses: PinnedAction(sha=one["sha"], source=one["source"]) for uses, one in actions.items()},
        )

    def _runner_env(self, running: Running) -> RunnerEnv:
        return RunnerEnv(
            work_root=self._work,
            log=running.teller,
            fetch_blob=self._fetch,
            spawner=self._spawner,
            store_folder=self._store_folder,
            artifacts=self._known_artifacts,
            find_cache=self._find_cache,
            cancel=running.cancel,
            prefill=True,
            ahead=self._take,
            progress=running.teller,
            discard=partial(self._discard, now_ms()),
            now_ms=now_ms,
        )

    async def _isolated(self, order: StartJob, env: RunnerEnv) -> RunnerEnv:
        """What a job runs in that is kept apart; raises Refused where it cannot be."""
        if self._apart is None:
            from p2pwf.oneshot.apart import Apart  # noqa: PLC0415 - most runs keep nothing apart

            self._apart = Apart(self._work, self._spawner, self._request.isolation_image)
        return await self._apart.env(order, self._planner.flow(order.submission), env, self._request.isolation)

    async def _take(self, folders: Folders) -> bool:
        taken = await self._ahead.take(folders)
        if self._teller.jobs < self._planned():
            self._ahead.order()
        return taken

    def _planned(self) -> int:
        """How many legs the run will have, as far as that is known."""
        tally = self._run.tally
        return sum(len(tally.job_legs(job) or ()) for job in self._run.plan.jobs)

    async def _fetch(self, cid: Cid) -> Path:
        return self._blobs.path(cid)

    def _discard(self, since: int, folder: Path) -> None:
        """Have a job's folder removed beside what goes on, so that no job waits for a disk.

        That of a short job on a small source holds little: some of them may wait for the end, when all goes.
        """
        self._dead.append(folder)
        small = self._prepared.source.bytes <= SMALL_SOURCE and now_ms() - since <= SHORT_JOB_MS
        if not small or len(self._dead) >= DEAD_FOLDERS:
            dead, self._dead = self._dead, []
            self._nursery.start_soon(partial(trio.to_thread.run_sync, _remove, dead, limiter=self._removing))

    async def _store_folder(self, folder: Path, chosen: frozenset[str] | None) -> Stored:
        return await trio.to_thread.run_sync(pack, folder, chosen, self._blobs)

    async def _known_artifacts(self) -> tuple[Artifact, ...]:
        return tuple(self._artifacts)

    async def _find_cache(self, keys: tuple[str, ...], version: str) -> Cache | None:
        return await trio.to_thread.run_sync(self._caches.find, keys, version)

    def _outputs(self) -> dict[str, str]:
        """What the file gives to whoever calls it."""
        if not self._prepared.called or self._killed:
            return {}
        tally = self._run.tally
        ended = {job: {"result": tally.result(job) or "", "outputs": tally.outputs(job)} for job in self._run.plan.jobs}
        try:
            return self._planner.flow(self._run.submission).outputs(ended)
        except P2pwfError as error:
            self._teller.warn(f"no outputs: {error.message}")
            return {}

    async def _keep_artifacts(self) -> list[Told]:
        """Lay the artifacts of the run out where the user finds them; of one name the last one."""
        latest = {one.name: one for one in self._artifacts}
        if not latest:
            return []
        kept: list[Told] = []
        try:
            root = self._request.artifacts or artifact_folder(cache_home(), self._run.id.text)
            for name, artifact in latest.items():
                folder = root / safe_name(name)
                await layout(artifact.link, self._fetch, folder)
                kept.append({"name": name, "path": str(folder), "size": artifact.size})
        except (StorageError, OSError) as error:
            self._teller.warn(f"artifacts are not kept: {error}")
        return kept


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        remove_tree(folder)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of a group's errors: ours, if there is one."""
    found: list[BaseException] = [group]
    while any(isinstance(one, BaseExceptionGroup) for one in found):
        found = [leaf for one in found for leaf in (one.exceptions if isinstance(one, BaseExceptionGroup) else (one,))]
    return next((one for one in found if isinstance(one, P2pwfError)), found[0])


def safe_name(name: str) -> str:
    """An artifact's name as that of a folder."""
    clean = "".join("_" if one in '/\\:<>|*?"\0\r\n' else one for one in name)
    return f"_{clean}" if clean in ("", ".", "..") else clean
