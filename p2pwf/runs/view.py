"""A run as people and scripts see it: plain JSON-able dicts, from the fold alone. Knows no network and no clock.

Shapes: protocols/control.md. Statuses of a workflow: pending until its first wave has owners, assigned until its first
job starts, in_progress until it has ended, then completed, failed or cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.errors import NotFound, UsageError
from p2pwf.roster import Roster
from p2pwf.runs.run import Key, Run
from p2pwf.runs.tally import RunEvent, conclusion

STATUS_OF = {"success": "completed", "failure": "failed", "cancelled": "cancelled", "skipped": "completed"}
FINAL = ("completed", "failed", "cancelled")


def _plain(value: object) -> object:
    """A value as JSON has it: links as their text, bytes in hex. Members may put either into inputs and matrices."""
    if isinstance(value, Cid):
        return value.text
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def keys_of(run: Run) -> list[Key]:
    """The job instances of a run that are known so far, in declared order."""
    return [(job, index) for job in run.plan.jobs for index in range(len(run.tally.job_legs(job) or ()))]


def status(run: Run) -> str:
    """The status of a workflow."""
    if run.tally.end is not None:
        return STATUS_OF[cast(str, run.tally.end.body["conclusion"])]
    finishes = (run.tally.finish(key) for key in keys_of(run))
    if run.tally.started or any(one is not None and one.cid not in run.carried for one in finishes):
        return "in_progress"
    first = [key for key in keys_of(run) if run.plan.jobs[key[0]].depth == 0]
    return "assigned" if first and all(run.owner(key) for key in first) else "pending"


def summary(run: Run, cancelled: bool = False, waits: bool = False) -> dict[str, Any]:
    """{workflow_id, name, title, status, conclusion, priority, tags, submitted_by, assigned_peer, result, error,
    inputs, created_at, started_at, completed_at}: times in wall ms as their authors' clocks had it, or None. A run that
    `waits` for its concurrency group is pending."""
    body = run.submission.body
    priority = run.tally.priority
    end = run.tally.end
    starts = [event for leg in run.tally.legs.values() for event in leg.starts.values()]
    return {
        "workflow_id": run.id.text,
        "name": body["name"],
        "title": body["title"],
        "status": "pending" if waits and status(run) == "assigned" else status(run),
        "conclusion": None if end is None else end.body["conclusion"],
        "priority": float(cast(float, body["priority"] if priority is None else priority.body["priority"])),
        "tags": body["tags"],
        "submitted_by": run.submitter,
        "assigned_peer": _first_owner(run),
        "result": None if end is None else _result(run),
        "error": _error(run),
        "cancel_requested": cancelled,
        "inputs": _plain(body["inputs"]),
        "event": body["event"],
        "path": body["path"],
        "ref": body["ref"],
        "sha": body["sha"],
        "created_at": run.submission.time,
        "started_at": min((event.time for event in starts), default=None),
        "completed_at": None if end is None else end.time,
    }


def pruned_summary(submission: Event) -> dict[str, Any]:
    """As `summary`, with `owners`, of a run of which stubs are left; how it ended is put in by `with_end`."""
    body = submission.body
    return {
        **{name: body[name] for name in ("name", "title", "tags", "event", "path", "ref", "sha")},
        "workflow_id": submission.cid.text,
        "status": "completed",
        "conclusion": None,
        "priority": float(cast(float, body["priority"])),
        "submitted_by": submission.author,
        "assigned_peer": None,
        "result": None,
        "error": None,
        "cancel_requested": False,
        "inputs": {},
        "created_at": submission.time,
        "started_at": None,
        "completed_at": None,
        "owners": [],
    }


def with_end(row: Mapping[str, Any], end: Event) -> dict[str, Any]:
    """Such a row, with the run's end in it."""
    conclusion = cast(str, end.body["conclusion"])
    return {**row, "status": STATUS_OF[conclusion], "conclusion": conclusion, "completed_at": end.time}


