"""A control API over a dict of runs, and a server on a real Unix socket: what the tests of control and CLI talk to."""

from __future__ import annotations

import os
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import trio

from p2pwf import __version__
from p2pwf.control.api import JsonObject
from p2pwf.control.client import Client
from p2pwf.control.server import serve_control
from p2pwf.errors import InvalidWorkflow, NotFound, Refused, UsageError
from p2pwf.requests import SubmitRequest

ME = "12D3KooWADt5TZUHQSqou4VRdWzwJcQHhuttKYKtfiF1kqS3Paek"
OTHER = "12D3KooWPzsNHfvpXT4EbZEWZpjRynEtoktdiG1bXf1YdKozCMer"
FINAL = ("completed", "failed", "cancelled")
START = 1_700_000_000_000


class MemoryApi:
    """Runs in a dict: each of a job `build` and a job `m` of two legs; a test says what becomes of them."""

    def __init__(self) -> None:
        self.runs: dict[str, JsonObject] = {}
        self.lines: list[JsonObject] = []
        self.left: dict[str, bytes] = {}
        """Artifacts of every run, each a program of these bytes and a link to it."""
        self.paused = False
        self.planned: list[JsonObject] = []
        self.sealed: list[tuple[JsonObject, str]] = []
        """Secrets as they are listed, each with its value."""
        self.plain: list[JsonObject] = []
        self.told: JsonObject | None = None
        """The report of every job."""
        self.requests: list[SubmitRequest] = []
        self.members: dict[str, JsonObject] = {
            ME: self._member(ME, "alice", ["admin", "run", "submit"]),
            OTHER: self._member(OTHER, "bob", ["run"]),
        }
        self.open_streams = 0
        self.stopped = trio.Event()
        self._changed = trio.Event()

    def _member(self, peer: str, name: str | None, roles: list[str]) -> JsonObject:
        return {
            "peer_id": peer, "name": name, "roles": roles, "labels": ["linux"], "slots": 2,
            "connected": peer == ME, "last_seen": 0.0 if peer == ME else None, "latency": None,
            "offences": 0, "banned_for": None,
            "self": peer == ME, "load": 1, "version": "0.1.0", "clock_ahead": 0,
        }  # fmt: skip

    def changed(self) -> None:
        """Wake whoever watches."""
        self._changed.set()
        self._changed = trio.Event()

    def end(self, run: str, conclusion: str) -> None:
        """End a run with every job of one conclusion."""
        words = {"success": "completed", "failure": "failed", "cancelled": "cancelled"}
        view = self.runs[run]
        view.update(status=words[conclusion], conclusion=conclusion, started_at=START, completed_at=START + 1500)
        for job in view["jobs"]:
            job.update(status="completed", conclusion=conclusion, started_at=START, completed_at=START + 1500)
        self.changed()

    async def info(self) -> JsonObject:
        return {
            "peer_id": ME, "name": "alice", "addrs": ["/ip4/127.0.0.1/tcp/4001/p2p/" + ME], "network": "bafynet",
            "control": "sock", "version": __version__, "started_at": START, "ready": True, "removed": False,
        }  # fmt: skip

    async def status(self) -> JsonObject:
        return {
            **await self.info(), "roles": ["run"], "labels": ["linux"], "slots": 2, "running_jobs": 0,
            "connected_peers": 1, "peer_count": 2, "private": False, "alarms": [], "frozen": False,
            "paused": self.paused,
        }  # fmt: skip

    async def stats(self) -> JsonObject:
        return {"peer_id": ME, "total_workflows": len(self.runs), "store": {"commits": 3}}

    async def shutdown(self) -> JsonObject:
        self.stopped.set()
        return {"stopping": True}

    async def invite(self, ttl: float, roles: list[str]) -> JsonObject:
        address = f"/ip4/{'127.0.0.1' if 'admin' in roles else '192.0.2.1'}/tcp/4070/p2p/{ME}"
        return {
            "ticket": "p2pwf1abc", "roles": sorted(roles), "expires": START + int(ttl * 1000), "addrs": [address]
        }  # fmt: skip

    async def peers(self, pending: bool) -> list[JsonObject]:
        return [] if pending else list(self.members.values())

    async def peer_add(self, peer_id: str, name: str | None, roles: list[str]) -> JsonObject:
        self.members[peer_id] = self._member(peer_id, name, roles)
        return {"peer_id": peer_id, "roles": roles, "name": name}

    async def peer_remove(self, peer: str, keep_runs: bool) -> JsonObject:
        if peer not in self.members:
            raise NotFound(f"no peer {peer!r}", "see `p2pwf peer list`")
        del self.members[peer]
        return {"peer_id": peer, "removed": True}

    async def peer_ping(self, peer: str) -> JsonObject:
        for row in self.members.values():
            if peer in (row["peer_id"], row["name"]):
                return {"peer_id": row["peer_id"], "name": row["name"], "latency": 1.25}
        raise NotFound(f"no peer {peer!r}")

    async def submit(self, request: SubmitRequest) -> JsonObject:
        try:
            text = await trio.Path(request.file).read_text()
        except OSError as error:
            raise UsageError(f"cannot read {request.file}: {error.strerror}", "give a workflow file") from error
        if "jobs:" not in text:
            found: tuple[dict[str, object], ...] = tuple(
                {"line": line, "column": 3, "severity": "error", "code": "x", "message": f"bad {line}", "hint": None}
                for line in (4, 7)
            )
            raise InvalidWorkflow("a.yml:4:3: bad 4 (and 1 more)", "mend it", found)
        self.requests.append(request)
        run = f"bafyreirun{len(self.runs):08}"
        self.runs[run] = {
            "workflow_id": run, "name": request.name or "demo", "status": "assigned", "conclusion": None,
            "priority": request.priority, "tags": ["p2p-workflow"], "submitted_by": ME, "assigned_peer": ME,
            "result": None, "error": None, "cancel_requested": False, "created_at": START, "started_at": None,
            "completed_at": None,
            "jobs": [self._job("build", "build", None, 0), self._job("m", "m (1)", {"n": 1}, 0),
                     self._job("m", "m (2)", {"n": 2}, 1)],
        }  # fmt: skip
        self.changed()
        return {
            "workflow_id": run, "status": "assigned", "copies": 2, "name": request.name or "demo", "left_out": [".env"],
            "warnings": [],
        }  # fmt: skip

    def _job(self, job: str, name: str, matrix: JsonObject | None, index: int) -> JsonObject:
        return {
            "job": job, "name": name, "matrix": matrix, "index": index, "needs": [], "status": "queued",
            "conclusion": None, "outcome": None, "owner": ME, "attempt": 1, "outputs": {}, "error": None, "log": None,
            "started_at": None, "completed_at": None,
        }  # fmt: skip

    def run(self, name: str) -> JsonObject:
        """The run of a name."""
        found = [view for run, view in self.runs.items() if run.startswith(name) or run.endswith(name)]
        if len(found) != 1:
            raise NotFound(f"no run {name!r}", "see `p2pwf workflow list`")
        return found[0]

    async def rerun(self, name: str, failed: bool, jobs: list[str]) -> JsonObject:
        run = self.run(name)
        if run["status"] not in FINAL:
            raise Refused("the run has not ended", "wait for it, or cancel it first")
        made = f"bafyreirun{len(self.runs):08}"
        wanted = [one for one in run["jobs"] if not jobs or one["job"] in jobs]
        again = [self._job(one["job"], one["name"], one["matrix"], one["index"]) for one in wanted]
        self.runs[made] = {**run, "workflow_id": made, "status": "assigned", "conclusion": None, "jobs": again}
        self.changed()
        return {"workflow_id": made, "status": "assigned", "copies": 1, "rerun_of": run["workflow_id"]}

    async def artifacts(self, name: str) -> list[JsonObject]:
        self.run(name)
        return [
            {"name": one, "size": len(content), "job": "build", "attempt": 1, "link": f"bafy{one}"}
            for one, content in self.left.items()
        ]

    async def artifact_files(self, name: str, artifact: str) -> AsyncIterator[JsonObject]:
        self.run(name)
        content = self.left[artifact]
        yield {"path": "deep/file.txt", "mode": "program", "size": len(content), "target": None}
        for start in range(0, len(content), 4):
            yield {"data": b64encode(content[start : start + 4]).decode()}
        yield {"path": "link", "mode": "link", "size": 8, "target": "deep/file.txt"}

    async def reports(self, name: str) -> list[JsonObject]:
        return [
            {"job": job["job"], "name": job["name"], "index": job["index"], "attempt": 1, "report": self.told}
            for job in self.run(name)["jobs"]
            if job["conclusion"] is not None
        ]

    async def schedule_add(self, request: SubmitRequest) -> JsonObject:
        self.requests.append(request)
        row: JsonObject = {
            "schedule_id": f"bafyschedule{len(self.planned):04}", "name": request.name or "nightly", "path": "a.yml",
            "crons": [{"cron": "30 5 * * *", "timezone": None}], "author": ME, "priority": request.priority,
            "created_at": START, "active": True, "next": START + 1000, "last": None, "missed": [], "error": None,
        }  # fmt: skip
        self.planned.append(row)
        return {**row, "left_out": [], "warnings": []}

    async def schedules(self, every: bool) -> list[JsonObject]:
        return [row for row in self.planned if every or row["active"]]

    async def schedule_remove(self, name: str) -> JsonObject:
        for row in self.planned:
            if name in (row["name"], row["schedule_id"]):
                row.update(active=False, next=None)
                return row
        raise NotFound(f"no schedule {name!r}", "see `p2pwf schedule list`")

    def _place(self, name: str, environment: str | None) -> JsonObject:
        return {"name": name.upper(), "environment": environment, "updated_at": START, "updated_by": ME}

    async def secret_set(self, name: str, value: str, environment: str | None, submitters: list[str]) -> JsonObject:
        row = {
            **self._place(name, environment), "submitters": submitters, "sealed_to": [ME, OTHER], "lacking": [],
            "rotate": [],
        }  # fmt: skip
        self.sealed.append((row, value))
        return row

    async def secrets(self) -> list[JsonObject]:
        return [row for row, _ in self.sealed]

    async def secret_remove(self, name: str, environment: str | None) -> JsonObject:
        for one in self.sealed:
            if (one[0]["name"], one[0]["environment"]) == (name.upper(), environment):
                self.sealed.remove(one)
                return {"name": name.upper(), "environment": environment}
        raise NotFound(f"no secret {name}", "see `p2pwf secret list`")

    async def variable_set(self, name: str, value: str, environment: str | None) -> JsonObject:
        self.plain.append({**self._place(name, environment), "value": value})
        return self.plain[-1]

    async def variables(self) -> list[JsonObject]:
        return self.plain

    async def variable_remove(self, name: str, environment: str | None) -> JsonObject:
        self.plain = [one for one in self.plain if one["name"] != name.upper()]
        return {"name": name.upper(), "environment": environment}

    async def pause(self, on: bool) -> JsonObject:
        self.paused = on
        return {"paused": on, "running_jobs": 0}

    async def policy_reload(self) -> JsonObject:
        return {"origin": "config.toml", "rules": []}

    async def leave(self, keep_runs: bool) -> JsonObject:
        self.stopped.set()
        return {"peer_id": ME, "removed": True}

    async def assign(self) -> list[JsonObject]:
        return []

    async def list_runs(self, wanted: str | None, peer: str | None) -> list[JsonObject]:
        views = [view for view in self.runs.values() if wanted in (None, view["status"])]
        views = [view for view in views if peer in (None, view["assigned_peer"])]
        return [{name: value for name, value in view.items() if name != "jobs"} for view in views]

    async def run_status(self, name: str) -> JsonObject:
        return self.run(name)

    async def cancel(self, name: str, force: bool = False) -> JsonObject:
        run: str = self.run(name)["workflow_id"]
        self.end(run, "cancelled")
        return {"workflow_id": run}

    async def update(
        self,
        name: str,
        wanted: str | None,
        priority: float | None,
        result: object = None,
        error: str | None = None,
        job: str | None = None,
    ) -> JsonObject:
        if wanted == "completed":
            raise Refused("the status follows from its jobs", "only `cancelled` can be asked for")
        view = self.run(name)
        if priority is not None:
            view["priority"] = priority
        if wanted == "cancelled":
            await self.cancel(name)
        return view

    async def watch(self, name: str) -> AsyncIterator[JsonObject]:
        view = self.run(name)
        self.open_streams += 1
        self.changed()
        try:
            while True:
                changed = self._changed
                told = deepcopy(view)  # what was told, not what has become of it since, says whether to go on
                yield told
                if told["status"] in FINAL:
                    return
                await changed.wait()
        finally:
            self.open_streams -= 1
            self.changed()

    async def until_streams(self, count: int) -> None:
        """Wait until so many callers watch."""
        while self.open_streams != count:
            await self._changed.wait()

    async def explain(self, name: str, job: str) -> JsonObject:
        if job == "m":
            raise UsageError("'m' names several jobs of this run", "name one of m#0, m#1")
        return {
            "workflow_id": self.run(name)["workflow_id"], "job": job, "matrix": None, "attempt": 1, "clock_head": "00",
            "task": "01", "combined": "02", "owner": ME,
            "candidates": [{"peer_id": OTHER, "distance": 120, "order": 1, "passed_over": "slots"},
                           {"peer_id": ME, "distance": 130, "order": 2, "passed_over": None}],
        }  # fmt: skip

    async def logs(self, name: str, job: str | None, follow: bool) -> AsyncIterator[JsonObject]:
        self.run(name)
        for line in self.lines:
            if job in (None, line["job"], f"{line['job']}#0"):
                yield line

    def log(self, text: str, job: str = "build", stream: str = "stdout", step: int = 1) -> None:
        """Have a job write a line."""
        self.lines.append(
            {"job": job, "name": job, "attempt": 1, "time": START, "step": step, "stream": stream, "text": text}
        )

    async def clock_heads(self) -> list[JsonObject]:
        return [{"cid": "bafyhead", "author": ME, "seq": 3, "lamport": 5}]

    async def clock_log(self, raw: bool) -> AsyncIterator[JsonObject]:
        for number in range(3):
            if number == 2:
                raise Refused("event 2 on disk is none", "see `p2pwf clock verify`")
            yield {"cid": f"bafy{number}", **({"block": "AA=="} if raw else {"seq": number})}

    async def clock_checkpoint(self, days: float) -> JsonObject:
        return {"checkpoint": "bafycheck", "applied": None, "missing": [OTHER], "pruned_runs": 0, "stubs": days}

    async def clock_prune(self) -> JsonObject:
        return {"checkpoint": "bafycheck", "applied": "bafycheck", "missing": [], "pruned_runs": 2}

    async def clock_import(self, file: str) -> JsonObject:
        return {"events": 2, "new": 1, "blobs": 0}

    async def clock_verify(self) -> JsonObject:
        return {"ok": False, "events": 3, "problems": [{"cid": "bafy2", "problem": "its signature is wrong"}]}


@asynccontextmanager
async def served(api: MemoryApi, folder: Path) -> AsyncIterator[Path]:
    """Serve `api` for a data folder; gives the socket's path."""
    await trio.Path(folder).mkdir(mode=0o700, exist_ok=True)
    async with trio.open_nursery() as nursery:
        path: Path = await nursery.start(serve_control, api, folder)
        yield path
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def node(api: MemoryApi | None = None) -> AsyncIterator[tuple[MemoryApi, Path]]:
    """An API that is served, and its data folder, with a path short enough for a socket."""
    api = MemoryApi() if api is None else api
    with tempfile.TemporaryDirectory(prefix="p2pwf-") as folder:
        async with served(api, Path(folder)):
            yield api, Path(folder)


async def call(folder: Path, method: str, *parts: str, **rest: Any) -> Any:
    """One request of the blocking client, in a thread."""
    return await trio.to_thread.run_sync(partial(Client(folder).call, method, *parts, **rest))


async def raw(path: Path, data: bytes) -> bytes:
    """Send bytes to a socket, and give all that comes back."""
    async with await trio.open_unix_socket(os.fspath(path)) as stream:
        await stream.send_all(data)
        answer = b""
        async for part in stream:
            answer += part
        return answer
