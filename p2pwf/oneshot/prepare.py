"""From a request to the body of a submission: choose the event, find what it calls and uses. No engine, no trio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from p2pwf.config import ACTIONS_ENV, ACTIONS_URL_ENV
from p2pwf.errors import UsageError
from p2pwf.isolation import Level, labels_of
from p2pwf.node.actions import Library, source_reader
from p2pwf.node.repositories import DEFAULT_URL, Repositories
from p2pwf.node.submission import SourceFacts, Wanted, make_body
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.oneshot.keep import cache_home
from p2pwf.oneshot.payload import make_payload, place_of
from p2pwf.oneshot.record import Recorded
from p2pwf.oneshot.request import RunRequest
from p2pwf.runner.source import Source
from p2pwf.workflow import CALL, DISPATCH, Diagnostic, Workflow, check_secrets, declared_events

ISOLATION: Final = labels_of(tuple(Level))
WORKFLOWS: Final = "./.github/workflows/"


@attrs.frozen(slots=True, eq=False)
class Prepared:
    """The body of run.submit (without `absent`), what is to be said about the file, the source.

    `called`: the file is run as if another workflow had called it; then it may have outputs.
    """

    body: dict[str, Any]
    warnings: tuple[Diagnostic, ...]
    source: Source
    called: bool


def prepare(request: RunRequest, text: bytes, workflow: Workflow, recorded: Recorded, blobs: FolderBlobs) -> Prepared:
    """Choose the event and make the body.

    Raises UsageError for an event, input, job or secret that there is not, and InvalidWorkflow where the workflow fails
    with what it is given.
    """
    event = pick_event(workflow, request.event)
    if event == CALL:
        check_secrets(workflow, request.secrets)
    source, payload = recorded.source, request.payload
    started_by = DISPATCH if event == CALL else event
    if payload is None:
        payload = make_payload(
            started_by,
            workflow,
            ref=source.ref,
            repository=source.repository,
            actor=source.actor,
            commit=recorded.commit,
        )
    ref, sha = place_of(started_by, payload, source.ref, source.sha)
    wanted = Wanted(
        text=text,
        source=attrs.evolve(SourceFacts.of(source), ref=ref, sha=sha),
        event=event,
        payload=payload,
        inputs=request.inputs,
        vars=request.vars,
        force=True,
    )
    mirror = os.environ.get(ACTIONS_ENV)
    repositories = Repositories(
        cache=cache_home() / "actions",
        mirror=Path(mirror).absolute() if mirror else None,
        url=os.environ.get(ACTIONS_URL_ENV) or DEFAULT_URL,
    )
    body, warnings = make_body(wanted, Library(repositories, source_reader(source.manifest, blobs), blobs))
    jobs = body["plan"]["jobs"]
    if request.job is not None:
        jobs = chosen(jobs, request.job)
    # Whatever a job asks for, it runs here.
    body["plan"] = {"jobs": [{**job, "legs": anywhere(job["legs"])} for job in jobs]}
    return Prepared(body, (*warnings, *_odd_calls(workflow)), source, event == CALL)


def pick_event(workflow: Workflow, wanted: str | None) -> str:
    """The wanted event, else push if declared, else the only one; raises UsageError, which lists what is declared."""
    events = declared_events(workflow)
    listed = f"declared: {', '.join(events)}"
    if wanted is not None:
        if wanted not in events:
            raise UsageError(f"the workflow does not declare the event '{wanted}'", listed)
        return wanted
    if "push" in events:
        return "push"
    if len(events) != 1:
        raise UsageError("the workflow declares several events, and push is none of them", f"--event NAME; {listed}")
    return events[0]


def chosen(jobs: list[dict[str, Any]], wanted: str) -> list[dict[str, Any]]:
    """The planned jobs that `wanted` is or needs, in declared order; raises UsageError for one that there is not."""
    by_id = {job["id"]: job for job in jobs}
    if wanted not in by_id:
        raise UsageError(f"the workflow has no job '{wanted}'", f"its jobs: {', '.join(by_id)}")
    kept: set[str] = set()
    stack = [wanted]
    while stack:
        job = stack.pop()
        if job not in kept:
            kept.add(job)
            stack.extend(by_id[job]["needs"])
    return [job for job in jobs if job["id"] in kept]


def anywhere(legs: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Legs that ask for no labels but those of isolation."""
    if legs is None:
        return None
    return [{**leg, "labels": [one for one in leg["labels"] if one in ISOLATION]} for leg in legs]


def _odd_calls(workflow: Workflow) -> Iterator[Diagnostic]:
    """Calls of workflows that this tool finds and GitHub does not."""
    for job in workflow.jobs:
        if job.uses is not None and job.uses.startswith("./") and not job.uses.startswith(WORKFLOWS):
            message = f"The job '{job.id}' calls '{job.uses}': GitHub finds workflows in {WORKFLOWS} only"
            yield Diagnostic(job.place.line, job.place.column, "warning", "odd-call", message)