def detail(run: Run, cancelled: bool = False, waits: bool = False) -> dict[str, Any]:
    """`summary` with `jobs`: one entry for each leg, and for a job whose legs are not known yet."""
    jobs: list[dict[str, Any]] = []
    for job in run.plan.jobs.values():
        legs = run.tally.job_legs(job.id)
        if not legs:
            jobs.append(_whole_job(run, job.id))
            continue
        jobs.extend(_leg_view(run, (job.id, index)) for index in range(len(legs)))
    return {**summary(run, cancelled, waits), "jobs": jobs}


def _whole_job(run: Run, job: str) -> dict[str, Any]:
    expand = run.tally.expands.get(job)
    concluded = None if expand is None else expand.body["conclusion"]
    return {
        "job": job,
        "name": job,
        "matrix": None,
        "index": 0,
        "needs": list(run.plan.jobs[job].needs),
        "status": "waiting" if concluded is None else "completed",
        "conclusion": concluded,
        "outcome": concluded,
        "owner": None,
        "attempt": 0,
        "outputs": {},
        "error": None if expand is None else expand.body["error"],
        "log": None,
        "started_at": None,
        "completed_at": None if expand is None else expand.time,
    }


def _leg_view(run: Run, key: Key) -> dict[str, Any]:
    leg = run.tally.leg_of(key)
    state = run.tally.leg(key)
    finish = run.tally.finish(key)
    attempt = state.attempt if finish is None else finish.attempt
    start = state.starts.get(attempt)
    if finish is not None:
        word = "completed"
    elif start is not None:
        word = "in_progress"
    else:
        word = "queued" if run.owner(key) else "pending"
    log = None if finish is None else finish.body.get("log")
    return {
        "job": key[0],
        "name": leg.name,
        "matrix": _plain(leg.matrix),
        "index": key[1],
        "needs": list(run.plan.jobs[key[0]].needs),
        "status": word,
        "conclusion": None if finish is None else conclusion(finish),
        "outcome": None if finish is None else finish.body.get("outcome", "failure"),
        "owner": run.owner(key) if finish is None else finish.author,
        "attempt": attempt,
        "outputs": {} if finish is None else finish.body.get("outputs", {}),
        "error": _finish_error(finish),
        "log": log.text if isinstance(log, Cid) else None,
        "started_at": None if start is None else start.time,
        "completed_at": None if finish is None else finish.time,
    }


def _finish_error(finish: RunEvent | None) -> str | None:
    if finish is None:
        return None
    if finish.type == "job.lost":
        return f"lost: its owners went silent in {finish.attempt} attempts"
    return cast("str | None", finish.body["error"])


def _first_owner(run: Run) -> PeerId | None:
    first = next(iter(run.plan.jobs))
    if not run.tally.job_legs(first):
        return None
    finish = run.tally.finish((first, 0))
    return run.owner((first, 0)) if finish is None else finish.author


def _result(run: Run) -> dict[str, Any]:
    """Of each job its joint result and outputs."""
    return {job: {"result": run.tally.result(job), "outputs": run.tally.outputs(job)} for job in run.plan.jobs}


def _error(run: Run) -> str | None:
    for key in keys_of(run):
        finish = run.tally.finish(key)
        if finish is not None and conclusion(finish) == "failure":
            leg = run.leg(key)
            name = leg.name if leg else key[0]
            return f"job {name} failed" + (f": {text}" if (text := _finish_error(finish)) else "")
    for job, expand in run.tally.expands.items():
        if expand.body["conclusion"] == "failure":
            return f"job {job} failed: {cast(str, expand.body['error'])}"
    return None


def owners(run: Run) -> set[PeerId]:
    """The peers that own, or ran, at least one job of a run."""
    found = set()
    for key in keys_of(run):
        finish = run.tally.finish(key)
        owner = run.owner(key) if finish is None else finish.author
        if owner is not None:
            found.add(owner)
    return found


