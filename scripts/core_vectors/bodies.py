"""Bodies of events, for vectors: whole ones, of which a case changes what it is about."""

from __future__ import annotations

from p2pwf.core.ids import Cid


def leg(name: str, labels: list[str] | None = None, matrix: dict[str, object] | None = None) -> dict[str, object]:
    """One leg of a plan."""
    labels = labels or []
    return {"name": name, "matrix": matrix, "labels": labels, "continue_on_error": False, "concurrency": None}


def job(name: str, *needs: str, legs: list[dict[str, object]] | None = None, **options: object) -> dict[str, object]:
    """One job of a plan; a plain one unless its legs are given."""
    whole: dict[str, object] = {"id": name, "needs": list(needs), "legs": legs or [leg(name)]}
    return {**whole, "fail_fast": True, "max_parallel": 0, **options}


def submission(*jobs: dict[str, object], **changes: object) -> dict[str, object]:
    """The body of a run.submit."""
    return {
        "name": "build",
        "title": "",
        "workflow": "on: push\njobs: {}\n",
        "path": ".github/workflows/build.yml",
        "plan": {"jobs": list(jobs)},
        "event": "push",
        "payload": {},
        "ref": "refs/heads/main",
        "sha": "0" * 40,
        "repository": "local/vectors",
        "actor": "ann",
        "inputs": {},
        "vars": {},
        "tags": [],
        "priority": 3.0,
        "source": None,
        "called": {},
        "actions": {},
        "concurrency": None,
        "pins": [],
        "rerun": None,
        "schedule": None,
        "absent": [],
        "key": None,
        **changes,
    }


def carried(job_id: str, finish: Cid, author: str, index: int = 0, **changes: object) -> dict[str, object]:
    """An outcome that a rerun carries over."""
    return {
        "job": job_id,
        "leg": index,
        "finish": finish,
        "author": author,
        "time": 1_700_000_000_000,
        "conclusion": "success",
        "outcome": "success",
        "outputs": {},
        "log": None,
        "report": None,
        "artifacts": [],
        **changes,
    }


def expanded(
    job_id: str, expand: Cid, author: str, legs: list[dict[str, object]], conclusion: str | None = None
) -> dict[str, object]:
    """An expansion that a rerun carries over."""
    rest = {"time": 1_700_000_000_000, "legs": legs, "conclusion": conclusion}
    return {"job": job_id, "expand": expand, "author": author, **rest}


def schedule(**changes: object) -> dict[str, object]:
    """The body of a schedule.add."""
    return {
        "name": "nightly",
        "crons": [{"cron": "30 5 * * 1-5", "timezone": None}, {"cron": "0 0 1 * *", "timezone": "Europe/Paris"}],
        "workflow": "on: push\njobs: {}\n",
        "path": ".github/workflows/nightly.yml",
        "ref": "refs/heads/main",
        "sha": "0" * 40,
        "repository": "local/vectors",
        "actor": "ann",
        "vars": {},
        "priority": 3.0,
        "source": None,
        "called": {},
        "actions": {},
        "pins": [],
        **changes,
    }


def about(run: Cid, job_id: str = "build", leg_index: int = 0, attempt: int = 1) -> dict[str, object]:
    """The fields that name an attempt."""
    return {"run": run, "job": job_id, "leg": leg_index, "attempt": attempt}


def finish(run: Cid, job_id: str = "build", **changes: object) -> dict[str, object]:
    """The body of a job.finish."""
    end: dict[str, object] = {
        "uses": [],
        "conclusion": "success",
        "outcome": "success",
        "outputs": {},
        "log": None,
        "report": None,
        "artifacts": [],
        "caches": [],
        "error": None,
    }
    return {**about(run, job_id), **end, **changes}
