"""The file and its source: read, check, record. Light to import: what the rest of a run needs comes in meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from p2pwf.core.bodies import MAX_WORKFLOW
from p2pwf.errors import P2pwfError, Refused, UsageError
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.oneshot.payload import MAX_MESSAGE, ZEROS, Commit
from p2pwf.oneshot.request import RunRequest
from p2pwf.runner import gittree
from p2pwf.runner.gittree import SOURCE_HINT
from p2pwf.runner.source import Source, snapshot
from p2pwf.workflow import Workflow, parse


@attrs.frozen(slots=True, eq=False)
class Recorded:
    """The source as blobs, and the commit that it is at; None where there is none, or nobody asks for it."""

    source: Source
    commit: Commit | None


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


def record(request: RunRequest, blobs: FolderBlobs) -> Recorded:
    """Record the source. Blocks; raises UsageError, Refused or StorageError where it cannot be read."""
    if request.payload is not None:
        return Recorded(_record(request, blobs), None)
    with ThreadPoolExecutor(1) as beside:  # git is another process: there is no need to wait for it twice
        asked = beside.submit(_head, request.source or request.file.absolute().parent)
        source = _record(request, blobs)
    return Recorded(source, None if source.sha == ZEROS else asked.result())


def _record(request: RunRequest, blobs: FolderBlobs) -> Source:
    try:
        source = snapshot(request.file, request.source, False, blobs)
    except P2pwfError as error:
        if error.hint is not None and SOURCE_HINT in error.hint:
            error.hint = error.hint.replace(SOURCE_HINT, "name the tree to run on with --source DIR")
        raise
    assert source is not None
    return source


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
