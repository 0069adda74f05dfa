"""What each method of the API asks a node, and what it makes of the answers. Without I/O: generators of requests.

A talk yields an `Ask`, is sent the answer, or thrown the error, and returns what the method returns. The forms of what
it returns are the embedded coordinator's; the control API's are told in protocols/control.md.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from p2pwf.client.clock import ClockView
from p2pwf.errors import NotFound, P2pwfError, UsageError
from p2pwf.ledger import WorkflowStatus, WorkflowTask
from p2pwf.ledger.fold import MIN_PREFIX
from p2pwf.ledger.node import plain

T = TypeVar("T")
STATS: Final = (
    "peer_id", "total_workflows", "queue_size", "peer_count", "merkle_clock_height", "status_counts", "my_workflows",
)  # fmt: skip


@attrs.frozen(slots=True)
class Ask:
    """One request to the control API; of a stream the answer is the list of its lines."""

    method: str
    parts: tuple[str, ...]
    query: Mapping[str, object] = attrs.field(factory=dict)
    body: Mapping[str, object] | None = None
    stream: bool = False


Talk: TypeAlias = Generator[Ask, Any, T]


def step(talk: Talk[T], answer: object = None, error: P2pwfError | None = None) -> Ask:
    """The next request of a talk, after an answer (None to begin) or an error. Raises StopIteration with the result."""
    return talk.send(answer) if error is None else talk.throw(error)


def peer_id() -> Talk[str]:
    """The node's peer id."""
    info = yield Ask("GET", ("info",))
    return str(info["peer_id"])


def peer_list() -> Talk[list[str]]:
    """The peer ids of the members, the node's own first."""
    peers = yield Ask("GET", ("peers",))
    return [peer["peer_id"] for peer in peers]


def add_peer(peer: str) -> Talk[bool]:
    """Admit a peer; False if it is a member already."""
    members = yield Ask("GET", ("peers",))
    if any(member["peer_id"] == peer for member in members):
        return False
    yield Ask("POST", ("peers",), body={"peer_id": peer})
    return True


def remove_peer(peer: str) -> Talk[bool]:
    """Remove a member; False if there is none of that id or name."""
    try:
        yield Ask("DELETE", ("peers", peer))
    except NotFound:
        return False
    return True


def submit(
    file: str | os.PathLike[str],
    name: str | None,
    inputs: Mapping[str, Any] | None,
    priority: float,
    force: bool,
) -> Talk[str]:
    """Hand in a workflow file, by its absolute path; the run's id."""
    body: dict[str, object] = {
        "file": _absolute(file),
        "inputs": plain({} if inputs is None else inputs),
        "priority": _priority(priority),
        "force": force,
    }
    if name:
        body["name"] = name
    made = yield Ask("POST", ("runs",), body=body)
    return str(made["workflow_id"])


def assign() -> Talk[list[str]]:
    """Have what nobody runs looked at again; the ids of the runs of which some job was given to a peer."""
    decided = yield Ask("POST", ("assign",))
    return list(dict.fromkeys(one["workflow_id"] for one in decided if one["owner"] is not None))


def status(workflow_id: str) -> Talk[dict[str, Any] | None]:
    """One run; None if there is none."""
    run = yield from _run(workflow_id)
    return None if run is None else _task(run).summary()


def jobs(workflow_id: str) -> Talk[list[dict[str, Any]]]:
    """The jobs of a run, times in seconds; none for a run that there is not."""
    run = yield from _run(workflow_id)
    rows = [] if run is None else run["jobs"]
    return [{**row, **{name: _seconds(row[name]) for name in ("started_at", "completed_at")}} for row in rows]


def list_runs(wanted: WorkflowStatus | str | None, peer: str | None) -> Talk[list[dict[str, Any]]]:
    """Runs in order of submission."""
    tasks = yield from _tasks(wanted, peer)
    return [task.summary() for task in tasks]


def mine(me: str) -> Talk[list[WorkflowTask]]:
    """The runs of which a peer owns a job, in order of submission."""
    return _tasks(None, me)


def update(workflow_id: str, wanted: WorkflowStatus | str, result: object, error: str | None) -> Talk[bool]:
    """Ask for another status; False if there is no such run, or it has ended."""
    body = {"status": WorkflowStatus.of(wanted).value, "result": plain(result), "error": error}
    return _change(workflow_id, {name: value for name, value in body.items() if value is not None})


def prioritise(workflow_id: str, priority: float) -> Talk[bool]:
    """Move a run up or down; False if there is no such run, or it has ended."""
    return _change(workflow_id, {"priority": _priority(priority)})


def stats() -> Talk[dict[str, Any]]:
    """The seven figures."""
    told = yield Ask("GET", ("stats",))
    return {name: told[name] for name in STATS}


def clock(me: str) -> Talk[ClockView]:
    """The whole clock as it is now."""
    lines = yield Ask("GET", ("clock", "log"), query={"raw": True}, stream=True)
    return ClockView(me, lines)


def _run(workflow_id: str) -> Talk[dict[str, Any] | None]:
    if len(workflow_id.strip()) < MIN_PREFIX:  # a node calls that an accident; here it names nothing
        return None
    try:
        run: dict[str, Any] = yield Ask("GET", ("runs", workflow_id))
    except NotFound:
        return None
    return run


def _tasks(wanted: WorkflowStatus | str | None, peer: str | None) -> Talk[list[WorkflowTask]]:
    query = {"status": None if wanted is None else WorkflowStatus.of(wanted).value, "peer_id": peer}
    try:
        rows = yield Ask("GET", ("runs",), query=query)
    except NotFound:  # of the peer: nothing is a stranger's
        return []
    return [_task(row) for row in reversed(rows)]


def _change(workflow_id: str, body: Mapping[str, object]) -> Talk[bool]:
    run = yield from _run(workflow_id)
    if run is None or WorkflowStatus(run["status"]).is_final:
        return False
    yield Ask("PATCH", ("runs", run["workflow_id"]), body=body)
    return True


def _task(run: Mapping[str, Any]) -> WorkflowTask:
    return WorkflowTask(
        workflow_id=run["workflow_id"],
        name=run["name"],
        workflow_file=run["path"],
        inputs=run["inputs"],
        priority=run["priority"],
        tags=run["tags"],
        status=run["status"],
        assigned_peer=run["assigned_peer"],
        created_at=_seconds(run["created_at"]),
        started_at=_seconds(run["started_at"]),
        completed_at=_seconds(run["completed_at"]),
        result=run["result"],
        error=run["error"],
    )


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def _absolute(file: str | os.PathLike[str]) -> str:
    try:
        return str(Path(file).expanduser().absolute())
    except (TypeError, RuntimeError) as error:
        raise UsageError(f"not a path: {file!r}", "give the path of a workflow file") from error


def _priority(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise UsageError(f"not a priority: {value!r}", "1.0 is critical, 3.0 normal, 5.0 background")
    return float(value)
