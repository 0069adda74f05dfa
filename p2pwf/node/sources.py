"""The source of a submission, taken from the user's tree into blobs, and kept for as long as its run may ask for it."""

from __future__ import annotations

from pathlib import Path

import attrs

from p2pwf.errors import UsageError
from p2pwf.node.jobs import PIN_MS
from p2pwf.node.loop import now
from p2pwf.node.submission import SourceFacts
from p2pwf.runner.manifest import parse
from p2pwf.runner.source import origin, snapshot
from p2pwf.store.blobs import BlobStore


@attrs.frozen(slots=True)
class Taken:
    """The facts for the submission, and what does not travel, by name."""

    facts: SourceFacts
    left_out: tuple[str, ...]


def take_source(file: Path, folder: str | None, no_source: bool, blobs: BlobStore) -> Taken:
    """Record the tree of a workflow file; raises UsageError, Refused or StorageError, with nothing kept then."""
    if not file.is_file():
        raise UsageError(f"no file {file}", "give the path of a workflow file")
    source = snapshot(file, Path(folder) if folder is not None else None, no_source, blobs)
    if source is None:
        about = origin(file, None, no_source=True)
        facts = SourceFacts(
            ref=about.ref,
            sha=about.sha,
            repository=about.repository,
            actor=about.actor,
            workflow_path=about.rel_workflow_path,
        )
        return Taken(facts, ())
    content = blobs.path(source.manifest).read_bytes()
    cids = {entry.cid for entry in parse(content).files if entry.cid is not None}
    blobs.pin_all([source.manifest, *cids], f"source {source.manifest.text}", now().wall + PIN_MS)
    facts = SourceFacts(
        manifest=source.manifest,
        ref=source.ref,
        sha=source.sha,
        repository=source.repository,
        actor=source.actor,
        workflow_path=source.rel_workflow_path,
    )
    return Taken(facts, source.left_out)
