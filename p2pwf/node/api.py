"""What a node offers to its faces: the methods behind the control API, over one running node.

Every method gives JSON-able values or raises a P2pwfError. Shapes: protocols/control.md, and each method's words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio

from p2pwf import __version__
from p2pwf.config import EXTERNAL, NATIVE
from p2pwf.core.events import SignedBlock
from p2pwf.engine import inputs as to_engine
from p2pwf.errors import Refused, UsageError
from p2pwf.node import external, members, views
from p2pwf.node.eventlog import events
from p2pwf.node.following import LogReader
from p2pwf.node.node import Node
from p2pwf.node.policing import read_anew
from p2pwf.node.reruns import body_again
from p2pwf.node.results import artifact_files, artifact_rows, reports
from p2pwf.node.schedules import add_schedule, list_schedules, remove_schedule
from p2pwf.node.settings import list_secrets, list_variables, remove, set_secret, set_variable
from p2pwf.node.standing import is_removed, require_member
from p2pwf.node.submitting import pins, require_ready, submit
from p2pwf.node.taking import check, facts, opened, take
from p2pwf.node.verify import verify_store
from p2pwf.requests import SubmitRequest
from p2pwf.runs import Run
from p2pwf.runs.view import FINAL, decision, explain, find_leg, status, unowned

log = structlog.get_logger()


class NodeApi:
    """The control API's methods on a running node."""

    def __init__(self, node: Node, stop: trio.Event) -> None:
        self._node = node
        self._stop = stop
        self.left = False
        """Whether this node leaves its network by its own will."""
        self.control = ""
        """The path of the control socket, once it is served."""

    # -- the node -----------------------------------------------------------------------------------------------

    async def info(self) -> dict[str, Any]:
        """{peer_id, name, addrs, network, control, version, started_at (ms), ready, removed}."""
        node = self._node
        return {
            "peer_id": node.me,
            "name": node.identity.name,
            "addrs": [] if node.network is None else node.network.addresses(),
            "network": node.identity.network.text,
            "control": self.control,
            "version": __version__,
            "started_at": node.started.wall,
            "ready": node.shell.ready.is_set() and not is_removed(node.engine),
            "removed": is_removed(node.engine),
        }

    async def status(self) -> dict[str, Any]:
        """`info` with {roles, labels, slots, running_jobs, connected_peers, peer_count, private, alarms, frozen}."""
        node, desk = self._node, self._node.engine.desk
        member = desk.roster.members.get(node.me)
        return {
            **await self.info(),
            "roles": sorted(member.roles) if member else [],
            "labels": list(node.identity.labels),
            "slots": node.identity.slots,
            "running_jobs": len(node.engine.conductor.work.local),
            "connected_peers": len(node.engine.syncer.connected),
            "peer_count": len(desk.roster.members),
            "private": node.identity.psk is not None,
            "alarms": list(node.shell.alarms),
            "frozen": desk.frozen,
            "paused": node.engine.conductor.paused,
            "executor": EXTERNAL if desk.config.external else NATIVE,
        }

    async def stats(self) -> dict[str, Any]:
        """Counts of runs, events, queues; {store, blobs, net} statistics of the parts."""
        node = self._node
        return {
            **views.stats(node.engine),
            "store": await trio.to_thread.run_sync(node.store.statistics),
            "blobs": await trio.to_thread.run_sync(node.blobs.statistics),
            "net": {} if node.network is None else node.network.statistics(),
            "holds": dict(node.holds.counts),
            "messages_dropped": node.shell.dropped,
        }

    async def shutdown(self) -> dict[str, Any]:
        """Stop the node, as SIGTERM does; {stopping: true}."""
        self._stop.set()
        return {"stopping": True}

    async def pause(self, on: bool) -> dict[str, Any]:
        """Start no more jobs here, or go on: {paused, running_jobs}."""
        made: dict[str, Any] = await self._node.loop.ask(partial(to_engine.Pause, on=on))
        return made

    async def policy_reload(self) -> dict[str, Any]:
        """Read [policy] of config.toml anew, and judge by it what has not started here: {origin, rules}.

        Raises UsageError for one that cannot be read: then the policy of before still holds."""
        node = self._node
        node.gatekeeper.policy = policy = await trio.to_thread.run_sync(read_anew, node.settings)
        await node.loop.ask(to_engine.PolicyChanged)
        log.info("the policy was read anew", origin=policy.origin, rules=len(policy.rules))
        return {"origin": policy.origin, "rules": [rule.to_json() for rule in policy.rules]}

    async def leave(self, keep_runs: bool) -> dict[str, Any]:
        """Hand on what this node owns, leave the network, and stop; {peer_id, removed}."""
        members.require_other_admin(self._node)
        await self._node.stop()
        self.left = True
        made = await members.leave(self._node, keep_runs)
        self._stop.set()
        return made

    # -- members ------------------------------------------------------------------------------------------------

    async def invite(self, ttl: float, roles: list[str]) -> dict[str, Any]:
        """A ticket good once; see members.invite."""
        return await members.invite(self._node, ttl, roles)

    async def peers(self, pending: bool) -> list[dict[str, Any]]:
        """The members, see members.list_members; or, with `pending`, who asks to be admitted."""
        return views.pending_peers(self._node.engine) if pending else members.list_members(self._node)

    async def peer_ping(self, peer: str) -> dict[str, Any]:
        """One round trip to a member; see members.ping."""
        return await members.ping(self._node, peer)

    async def peer_add(self, peer_id: str, name: str | None, roles: list[str]) -> dict[str, Any]:
        """Admit a peer; see members.admit."""
        return await members.admit(self._node, peer_id, name, roles)

    async def peer_remove(self, peer: str, keep_runs: bool) -> dict[str, Any]:
        """Remove a member; see members.remove."""
        return await members.remove(self._node, peer, keep_runs)

    # -- runs ---------------------------------------------------------------------------------------------------

    async def submit(self, request: SubmitRequest) -> dict[str, Any]:
        """Start a run: {workflow_id, status, copies, name, left_out, warnings}; durable here when it returns."""
        made = await submit(self._node, request)
        return {**made, "status": status(await self._run(made["workflow_id"]))}

    async def rerun(self, name: str, failed: bool, jobs: list[str]) -> dict[str, Any]:
        """Submit an ended run once more, or what of it failed: {workflow_id, status, copies, rerun_of}."""
        run = await self._run(name)
        body = await body_again(self._node, run, failed, jobs)
        answer = await self._node.loop.ask(partial(to_engine.Submit, body=body))
        made = await self._run(answer["workflow_id"])
        return {**answer, "status": status(made), "rerun_of": run.id.text}

    async def assign(self) -> list[dict[str, Any]]:
        """Look again at every job that has no owner; see runs.view.decision for what is said of each."""
        node = self._node
        require_member(node.engine)
        open_before = [(run, key) for run in node.engine.desk.active.values() for key in unowned(run)]
        await node.loop.ask(to_engine.Place)
        roster = node.engine.desk.roster
        return [decision(run, key, roster) for run, key in open_before]

    async def list_runs(self, wanted: str | None, peer: str | None) -> list[dict[str, Any]]:
        """Runs, newest first, without jobs; filtered by status, and by a peer owning at least one job."""
        return views.list_runs(
            self._node.engine, wanted, None if peer is None else views.find_peer(self._node.engine, peer)
        )

    async def run_status(self, name: str) -> dict[str, Any]:
        """One run with its jobs; see runs.view.detail."""
        return views.run_status(self._node.engine, await self._run(name))

    async def _run(self, name: str) -> Run:
        """The run that a user names, whole in memory."""
        cid = views.find_run(self._node.engine, name)
        await self._node.recall(cid)
        return self._node.engine.desk.runs[cid]

    async def cancel(self, name: str, force: bool = False) -> dict[str, Any]:
        """Ask for a run to be cancelled; {workflow_id}. `force`: what its `if` lets go on is stopped too."""
        require_member(self._node.engine)
        made: dict[str, Any] = await self._node.loop.ask(
            partial(to_engine.CancelRun, run=views.find_run(self._node.engine, name), force=force)
        )
        return made

    async def update(
        self,
        name: str,
        wanted: str | None,
        priority: float | None,
        result: object = None,
        error: str | None = None,
        job: str | None = None,
    ) -> dict[str, Any]:
        """Change a run: its priority, its status to cancelled, or what became of jobs that clients run here."""
        run = await self._run(name)
        if wanted is None and priority is None:
            raise UsageError("nothing to change", "give a status or --priority")
        if wanted not in (None, "cancelled", *external.STATUSES):
            raise Refused(f"no run becomes {wanted!r} because somebody says so", "its peers record where it stands")
        if wanted not in external.STATUSES and not (result is error is job is None):
            raise Refused(
                "results and errors are recorded by the peers that run the jobs", "see `p2pwf workflow status`"
            )
        require_member(self._node.engine)
        if wanted in external.STATUSES:
            if run.tally.end is not None:
                raise Refused("the run has ended, and that stays", "see `p2pwf workflow status`")
            await external.record(self._node, run, wanted, job, result, error)
        if priority is not None:
            await self._node.loop.ask(partial(to_engine.SetPriority, run=run.id, priority=priority))
        if wanted == "cancelled":
            await self.cancel(name)
        return await self.run_status(run.id.text)

    async def watch(self, name: str) -> AsyncIterator[dict[str, Any]]:
        """`run_status` now and whenever it looks different, until it is final."""
        run = await self._run(name)
        shell = self._node.shell
        last: dict[str, Any] | None = None
        while True:
            version = shell.version
            view = views.run_status(self._node.engine, run)
            if view != last:
                last = view
                yield view
            if view["status"] in FINAL:
                return
            await shell.wait_changed(version)

    async def artifacts(self, name: str) -> list[dict[str, Any]]:
        """What the jobs of a run have left; see results.artifact_rows."""
        return artifact_rows(self._node, await self._run(name))

    async def artifact_files(self, name: str, artifact: str) -> AsyncIterator[dict[str, Any]]:
        """The files of an artifact; see results.artifact_files."""
        async with aclosing(artifact_files(self._node, await self._run(name), artifact)) as lines:
            async for line in lines:
                yield line

    async def reports(self, name: str) -> list[dict[str, Any]]:
        """What the steps of a run's jobs came to; see results.reports."""
        return await reports(self._node, await self._run(name))

    async def explain(self, name: str, job: str) -> dict[str, Any]:
        """Why a job is where it is; see runs.view.explain."""
        run = await self._run(name)
        key, engine = find_leg(run, job), self._node.engine
        return {**explain(run, key, engine.desk.roster), "waiting": views.waiting_for(engine, run, key)}

    async def logs(self, name: str, job: str | None, follow: bool) -> AsyncIterator[dict[str, Any]]:
        """Log lines of a run; see following.LogReader."""
        async with aclosing(LogReader(self._node).lines(await self._run(name), job, follow)) as lines:
            async for line in lines:
                yield line

    # -- schedules ----------------------------------------------------------------------------------------------

    async def schedule_add(self, request: SubmitRequest) -> dict[str, Any]:
        """Have a workflow submitted whenever it is due; see schedules.add_schedule."""
        require_ready(self._node)
        return await add_schedule(self._node, request, pins(self._node, request))

    async def schedules(self, every: bool) -> list[dict[str, Any]]:
        """The schedules that fire, or `every` one."""
        return list_schedules(self._node, every)

    async def schedule_remove(self, name: str) -> dict[str, Any]:
        """End a schedule; it."""
        return await remove_schedule(self._node, name)

    # -- secrets and variables ----------------------------------------------------------------------------------

    async def secret_set(self, name: str, value: str, environment: str | None, submitters: list[str]) -> dict[str, Any]:
        """Seal a secret to all that run jobs; see settings.set_secret."""
        require_ready(self._node)
        return await set_secret(self._node, name, value, environment, submitters)

    async def secrets(self) -> list[dict[str, Any]]:
        """The secrets, without their values; see settings.list_secrets."""
        return list_secrets(self._node)

    async def secret_remove(self, name: str, environment: str | None) -> dict[str, Any]:
        """Remove a secret; {name, environment}."""
        require_member(self._node.engine)
        return await remove(self._node, "secret", name, environment)

    async def variable_set(self, name: str, value: str, environment: str | None) -> dict[str, Any]:
        """Set a variable; see settings.set_variable."""
        require_ready(self._node)
        return await set_variable(self._node, name, value, environment)

    async def variables(self) -> list[dict[str, Any]]:
        """The variables; see settings.list_variables."""
        return list_variables(self._node)

    async def variable_remove(self, name: str, environment: str | None) -> dict[str, Any]:
        """Remove a variable; {name, environment}."""
        require_member(self._node.engine)
        return await remove(self._node, "var", name, environment)

    # -- the clock ----------------------------------------------------------------------------------------------

    async def clock_heads(self) -> list[dict[str, Any]]:
        """[{cid, author, seq, lamport}] of the heads."""
        return views.heads(self._node.engine)

    async def clock_log(self, raw: bool) -> AsyncIterator[dict[str, Any]]:
        """Every event in topological order; see eventlog.events."""
        async with aclosing(events(self._node, raw)) as lines:
            async for line in lines:
                yield line

    async def clock_verify(self) -> dict[str, Any]:
        """Check every event on disk anew, signatures and rules: {ok, events, problems: [{cid, problem}]}."""
        node = self._node
        return await trio.to_thread.run_sync(verify_store, node.store, node.identity.network)

    async def clock_checkpoint(self, days: float) -> dict[str, Any]:
        """Write a checkpoint of runs that ended so long ago: {checkpoint, applied, missing, pruned_runs, stubs}."""
        require_ready(self._node)
        made: dict[str, Any] = await self._node.loop.ask(partial(to_engine.MakeCheckpoint, days=days))
        return made

    async def clock_prune(self) -> dict[str, Any]:
        """Prune at once what may be, and say where that stands: {checkpoint, applied, missing, pruned_runs}."""
        require_member(self._node.engine)
        made: dict[str, Any] = await self._node.loop.ask(to_engine.Prune)
        return made

    async def clock_import(self, file: str) -> dict[str, Any]:
        """Take in an archive of this network's clock: {events, new, blobs}; see taking."""
        return await trio.to_thread.run_sync(self._take_in, Path(file))

    def _take_in(self, path: Path) -> dict[str, Any]:
        """The same; blocks, in a thread that trio started."""
        node, folder = self._node, Path(self._node.settings.data_dir)

        def keep(blocks: tuple[SignedBlock, ...]) -> None:
            trio.from_thread.run(node.loop.ask, partial(to_engine.TakeIn, blocks=blocks))

        with opened(path) as file:
            checked = check(file, node.store, folder)
            return facts(take(file, checked, node.identity.network, keep, node.blobs))
