"""What the control server needs of a node: the methods behind its routes, as a protocol. Knows no node and no HTTP.

Every method gives JSON-able values or raises a P2pwfError. The shapes are told in protocols/control.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from p2pwf.requests import SubmitRequest

JsonObject = dict[str, Any]


class ControlApi(Protocol):
    """The methods behind the control API."""

    async def info(self) -> JsonObject:
        """{peer_id, name, addrs, network, control, version, started_at (ms), ready}."""

    async def status(self) -> JsonObject:
        """`info` with {roles, labels, slots, running_jobs, connected_peers, peer_count, private, alarms, frozen,
        paused}."""

    async def stats(self) -> JsonObject:
        """Counts of runs, events and queues, and the statistics of the parts."""

    async def shutdown(self) -> JsonObject:
        """Stop the node, as SIGTERM does; {stopping: true}."""

    async def pause(self, on: bool) -> JsonObject:
        """Start no more jobs here, or go on: {paused, running_jobs}."""

    async def policy_reload(self) -> JsonObject:
        """Read the policy of this machine anew: {origin, rules}; one that cannot be read changes nothing."""

    async def leave(self, keep_runs: bool) -> JsonObject:
        """Hand on what this node owns, leave the network, and stop: {peer_id, removed}."""

    async def invite(self, ttl: float, roles: list[str]) -> JsonObject:
        """{ticket, roles, expires (ms), addrs}: a ticket good once, for `ttl` seconds."""

    async def peers(self, pending: bool) -> list[JsonObject]:
        """Members, this node included; or, with `pending`, who asks to be admitted."""

    async def peer_add(self, peer_id: str, name: str | None, roles: list[str]) -> JsonObject:
        """Admit a peer, seen or not; {peer_id, roles, name}."""

    async def peer_remove(self, peer: str, keep_runs: bool) -> JsonObject:
        """Remove a member, by peer id or unique name; {peer_id, removed}."""

    async def peer_ping(self, peer: str) -> JsonObject:
        """One round trip to a member: {peer_id, name, latency (ms)}."""

    async def submit(self, request: SubmitRequest) -> JsonObject:
        """Start a run: {workflow_id, status, copies, name, left_out, warnings}."""

    async def rerun(self, name: str, failed: bool, jobs: list[str]) -> JsonObject:
        """Submit an ended run once more, or what of it failed, or `jobs`: {workflow_id, status, copies, rerun_of}."""

    async def assign(self) -> list[JsonObject]:
        """Look again at every job that has no owner: [{workflow_id, job, name, owner}]."""

    async def list_runs(self, wanted: str | None, peer: str | None) -> list[JsonObject]:
        """Runs, newest first, without jobs; filtered by status, and by a peer owning at least one job."""

    async def run_status(self, name: str) -> JsonObject:
        """One run with its jobs."""

    async def cancel(self, name: str, force: bool = False) -> JsonObject:
        """Ask for a run to be cancelled; {workflow_id}. `force`: what its `if` lets go on is stopped too."""

    async def update(
        self,
        name: str,
        wanted: str | None,
        priority: float | None,
        result: object = None,
        error: str | None = None,
        job: str | None = None,
    ) -> JsonObject:
        """Change a run, or what became of jobs of it that a client runs; its new `run_status`."""

    def watch(self, name: str) -> AsyncIterator[JsonObject]:
        """`run_status` now and whenever it looks different, until it is final."""

    async def artifacts(self, name: str) -> list[JsonObject]:
        """[{name, size, job, attempt, link}] that a run's jobs have left."""

    def artifact_files(self, name: str, artifact: str) -> AsyncIterator[JsonObject]:
        """The files of an artifact: {path, mode, size, target}, each followed by its bytes as {data} in base64."""

    async def reports(self, name: str) -> list[JsonObject]:
        """[{job, name, index, attempt, report}] of the legs that have ended."""

    async def explain(self, name: str, job: str) -> JsonObject:
        """Why a job is where it is."""

    def logs(self, name: str, job: str | None, follow: bool) -> AsyncIterator[JsonObject]:
        """Log lines {job, name, attempt, time (ms), step, stream, text}; with `follow` until each job has ended."""

    async def schedule_add(self, request: SubmitRequest) -> JsonObject:
        """Have a workflow submitted whenever it is due: the schedule, with {left_out, warnings}."""

    async def schedules(self, every: bool) -> list[JsonObject]:
        """The schedules that fire, or `every` one that there was."""

    async def schedule_remove(self, name: str) -> JsonObject:
        """End a schedule; it."""

    async def secret_set(self, name: str, value: str, environment: str | None, submitters: list[str]) -> JsonObject:
        """Seal a secret to all that run jobs; its row, without the value."""

    async def secrets(self) -> list[JsonObject]:
        """[{name, environment, updated_at (ms), updated_by, submitters, sealed_to, lacking, rotate}]."""

    async def secret_remove(self, name: str, environment: str | None) -> JsonObject:
        """{name, environment}."""

    async def variable_set(self, name: str, value: str, environment: str | None) -> JsonObject:
        """Set a variable; its row."""

    async def variables(self) -> list[JsonObject]:
        """[{name, environment, value, updated_at (ms), updated_by}]."""

    async def variable_remove(self, name: str, environment: str | None) -> JsonObject:
        """{name, environment}."""

    async def clock_heads(self) -> list[JsonObject]:
        """[{cid, author, seq, lamport}] of the heads."""

    def clock_log(self, raw: bool) -> AsyncIterator[JsonObject]:
        """Every event in topological order; `raw`: {cid, block, signature} in base64."""

    async def clock_verify(self) -> JsonObject:
        """Check every event on disk anew: {ok, events, problems: [{cid, problem}]}."""

    async def clock_checkpoint(self, days: float) -> JsonObject:
        """Write a checkpoint of runs that ended so long ago: {checkpoint, applied, missing, pruned_runs, stubs}."""

    async def clock_prune(self) -> JsonObject:
        """Prune at once what may be: {checkpoint, applied, missing, pruned_runs}."""

    async def clock_import(self, file: str) -> JsonObject:
        """Take in an archive of this network's clock, all of it or nothing: {events, new, blobs}."""
