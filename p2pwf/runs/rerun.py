"""The submission that does a run once more, or what of it did not succeed. Knows the fold alone, no language.

Of a run that failed, an outcome is kept if it is a success (or was skipped) and so is everything that its job needs; of
one of which some jobs are to be done again, all but those and what needs them. Source: protocols/runs.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from p2pwf.core.bodies import MAX_CARRIED, MAX_RERUNS
from p2pwf.core.dagcbor import Value, size
from p2pwf.errors import Refused, UsageError
from p2pwf.runs.run import Run
from p2pwf.runs.tally import RunEvent, conclusion

KEPT = ("success", "skipped")


def rerun(run: Run, failed: bool = False, jobs: Collection[str] = ()) -> dict[str, Value]:
    """The body of a run.submit, without `absent`, that does `run` once more.

    `failed`: only the legs that did not succeed and the jobs that need them; `jobs`: only these jobs and those that
    need them. Neither: all. Raises Refused if the run has not ended or if nothing would be done, UsageError if what
    would be kept is out of bounds.
    """
    if run.tally.end is None:
        raise Refused("the run has not ended", "wait for it, or cancel it first")
    expands: list[Value] = []
    carries: list[RunEvent] = []
    if failed or jobs:
        expands, carries, kept = _kept(run, _again(run, jobs) if jobs else None)
        if kept == run.plan.jobs.keys():
            raise Refused("no job of this run failed", "leave --failed out to run all of it again")
    body = dict(run.submission.body)
    del body["absent"]
    carries.sort(key=lambda entry: entry.order)
    before = cast("Mapping[str, int] | None", body["rerun"])
    attempt = min(MAX_RERUNS, 2 if before is None else before["attempt"] + 1)
    made: dict[str, Value] = {
        "run": run.id,
        "attempt": attempt,
        "expands": expands,
        "carries": [_outcome(entry) for entry in carries],
    }
    if size(made) > MAX_CARRIED:
        raise UsageError(
            f"what the jobs that succeeded have left is over {MAX_CARRIED // 1024} KiB", "run all of it again"
        )
    group = cast("Mapping[str, Value] | None", body["concurrency"])
    return {
        **body,
        "concurrency": None if group is None else {**group, "supersedes": []},
        "rerun": made,
        "schedule": None,
        "key": None,
    }


def _again(run: Run, jobs: Collection[str]) -> frozenset[str]:
    """These jobs, and those that need one of them, directly or not."""
    return frozenset(job for job in run.plan.jobs if job in jobs or not set(jobs).isdisjoint(run.plan.ancestors(job)))


def _kept(run: Run, again: frozenset[str] | None) -> tuple[list[Value], list[RunEvent], set[str]]:
    """The expansions and the outcomes that a rerun carries over, and the jobs that are kept with all of their legs.

    `again`: the jobs that are done once more; None: what did not succeed is, and what needs it.
    """
    expands: list[Value] = []
    carries: list[RunEvent] = []
    whole: set[str] = set()
    for job in sorted(run.plan.jobs.values(), key=lambda job: job.depth):
        if job.id in again if again is not None else not whole.issuperset(job.needs):
            continue
        expand = run.tally.expands.get(job.id)
        if job.legs is None and expand is not None:
            if again is None and expand.body["conclusion"] not in (None, "skipped"):
                continue
            expands.append(_expansion(expand))
        legs = range(len(run.tally.job_legs(job.id) or ()))
        found = [run.tally.finish((job.id, index)) for index in legs]
        good = [entry for entry in found if entry is not None and (again is not None or conclusion(entry) in KEPT)]
        carries.extend(good)
        if len(good) == len(found):
            whole.add(job.id)
    return expands, carries, whole


def _expansion(entry: RunEvent) -> dict[str, Value]:
    body: Any = entry.body
    return {
        "job": body["job"],
        "expand": entry.cid,
        "author": entry.author,
        "time": entry.time,
        "legs": body["legs"],
        "conclusion": body["conclusion"],
    }


def _outcome(entry: RunEvent) -> dict[str, Value]:
    lost: dict[str, Value] = {"conclusion": "failure", "outcome": "failure", "outputs": {}, "log": None, "report": None}
    body: dict[str, Value] = {**lost, "artifacts": [], **entry.body}
    names = ("job", "leg", "conclusion", "outcome", "outputs", "log", "report", "artifacts")
    return {**{name: body[name] for name in names}, "finish": entry.cid, "author": entry.author, "time": entry.time}
