"""From a request to the body of a submission: read, check, choose the event, record the source. No engine, no trio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import attrs

from p2pwf.config import ACTIONS_ENV, ACTIONS_URL_ENV
from p2pwf.core.bodies import MAX_WORKFLOW
from p2pwf.errors import P2pwfError, Refused, UsageError
from p2pwf.node.actions import Library, source_reader
from p2pwf.node.repositories import DEFAULT_URL, Repositories
from p2pwf.node.submission import SourceFacts, Wanted, make_body
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.oneshot.keep import cache_home
from p2pwf.oneshot.payload import MAX_MESSAGE, ZEROS, Commit, make_payload
from p2pwf.oneshot.request import RunRequest
from p2pwf.runner import gittree
from p2pwf.runner.gittree import SOURCE_HINT
from p2pwf.runner.source import Source, snapshot
from p2pwf.workflow import CALL, DISPATCH, Diagnostic, Workflow, check_secrets, declared_events, parse

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


def read_workflow(file: Path) -> bytes:
    """The file's bytes, a few more than may be at the most; raises UsageError if it cannot be read."""
    try:
        if not file.is_file():
            what = "is a folder" if file.is_dir() else "is no file" if file.exists() else "is not there"
            raise UsageError(f"{file} {what}", "give the path of a workflow file")
        with file.open("rb") as stream:
            return stream.read(MAX_WORKFLOW + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read {str(file)!r}: {reason}", "give the path of a workflow file") from error


def check(request: RunRequest, text: bytes) -> Workflow:
    """The workflow, checked; raises InvalidWorkflow with all diagnostics."""
    return parse(text, str(request.file)).require()  # as it was named: so it stands in messages


def prepare(request: RunRequest, text: bytes, workflow: Workflow, blobs: FolderBlobs) -> Prepared:
    """Choose the event and record the source.

    Raises UsageError for an event, input, job or secret that there is not, Refused, StorageError or UsageError where
    the source cannot be read, and InvalidWorkflow where the workflow fails with what it is given.
    """
    event = pick_event(workflow, request.event)
    if event == CALL:
        check_secrets(workflow, request.secrets)
    payload = request.payload
    with ThreadPoolExecutor(1) as beside:  # git is another process: there is no need to wait for it twice
        asked = None if payload is not None else beside.submit(_head, request.source or request.file.absolute().parent)
        source = _record(request, blobs)
    if payload is None:
        commit = asked.result() if asked is not None and source.sha != ZEROS else None
        started_by = DISPATCH if event == CALL else event
        payload = make_payload(
            started_by, workflow, ref=source.ref, repository=source.repository, actor=source.actor, commit=commit
        )
    wanted = Wanted(
        text=text,
        source=SourceFacts(
            manifest=source.manifest,
            ref=source.ref,
            sha=source.sha,
            repository=source.repository,
            actor=source.actor,
            workflow_path=source.rel_workflow_path,
        ),
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


def _record(request: RunRequest, blobs: FolderBlobs) -> Source:
    try:
        source = snapshot(request.file, request.source, False, blobs)
    except P2pwfError as error:
        if error.hint is not None and SOURCE_HINT in error.hint:
            error.hint = error.hint.replace(SOURCE_HINT, "name the tree to run on with --source DIR")
        raise
    assert source is not None
    return source


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
    """Legs that ask for no labels."""
    return None if legs is None else [{**leg, "labels": []} for leg in legs]


def _head(folder: Path) -> Commit | None:
    try:
        fields = gittree.head(folder)
    except (Refused, FileNotFoundError):
        return None  # the source itself tells why
    if fields is None:
        return None
    sha, tree, parents, author, author_mail, committer, committer_mail, time, message = fields
    return Commit(
        sha=sha,
        tree=tree,
        parent=(parents.split() or [ZEROS])[0],
        message=message.strip()[:MAX_MESSAGE],
        timestamp=time,
        author=(author, author_mail),
        committer=(committer, committer_mail),
    )


def _odd_calls(workflow: Workflow) -> Iterator[Diagnostic]:
    """Calls of workflows that this tool finds and GitHub does not."""
    for job in workflow.jobs:
        if job.uses is not None and job.uses.startswith("./") and not job.uses.startswith(WORKFLOWS):
            message = f"The job '{job.id}' calls '{job.uses}': GitHub finds workflows in {WORKFLOWS} only"
            yield Diagnostic(job.place.line, job.place.column, "warning", "odd-call", message)