def find_leg(run: Run, name: str) -> Key:
    """The leg that a user names: a job id (of one leg), a leg's name such as `m (1)`, or `job#index`.

    Raises NotFound, or UsageError for a name that several legs share.
    """
    keys = keys_of(run)
    by_index = [key for key in keys if f"{key[0]}#{key[1]}" == name]
    by_job = [key for key in keys if key[0] == name]
    by_name = [key for key in keys if (leg := run.leg(key)) is not None and leg.name == name]
    for found in (by_index, by_job if len(by_job) == 1 else by_name):
        if len(found) == 1:
            return found[0]
    if by_job or by_name:
        legs = ", ".join(f"{key[0]}#{key[1]}" for key in by_job or by_name)
        raise UsageError(f"{name!r} names several jobs of this run", f"name one of {legs}")
    if name in run.plan.jobs:
        raise NotFound(f"the legs of {name!r} are not known yet: they depend on {', '.join(run.plan.jobs[name].needs)}")
    raise NotFound(f"no job {name!r} in this run", f"its jobs: {', '.join(run.plan.jobs)}")


def find_legs(run: Run, name: str) -> list[Key]:
    """The legs that a user names: all of a job, by its id, none while they are not known; or one, as `find_leg` has it.

    Raises NotFound, or UsageError for a name that legs of several jobs share.
    """
    if name in run.plan.jobs:
        return [key for key in keys_of(run) if key[0] == name]
    return [find_leg(run, name)]


def explain(run: Run, key: Key, roster: Roster) -> dict[str, Any]:
    """Why a leg is where it is: head, task, combined (hex), candidates in order, who was passed over and why.

    Candidates are those of the submission's own frontier, and after them members admitted since that `roster` has.
    """
    leg = run.tally.leg_of(key)
    state = run.tally.leg(key)
    placement = run.placement
    order = placement.ranked(*key, leg.labels, run.roster)
    known = {one.member.peer for one in order}
    late = [one for one in placement.ranked(*key, leg.labels, roster) if one.member.peer not in known]
    owner = run.owner(key)
    placed = run.placed(key)
    tried = state.tried(placed)
    candidates = []
    for position, one in enumerate([*order, *late], 1):
        peer = one.member.peer
        reason = None
        if peer in state.refused():
            reason = "policy"
        elif peer != owner:
            if peer in tried:
                reason = "attempted"
            elif peer in placement.absent:
                reason = "absent"
            elif placed is not None and position <= 1 + next(
                (index for index, other in enumerate(order) if other.member.peer == placed), -1
            ):
                reason = "slots"
        candidates.append({"peer_id": peer, "distance": one.distance, "order": position, "passed_over": reason})
    known.update(one.member.peer for one in late)
    for member in {**roster.members, **run.roster.members}.values():
        if member.peer not in known and member.can("run"):
            reason = "slots" if member.slots == 0 else "labels"
            candidates.append({"peer_id": member.peer, "distance": None, "order": None, "passed_over": reason})
    return {
        "workflow_id": run.id.text,
        "job": key[0],
        "matrix": _plain(leg.matrix),
        "attempt": state.attempt,
        "clock_head": placement.clock_head.hex(),
        "task": placement.task(*key).hex(),
        "combined": placement.combined(*key).hex(),
        "candidates": candidates,
        "owner": owner,
    }


def unowned(run: Run) -> list[Key]:
    """The legs of a run that are known, have not ended, and belong to nobody or to a peer that refuses them."""
    return [key for key in keys_of(run) if run.tally.finish(key) is None and _runner(run, key) is None]


def _runner(run: Run, key: Key) -> PeerId | None:
    """Who owns a leg and does not refuse it."""
    owner = run.owner(key)
    return None if owner in run.tally.leg(key).refused() else owner


def decision(run: Run, key: Key, roster: Roster) -> dict[str, Any]:
    """Where a leg is now: {workflow_id, job, name, owner, distance, passed_over}: bits to the owner, None if nobody
    runs it or it is no candidate by assignment; of each member that could not take it {peer_id, reason}."""
    candidates = explain(run, key, roster)["candidates"]
    owner = _runner(run, key)
    return {
        "workflow_id": run.id.text,
        "job": key[0],
        "name": run.tally.leg_of(key).name,
        "owner": owner,
        "distance": next((one["distance"] for one in candidates if one["peer_id"] == owner), None),
        "passed_over": [
            {"peer_id": one["peer_id"], "reason": one["passed_over"]}
            for one in candidates
            if one["passed_over"] is not None
        ],
    }
