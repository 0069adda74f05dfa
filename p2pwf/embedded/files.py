"""Workflow files as the Python API sees them: read from disk, checked, told in a few words. Knows no coordinator."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from p2pwf.core.bodies import MAX_WORKFLOW
from p2pwf.errors import InvalidWorkflow, Refused, UsageError
from p2pwf.workflow import TAGS, Workflow, declared_events, parse

FILE_HINT: Final = "give the path of a workflow file"


@attrs.frozen(slots=True)
class WorkflowFile:
    """A workflow file that checks: its absolute path, its text, what it says."""

    path: Path
    text: str
    workflow: Workflow

    @property
    def name(self) -> str:
        """The workflow's name, or the file's without its ending."""
        return self.workflow.name or self.path.stem


def read_workflow(path: str | os.PathLike[str]) -> WorkflowFile:
    """Read and check a workflow file of at most 256 KiB.

    Raises UsageError if it cannot be read or is no plain file, InvalidWorkflow, with all findings, for one that does
    not check.
    """
    try:
        where = Path(path).expanduser().absolute()
    except (TypeError, RuntimeError) as error:
        raise UsageError(f"not a path: {path!r}", FILE_HINT) from error
    data = _read(where)
    workflow = parse(data, where.name).require()
    return WorkflowFile(where, data.decode("utf-8"), workflow)


def metadata_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `parse_workflow_file` gives: {name, tags, jobs, triggers, labels}, all but the name lists of text.

    `tags`: which of p2p-workflow and offline-workflow it carries; `labels`: all of it and of its jobs, as written.
    Raises what `read_workflow` does.
    """
    read = read_workflow(path)
    workflow = read.workflow
    labels = [*workflow.labels, *(label for job in workflow.jobs for label in job.labels)]
    return {
        "name": read.name,
        "tags": list(workflow.tags),
        "jobs": [str(job.id) for job in workflow.jobs],
        "triggers": list(declared_events(workflow)),
        "labels": list(dict.fromkeys(labels)),
    }


def is_p2p(metadata: Mapping[str, Any]) -> bool:
    """Whether what `metadata_of` gave carries a tag of ours, in any case."""
    return any(str(tag).lower() in TAGS for tag in metadata.get("tags") or ())


def refuse_untagged(read: WorkflowFile, force: bool) -> None:
    """Raise Refused for a file without a tag, unless it is forced."""
    if not read.workflow.tags and not force:
        raise Refused(
            f"{read.path.name} has no p2p-workflow or offline-workflow tag",
            "add `labels: p2p-workflow` to it, or submit it with force=True",
        )


def _read(path: Path) -> bytes:
    try:
        # Not blocking: to open a pipe for reading would wait for its writer, for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read {path}: {reason}", FILE_HINT) from error
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        os.close(handle)  # fdopen refuses a folder, and would leave it open
        raise UsageError(f"{path} is not a plain file", FILE_HINT)
    with os.fdopen(handle, "rb") as file:
        data = file.read(MAX_WORKFLOW + 1)
    if len(data) > MAX_WORKFLOW:
        raise InvalidWorkflow(
            f"{path.name}: the file is too large: the bound is {MAX_WORKFLOW:,} bytes",
            "move scripts into files of the source",
        )
    return data
