"""A workflow language small enough for simulations: what a job does is written in the payload of its submission.

`payload["if"]` maps a job to "always" or "failure" (default: success). `payload["legs"]` maps a dynamic job to the
number of its legs. `payload["fail"]` lists jobs that fail, `payload["secrets"]` the secrets that all of them name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.engine import Beside
from p2pwf.errors import UsageError
from p2pwf.runs.plan import Leg
from p2pwf.runs.schedules import CARRIED
from p2pwf.runs.settings import Asks


class SimPlanner:
    """Implements `engine.Planner` over payloads."""

    def should_run(
        self,
        submission: Event,
        job: str,
        needs: Mapping[str, Mapping[str, Any]],
        ancestors: Mapping[str, str],
        cancelled: bool,
    ) -> bool:
        payload = cast("dict[str, dict[str, str]]", submission.body["payload"])
        wanted = payload.get("if", {}).get(job, "success")
        if wanted == "always":
            return True
        failed = any(result == "failure" for result in ancestors.values())
        if wanted == "failure":
            return failed and not cancelled
        return not cancelled and all(result == "success" for result in ancestors.values())

    def expand(self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Value]]:
        payload = cast("dict[str, dict[str, int]]", submission.body["payload"])
        count = payload.get("legs", {}).get(job, 0)
        if count == 0:
            raise UsageError(f"the matrix of {job} has no values")
        return [leg(f"{job} ({index})", {"index": index}) for index in range(count)]

    def strategy(self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]]) -> tuple[bool, int] | None:
        return None

    def finish(
        self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]]
    ) -> tuple[str, Mapping[str, str]] | None:
        return None

    def next_tick(self, schedule: Event, after: int) -> tuple[int, Value] | None:
        """A cron of the simulator is the number of seconds between two ticks."""
        crons = cast("list[dict[str, str]]", schedule.body["crons"])
        every = int(crons[0]["cron"])
        return (after // every + 1) * every, cast(Value, crons[0])

    def scheduled(self, schedule: Event, tick: int, cron: Value) -> Mapping[str, Value]:
        made = make_submission({"one": []}, name=cast(str, schedule.body["name"]))
        told = {name: schedule.body[name] for name in CARRIED}
        said: dict[str, Value] = {"schedule": schedule.cid, "tick": tick, "cron": cron}
        return {**made, **told, "event": "schedule", "schedule": said}

    def beside(self, submission: Event, job: str) -> Sequence[Beside]:
        return ()

    def asks(
        self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]], leg: Leg, index: int, total: int
    ) -> Asks:
        payload = cast("dict[str, list[str]]", submission.body["payload"])
        names = frozenset(payload.get("secrets", ()))
        return Asks(secrets=names, own=names)


def leg(name: str, matrix: Mapping[str, Value] | None = None, labels: Sequence[str] = ()) -> dict[str, Value]:
    """One leg of a plan, as data."""
    return {
        "name": name,
        "matrix": None if matrix is None else dict(matrix),
        "labels": list(labels),
        "continue_on_error": False,
        "concurrency": None,
    }


def make_schedule(seconds: int, name: str = "every") -> dict[str, Value]:
    """The body of a schedule.add that is due every so many seconds."""
    made = make_submission({"one": []})
    crons: list[Value] = [{"cron": str(seconds), "timezone": None}]
    return {"name": name, "crons": crons, "priority": 3.0, **{name: made[name] for name in CARRIED}}


def in_group(name: str, cancel_in_progress: bool = False, queue: str = "single") -> dict[str, Value]:
    """A concurrency group, as data."""
    return {"group": name, "cancel_in_progress": cancel_in_progress, "queue": queue}


def make_submission(
    jobs: Mapping[str, Sequence[str]],
    legs: Mapping[str, int | None] | None = None,
    *,
    name: str = "simulated",
    payload: Mapping[str, Value] | None = None,
    priority: float = 3.0,
    key: str | None = None,
    max_parallel: int = 0,
    fail_fast: bool = True,
    group: Value = None,
    job_groups: Mapping[str, Value] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Value]:
    """The body of a run.submit without `absent`: `jobs` maps each job to its needs, `legs` to how many legs it has
    (default: a plain job; None: they depend on needs, see `payload["legs"]`). `group`: the concurrency of the run,
    `job_groups`: of its jobs, made with `in_group`; `labels`: what its jobs ask of their peers."""
    counts, groups, wanted = legs or {}, job_groups or {}, labels or {}
    plan: list[Value] = []
    for job, needs in jobs.items():
        count = counts.get(job, 1)
        entries: list[Value] | None = None
        if count == 1:
            entries = [cast(Value, {**leg(job, labels=wanted.get(job, ())), "concurrency": groups.get(job)})]
        elif count is not None:
            names = ((f"{job} ({index})", {"index": index}) for index in range(count))
            legs_of = (leg(name, cast("dict[str, Value]", matrix), wanted.get(job, ())) for name, matrix in names)
            entries = [cast(Value, {**one, "concurrency": groups.get(job)}) for one in legs_of]
        plan.append(
            {
                "id": job,
                "needs": list(needs),
                "legs": entries,
                "fail_fast": fail_fast,
                "max_parallel": max_parallel,
            }
        )
    return {
        "name": name,
        "title": "",
        "workflow": "on: push\n",
        "path": "simulated.yml",
        "plan": {"jobs": plan},
        "event": "push",
        "payload": dict(payload or {}),
        "ref": "refs/heads/main",
        "sha": "0" * 40,
        "repository": "local/simulated",
        "actor": "simulator",
        "inputs": {},
        "vars": {},
        "tags": [],
        "priority": priority,
        "source": None,
        "called": {},
        "actions": {},
        "concurrency": None if group is None else {**cast("dict[str, Value]", group), "supersedes": []},
        "pins": [],
        "rerun": None,
        "schedule": None,
        "key": key,
    }
