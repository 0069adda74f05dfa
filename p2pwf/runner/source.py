"""The source of a run: which files travel with a workflow, and what its repository says of itself.

Reads the user's tree and puts blobs; must not know the network, or how the tree is laid out again (`checkout`).
Which files travel is `sourcetree`'s. Everything is counted before anything is stored, so a tree that is too
large costs nothing; a file that changes meanwhile travels as it was when it was read.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import attrs

from p2pwf.core.ids import Cid
from p2pwf.errors import Refused, TryAgain, UsageError
from p2pwf.runner import gittree
from p2pwf.runner.gittree import NO_COMMIT, SOURCE_HINT, Repository
from p2pwf.runner.manifest import FILE, LINK, PROGRAM, ManifestError, SourceFile, build
from p2pwf.runner.sourcetree import Found, refuse_if_large, shown, unreadable, walk

MAX_TEXT: Final = 256
"""Characters kept of a name that git or the system gives, such as the user's."""
DEFAULT_REF: Final = "refs/heads/main"
"""The ref of a tree without a repository: workflows ask for one, and this is what a new repository has."""
DETACHED_REF: Final = "HEAD"
WORKFLOWS: Final = (".github", "workflows")


class Batch(Protocol):
    """Where the contents of a tree go; all are durable when the `with` block is left."""

    def put_bytes(self, content: bytes) -> Cid:
        """Add a blob."""

    def put_open(self, source: BinaryIO) -> Cid:
        """Add a copy of an open file."""


class Blobs(Protocol):
    """What `snapshot` needs of a blob store."""

    def batch(self) -> AbstractContextManager[Batch]:
        """Many blobs that become durable together."""


@attrs.frozen(slots=True)
class Origin:
    """A tree and its repository's facts. `sha` is zeros without a commit; `rel_workflow_path` has `/` between names."""

    root: Path
    rel_workflow_path: str
    ref: str
    sha: str
    repository: str
    actor: str


@attrs.frozen(slots=True)
class Source:
    """A tree whose manifest and files are blobs now. `left_out`: paths that do not travel, as people can read them."""

    manifest: Cid
    files: int
    bytes: int
    ref: str
    sha: str
    repository: str
    actor: str
    left_out: tuple[str, ...]
    root: Path
    rel_workflow_path: str


def origin(file: Path, source: Path | None, no_source: bool) -> Origin:
    """The tree of the workflow `file` and its facts; `source` names another tree.

    Raises UsageError when there is no such folder, Refused when git refuses the repository; with `no_source` nothing
    of that repository is needed, and one that is refused counts as none.
    """
    try:
        return _origin(file, source)[0]
    except Refused:
        if not no_source:
            raise
        return _facts(file, file.parent.resolve(), None, None, None)


def snapshot(file: Path, source: Path | None, no_source: bool, blobs: Blobs) -> Source | None:
    """Record the tree of the workflow `file` (or `source`) as blobs, durably; None with `no_source`.

    Raises UsageError when the tree is too large or not there, Refused when git refuses the repository, StorageError
    when a file cannot be read or a blob not be written; then no blob of it is kept.
    """
    if no_source:
        if source is not None:
            raise UsageError("--source and --no-source contradict each other", "give one of them")
        return None
    facts, in_repository = _origin(file, source)
    tree = walk(facts.root, in_repository)
    with blobs.batch() as batch:
        files = []
        total = 0
        for item in tree.found:
            stored = _store(facts.root, item, batch)
            if stored is not None:
                files.append(stored)
                total += stored.size
                refuse_if_large(facts.root, len(files), total)
        try:
            manifest = batch.put_bytes(build(files))
        except ManifestError as error:
            raise TryAgain(f"{facts.root} changed while it was read: {error.message}", "submit again") from error
    return Source(
        manifest=manifest,
        files=len(files),
        bytes=total,
        ref=facts.ref,
        sha=facts.sha,
        repository=facts.repository,
        actor=facts.actor,
        left_out=tree.left_out_names(),
        root=facts.root,
        rel_workflow_path=facts.rel_workflow_path,
    )


def _origin(file: Path, source: Path | None) -> tuple[Origin, bool]:
    """The facts, and whether git says which files belong to the tree."""
    folder = (file.parent if source is None else source).resolve()
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", SOURCE_HINT)
    repository = gittree.find(folder)
    if repository is None:
        above = folder.parents[1] if len(folder.parts) > 2 else folder
        if source is None and folder.parts[-2:] == WORKFLOWS and not (above / ".git").exists():
            folder = above  # as a repository has it, so that paths in the workflow lead where they should
        return _facts(file, folder, None, *gittree.settings(folder)), False
    root = repository.top if source is None else folder
    # A folder that was named although its repository ignores it, such as a build's output, is meant as it stands.
    git_says = root == repository.top or not gittree.is_ignored(root)
    return _facts(file, root, repository, *gittree.settings(folder)), git_says


def _facts(file: Path, root: Path, repository: Repository | None, named: str | None, user: str | None) -> Origin:
    workflow = file.parent.resolve() / file.name
    inside = workflow.relative_to(root) if workflow.is_relative_to(root) else Path(file.name)
    return Origin(
        root=root,
        rel_workflow_path=shown(os.fsencode(inside)),
        ref=DEFAULT_REF if repository is None else (repository.ref or DETACHED_REF),
        sha=NO_COMMIT if repository is None else repository.sha,
        repository=named or f"local/{_plain(root.name)}",
        actor=(user or _login())[:MAX_TEXT],
    )


def _store(root: Path, item: Found, batch: Batch) -> SourceFile | None:
    """Put one file's content; None if it went away since it was listed."""
    if item.target is not None:
        return SourceFile(item.path, LINK, item.size, target=item.target)
    path = root / os.fsdecode(item.raw)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb", buffering=0) as file:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                return None
            cid = batch.put_open(file)
            return SourceFile(item.path, PROGRAM if mode & stat.S_IXUSR else FILE, file.tell(), cid=cid)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def _plain(name: str) -> str:
    """A folder's name as the second part of owner/name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:MAX_TEXT] or "root"


def _login() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run under an id that has no name
        return f"uid-{os.geteuid()}"
