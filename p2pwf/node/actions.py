"""What a submission brings along from elsewhere: the workflows that it calls, and the actions that its steps use.

Blocks: call it in a thread. Everything is pinned at submission, so whoever runs a job needs no network for it: called
files travel as texts, actions as manifests of blobs, both found through local actions and composite ones as well. What
the runner does itself needs no pin. A workflow that is tagged `offline-workflow` never makes anything be fetched.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, Final, Protocol, cast

import attrs

from p2pwf.core.bodies import MAX_ACTIONS, MAX_WORKFLOW
from p2pwf.core.ids import Cid
from p2pwf.errors import P2pwfError, TryAgain, UsageError
from p2pwf.node.repositories import Repositories, Snapshot
from p2pwf.runner.manifest import LINK, SourceFile, parse
from p2pwf.runner.source import Blobs
from p2pwf.workflow import Step, Workflow, calls_of
from p2pwf.workflow import parse as parse_workflow
from p2pwf.workflow.calls import MAX_CALLED, MAX_LEVELS
from p2pwf.workflow.yaml import MAX_BYTES

OFFLINE: Final = "offline-workflow"
FILES: Final = ("action.yml", "action.yaml")
NATIVE: Final = frozenset(
    f"actions/{name}"
    for name in (
        "checkout",
        "upload-artifact",
        "download-artifact",
        "cache",
        "cache/restore",
        "cache/save",
        "setup-python",
        "setup-node",
    )
)
"""What the runner does itself, whatever the version."""
FETCH_SECONDS: Final = 100.0
"""For all that one submission makes be fetched: whoever submits waits for an answer, and not for ever."""
MAX_LINKS: Final = 40
"""Links followed to one file, as Linux has it."""

Read = Callable[[str], "bytes | None"]
"""A file of the source by its path with `/`, or None if the source has none."""


class Readable(Protocol):
    """A blob store that also says where a blob lies."""

    def path(self, cid: Cid) -> Any: ...  # noqa: ANN401 - a pathlib.Path


def source_reader(manifest: Cid, blobs: Readable) -> Read:
    """Reads the files of a source that was recorded; raises StorageError where its blobs are damaged."""
    files: dict[str, SourceFile] = {}

    def read(path: str) -> bytes | None:
        if not files:  # most submissions ask for none
            files.update((file.path, file) for file in parse(blobs.path(manifest).read_bytes()).files)
        name = posixpath.normpath(path)
        for _ in range(MAX_LINKS):
            file = files.get(name)
            if file is None:
                return None
            if file.mode != LINK:
                with blobs.path(cast(Cid, file.cid)).open("rb") as stream:
                    return cast(bytes, stream.read(MAX_WORKFLOW + 1))
            name = posixpath.normpath(posixpath.join(posixpath.dirname(name), file.target or ""))
        return None

    return read


@attrs.frozen(slots=True)
class Use:
    """A step that uses an action, and where: the job or action it stands in, its number from 1."""

    uses: str
    where: str


class Library:
    """Finds the called workflows and the actions of one submission. `read`: its source."""

    def __init__(self, repositories: Repositories, read: Read, blobs: Blobs) -> None:
        self._repositories = repositories
        self._read = read
        self._blobs = blobs
        self._snapshots: dict[tuple[str, str], Snapshot] = {}
        self._packed: dict[tuple[str, str], Cid] = {}
        self._until = monotonic() + FETCH_SECONDS

    @property
    def manifests(self) -> tuple[Cid, ...]:
        """The manifests of all that was pinned."""
        return tuple(dict.fromkeys(self._packed.values()))

    def for_tags(self, tags: Iterable[str]) -> None:
        """Fetch nothing from here on, if these tags of the workflow say so."""
        if OFFLINE in tags:
            self._repositories = attrs.evolve(self._repositories, offline=True)

    # -- called workflows ---------------------------------------------------------------------------------------

    def called(self, workflow: Workflow) -> dict[str, str]:
        """The texts of all workflows that one calls, directly or not, by key (see `workflow.calls`).

        One that the source has not is left out, and found missing when the calls are laid out. Raises what finding
        another repository raises, with the job's name.
        """
        texts: dict[str, str] = {}
        pending = [(workflow, "", 1)]
        while pending:
            caller, inside, level = pending.pop()
            for job, key in calls_of(caller, inside):
                if key in texts or level >= MAX_LEVELS or len(texts) > MAX_CALLED:
                    continue  # out of bounds it may be: that is said when the calls are laid out
                data = self._workflow(key, f"the job '{job.id}' calls '{job.uses}'")
                if data is None:
                    continue
                if len(data) > MAX_WORKFLOW:
                    raise UsageError(f"{key}: the file is too large", f"the bound is {MAX_WORKFLOW:,} bytes")
                texts[key] = data.decode("utf-8", "replace")
                parsed = parse_workflow(texts[key], key).workflow
                if parsed is not None:
                    pending.append((parsed, key, level + 1))
        return texts

    def _workflow(self, key: str, who: str) -> bytes | None:
        name, at, ref = key.partition("@")
        if not at:
            return self._read(key)
        owner, _, rest = name.partition("/")
        repository, _, path = rest.partition("/")
        snapshot = self._snapshot(f"{owner}/{repository}", ref, who)
        return snapshot.read(path, MAX_WORKFLOW + 1)

    # -- actions ------------------------------------------------------------------------------------------------

    def actions(self, workflows: Iterable[Workflow]) -> dict[str, dict[str, Any]]:
        """The pins of all actions that the steps of these files use, directly or not: {uses: {sha, source}}.

        Raises what finding a repository raises, with the step's name; UsageError for too many.
        """
        pins: dict[str, dict[str, Any]] = {}
        seen: set[str] = set()
        pending = [use for workflow in workflows for use in _uses_of(workflow)][::-1]
        while pending:
            use = pending.pop()
            if use.uses in seen:
                continue
            seen.add(use.uses)
            if len(seen) > 4 * MAX_ACTIONS:
                raise UsageError(f"the workflow uses more than {4 * MAX_ACTIONS} actions", "split it")
            if use.uses.startswith(("./", ".\\")):
                read, folder = self._read, use.uses.replace("\\", "/")
            else:
                name, _, ref = use.uses.partition("@")
                if name.lower() in NATIVE:
                    continue
                owner, _, rest = name.replace("\\", "/").partition("/")
                repository, _, folder = rest.partition("/")
                snapshot = self._snapshot(f"{owner}/{repository}", ref, f"{use.where} uses '{use.uses}'")
                pins[use.uses] = {"sha": snapshot.sha, "source": self._pack(f"{owner}/{repository}", ref)}
                if len(pins) > MAX_ACTIONS:
                    raise UsageError(f"the workflow uses more than {MAX_ACTIONS} actions of others", "split it")
                read = _reader(snapshot)
            pending.extend(reversed(list(_inner(use, read, folder))))
        return pins

    def _snapshot(self, repository: str, ref: str, who: str) -> Snapshot:
        known = self._snapshots.get((repository.lower(), ref))
        if known is None:
            left = self._until - monotonic()
            if left <= 0:
                message = f"{who}: fetching actions took over {FETCH_SECONDS:g} s"
                raise TryAgain(message, "submit again: what has been fetched is kept")
            try:
                known = self._repositories.find(repository, ref, left)
            except P2pwfError as error:
                raise type(error)(f"{who}: {error.message}", error.hint or _hint(self._repositories)) from error
            self._snapshots[repository.lower(), ref] = known
        return known

    def _pack(self, repository: str, ref: str) -> Cid:
        key = repository.lower(), ref
        if key not in self._packed:
            self._packed[key] = self._snapshots[key].pack(self._blobs)
        return self._packed[key]


def _hint(repositories: Repositories) -> str | None:
    if not repositories.offline:
        return None
    return "put it into the folder of mirrors (P2PWF_ACTIONS), or submit once without the tag offline-workflow"


def _reader(snapshot: Snapshot) -> Read:
    return lambda path: snapshot.read(path, MAX_BYTES + 1)


def _uses_of(workflow: Workflow) -> Iterator[Use]:
    for job in workflow.jobs:
        yield from _steps(job.steps, f"{workflow.path}: the step {{}} of the job '{job.id}'")


def _steps(steps: Iterable[Step], where: str) -> Iterator[Use]:
    for number, step in enumerate(steps, 1):
        if step.uses is not None and not step.uses.lower().startswith("docker://"):
            yield Use(step.uses, f"{where.format(number)} (line {step.place.line})")
        yield from _steps(step.steps, where)


def _inner(use: Use, read: Read, folder: str) -> Iterator[Use]:
    """The actions that a composite action uses. One that is not there, or does not check, fails when it is run."""
    from p2pwf.workflow.action import CompositeRuns, parse_action  # noqa: PLC0415 - most workflows use no such action

    for name in FILES:
        data = read(posixpath.normpath(posixpath.join(folder, name)))
        if data is None:
            continue
        action = parse_action(data, name).action
        if action is not None and isinstance(action.runs, CompositeRuns):
            yield from _steps(action.runs.steps, f"the step {{}} of the action '{use.uses}'")
        return


def pinned_blobs(manifests: Iterable[Cid], blobs: Readable) -> set[Cid]:
    """All blobs of these manifests, themselves included; raises NotFound for one that is not here."""
    found: set[Cid] = set()
    for manifest in manifests:
        found.add(manifest)
        found.update(file.cid for file in parse(blobs.path(manifest).read_bytes()).files if file.cid is not None)
    return found
