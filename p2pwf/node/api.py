"""What a node offers to its faces: the methods behind the control API, over one running node.

Every method gives JSON-able values or raises a P2pwfError. Shapes: protocols/control.md, and each method's words.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import trio

from p2pwf import __version__
from p2pwf.config import EXTERNAL, NATIVE
from p2pwf.core.events import EventError, SignedBlock
from p2pwf.core.ids import PeerId
from p2pwf.core.tickets import SECRET_LENGTH, Ticket
from p2pwf.engine import inputs as to_engine
from p2pwf.engine.base import read_block
from p2pwf.errors import Refused, TryAgain, UsageError
from p2pwf.net.conduct import Standing
from p2pwf.node import external, views
from p2pwf.node.actions import Library
from p2pwf.node.following import LogReader
from p2pwf.node.loop import wall_ms
from p2pwf.node.node import Node
from p2pwf.node.reruns import body_again
from p2pwf.node.results import artifact_files, artifact_rows, reports
from p2pwf.node.schedules import add_schedule, list_schedules, remove_schedule
from p2pwf.node.settings import list_secrets, list_variables, remove, set_secret, set_variable
from p2pwf.node.sources import keep, read_workflow, take_source
from p2pwf.node.standing import is_removed, require_member
from p2pwf.node.submission import Wanted, make_body
from p2pwf.node.taking import check, facts, opened, take
from p2pwf.node.verify import verify_store
from p2pwf.requests import SubmitRequest
from p2pwf.runs import Run
from p2pwf.runs.labels import peer_label
from p2pwf.runs.view import FINAL, decision, explain, find_leg, status, unowned
from p2pwf.workflow import Diagnostic

LEAVE_SECONDS: Final = 5.0
"""How long a node that leaves waits for the others to learn of it."""
LEAVE_LOOKS: Final = 100
MAX_TTL: Final = 30 * 24 * 3600
"""Seconds a ticket may last: a month; who needs longer makes a new one."""


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
            "running_jobs": len(node.engine.conductor.local),
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

    async def leave(self, keep_runs: bool) -> dict[str, Any]:
        """Hand on what this node owns, leave the network, and stop; {peer_id, removed}."""
        node = self._node
        require_member(node.engine)
        roster = node.engine.desk.roster
        if not any(roster.holds(peer, "admin") for peer in roster.members if peer != node.me):
            raise Refused(
                "the last admin cannot leave", "make another member an admin first: p2pwf peer add ID --roles"
            )
        await node.stop()
        self.left = True
        made: dict[str, Any] = await node.loop.ask(partial(to_engine.RemoveMember, peer=node.me, keep_runs=keep_runs))
        for _ in range(LEAVE_LOOKS):  # who has learned of it hangs up
            if not node.shell.connected():
                break
            await trio.sleep(LEAVE_SECONDS / LEAVE_LOOKS)
        self._stop.set()
        return made

    # -- members ------------------------------------------------------------------------------------------------

    async def invite(self, ttl: float, roles: list[str]) -> dict[str, Any]:
        """A ticket good once: {ticket, roles, expires (ms), addrs}; `ttl` in seconds. `addrs`: what it says to dial."""
        node = self._node
        require_member(node.engine)
        if not 0 < ttl <= MAX_TTL:
            raise UsageError(f"a ticket lasts up to {MAX_TTL // 86400} days, not {ttl:g} s", "try --ttl 24h")
        if node.network is None:
            raise TryAgain("the network is not up yet", "try again in a moment")
        secret = os.urandom(SECRET_LENGTH)
        expires = wall_ms() + int(ttl * 1000)
        digest = sha256(secret).digest()
        kept = await node.loop.ask(partial(to_engine.Invite, digest=digest, roles=tuple(roles), expires=expires))
        addresses = tuple(node.network.addresses()[:16])
        ticket = Ticket(node.identity.network, addresses, secret, node.identity.psk)
        return {"ticket": ticket.to_text(), "roles": kept["roles"], "expires": expires, "addrs": list(addresses)}

    async def peers(self, pending: bool) -> list[dict[str, Any]]:
        """Members, this node included, with `latency` (ms of a round trip, None unless connected), `offences` (how
        often it broke a protocol, as far as is remembered) and `banned_for` (seconds, None unless it is kept out); or,
        with `pending`, who asks to be admitted. See views.peers."""
        if pending:
            return views.pending_peers(self._node.engine)
        network = self._node.network
        rows = views.peers(self._node.engine)
        for row in rows:
            seconds = None if network is None or row["self"] else network.latency(row["peer_id"])
            row["latency"] = None if seconds is None else round(seconds * 1000, 2)
            standing = Standing() if network is None else network.standing(row["peer_id"])
            row["offences"] = standing.offences
            row["banned_for"] = None if standing.banned_for is None else round(standing.banned_for, 1)
        return rows

    async def peer_ping(self, peer: str) -> dict[str, Any]:
        """One round trip to a member, by peer id, its end or unique name; {peer_id, name, latency (ms)}."""
        node = self._node
        require_member(node.engine)
        found = views.find_peer(node.engine, peer)
        if node.network is None or found == node.me:
            raise UsageError("that is this node itself", "see `p2pwf peer list` for the others")
        seconds = await node.network.ping(found)
        member = node.engine.desk.roster.members.get(found)
        return {"peer_id": found, "name": member.name if member else None, "latency": round(seconds * 1000, 2)}

    async def peer_add(self, peer_id: str, name: str | None, roles: list[str]) -> dict[str, Any]:
        """Admit a peer, seen or not, by its id, or by the end of one that is known; {peer_id, roles, name}."""
        require_member(self._node.engine)
        peer = views.peer_to_add(self._node.engine, peer_id)
        made: dict[str, Any] = await self._node.loop.ask(
            partial(to_engine.AddMember, peer=peer, roles=tuple(roles), name=name)
        )
        return made

    async def peer_remove(self, peer: str, keep_runs: bool) -> dict[str, Any]:
        """Remove a member, by peer id, its end or unique name; {peer_id, removed}."""
        require_member(self._node.engine)
        made: dict[str, Any] = await self._node.loop.ask(
            partial(to_engine.RemoveMember, peer=views.find_peer(self._node.engine, peer), keep_runs=keep_runs)
        )
        return made

    # -- runs ---------------------------------------------------------------------------------------------------

    async def submit(self, request: SubmitRequest) -> dict[str, Any]:
        """Start a run: {workflow_id, status, copies, name, left_out, warnings}; durable here when it returns."""
        node = self._node
        self._require_ready()
        number = 1 + max((head.lamport for head in node.engine.desk.clock.dag.heads()), default=0)
        pins = self._pins(request)
        body, diagnostics, left_out = await trio.to_thread.run_sync(self._prepare, request, number, pins)
        answer = await node.loop.ask(partial(to_engine.Submit, body=body))
        run = await self._run(answer["workflow_id"])
        return {
            "workflow_id": answer["workflow_id"],
            "status": status(run),
            "copies": answer["copies"],
            "name": body["name"],
            "left_out": list(left_out),
            "warnings": [one.to_json() for one in diagnostics],
        }

    def _require_ready(self) -> None:
        require_member(self._node.engine)
        if not self._node.shell.ready.is_set():
            raise TryAgain("this node has not joined its network yet", "wait for its ready line")

    def _pins(self, request: SubmitRequest) -> list[str]:
        """The labels that a request adds to what every job asks for."""
        return [*request.labels, *([] if request.peer is None else [peer_label(self._runner(request.peer))])]

    def _runner(self, name: str) -> PeerId:
        """The member that a user names to run jobs."""
        peer = views.find_peer(self._node.engine, name)
        member = self._node.engine.desk.roster.members.get(peer)
        if member is None or not member.can("run") or member.slots == 0:
            raise Refused(f"{name} runs no jobs", "see roles and slots in `p2pwf peer list`")
        return peer

    def _prepare(
        self, request: SubmitRequest, number: int, pins: list[str]
    ) -> tuple[dict[str, Any], tuple[Diagnostic, ...], tuple[str, ...]]:
        """The body of a submission, the warnings, what is left out of the source; blocks."""
        node = self._node
        path = Path(request.file)
        text = read_workflow(path)
        taken = take_source(path, request.source_dir, request.no_source, node.blobs)
        wanted = Wanted(
            text=text,
            source=taken.facts,
            name=request.name,
            priority=request.priority,
            event=request.event,
            payload=request.payload,
            inputs=request.inputs,
            key=request.key,
            vars=node.engine.desk.settings.values(None),
            pins=pins,
            force=request.force,
            run_id=uuid4().hex,
            run_number=number,
        )
        library = Library(node.repositories, taken.read, node.blobs)
        body, diagnostics = make_body(wanted, library)
        keep(library.manifests, node.blobs)
        return body, diagnostics, taken.left_out

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
        self._require_ready()
        return await add_schedule(self._node, request, self._pins(request))

    async def schedules(self, every: bool) -> list[dict[str, Any]]:
        """The schedules that fire, or `every` one."""
        return list_schedules(self._node, every)

    async def schedule_remove(self, name: str) -> dict[str, Any]:
        """End a schedule; it."""
        return await remove_schedule(self._node, name)

    # -- secrets and variables ----------------------------------------------------------------------------------

    async def secret_set(self, name: str, value: str, environment: str | None, submitters: list[str]) -> dict[str, Any]:
        """Seal a secret to all that run jobs; see settings.set_secret."""
        self._require_ready()
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
        self._require_ready()
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
        """Every event in topological order, as views.event_line; `raw`: {cid, block, signature} in base64."""
        nodes = sorted(self._node.engine.desk.clock.dag, key=lambda node: node.order)
        for start in range(0, len(nodes), 256):
            cids = [node.cid for node in nodes[start : start + 256]]
            for stored in await trio.to_thread.run_sync(self._node.store.get, cids):
                if stored is None:
                    continue
                if raw:
                    yield {
                        "cid": stored.cid.text,
                        "block": b64encode(stored.block).decode("ascii"),
                        "signature": b64encode(stored.signature).decode("ascii"),
                    }
                    continue
                try:
                    signed = SignedBlock(stored.block, stored.signature)
                    yield views.event_line(read_block(signed, self._node.identity.network))
                except EventError as error:
                    raise Refused(
                        f"{stored.cid.text} on disk is no event: {error}", "see `p2pwf clock verify`"
                    ) from error

    async def clock_verify(self) -> dict[str, Any]:
        """Check every event on disk anew, signatures and rules: {ok, events, problems: [{cid, problem}]}."""
        node = self._node
        return await trio.to_thread.run_sync(verify_store, node.store, node.identity.network)

    async def clock_checkpoint(self, days: float) -> dict[str, Any]:
        """Write a checkpoint of runs that ended so long ago: {checkpoint, applied, missing, pruned_runs, stubs}."""
        self._require_ready()
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
