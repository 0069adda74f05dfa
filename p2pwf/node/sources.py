"""The source of a submission, taken from the user's tree into blobs, and kept for as long as its run may ask for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs

from p2pwf.core.bodies import MAX_WORKFLOW
from p2pwf.core.ids import Cid
from p2pwf.engine import Engine
from p2pwf.errors import InvalidWorkflow, NotFound, UsageError
from p2pwf.node.actions import Read, pinned_blobs, source_reader
from p2pwf.node.facts import PIN_MS
from p2pwf.node.loop import now
from p2pwf.node.repositories import read_below
from p2pwf.node.submission import SourceFacts
from p2pwf.runner.source import origin, snapshot
from p2pwf.store.blobs import BlobStore


@attrs.frozen(slots=True)
class Taken:
    """The facts for the submission, what does not travel, by name, and how the files of the tree are read."""

    facts: SourceFacts
    left_out: tuple[str, ...]
    read: Read


def take_source(file: Path, folder: str | None, no_source: bool, blobs: BlobStore) -> Taken:
    """Record the tree of a workflow file; raises UsageError, Refused or StorageError, with nothing kept then."""
    if not file.is_file():
        raise UsageError(f"no file {file}", "give the path of a workflow file")
    source = snapshot(file, Path(folder) if folder is not None else None, no_source, blobs)
    if source is None:
        about = origin(file, None, no_source=True)
        return Taken(SourceFacts.of(about), (), partial(_read, about.root))
    keep([source.manifest], blobs)
    return Taken(SourceFacts.of(source), source.left_out, source_reader(source.manifest, blobs))


def _read(root: Path, path: str) -> bytes | None:
    return read_below(root, path, MAX_WORKFLOW + 1)


def keep(manifests: Iterable[Cid], blobs: BlobStore) -> None:
    """Keep what these manifests list for as long as a run may ask for it; raises StorageError."""
    until = now().wall + PIN_MS
    for manifest in manifests:
        blobs.pin_all(pinned_blobs([manifest], blobs), f"source {manifest.text}", until)


def read_workflow(path: Path) -> bytes:
    """The bytes of a workflow file; raises UsageError if it is no plain file, InvalidWorkflow if it is too large."""
    try:
        # Not blocking: to open a pipe for reading would wait for its writer, for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "give the path of a workflow file") from error
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        os.close(handle)  # fdopen refuses a folder, and would leave it open
        raise UsageError(f"{path} is not a plain file", "give the path of a workflow file")
    with os.fdopen(handle, "rb") as file:
        if about.st_size > MAX_WORKFLOW:
            size = f"{about.st_size:,} bytes, the bound is {MAX_WORKFLOW:,}"
            raise InvalidWorkflow(
                f"{path.name}: the file is too large: {size}", "move scripts into files of the source"
            )
        return file.read(MAX_WORKFLOW + 1)


def keep_scheduled(engine: Engine, blobs: BlobStore) -> None:
    """Keep what this node's own schedules need for another while; blocks. Called now and then."""
    for schedule in list(engine.desk.schedules):
        if schedule.event.author != engine.desk.me or not engine.timetable.is_live(schedule):
            continue
        body = cast("dict[str, Any]", schedule.event.body)
        manifests = [action["source"] for action in body["actions"].values()]
        manifests += [] if body["source"] is None else [body["source"]]
        with suppress(NotFound):  # it is lost already, and the runs say so
            until = now().wall + PIN_MS
            blobs.pin_all(pinned_blobs(manifests, blobs), f"schedule {schedule.id.text}", until)
