"""Actions that the runner does itself. Of this release: actions/checkout, from the source that travels with a run.

Source of the inputs' meaning: the public README of actions/checkout.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from p2pwf.errors import UsageError
from p2pwf.runner.checkout import layout
from p2pwf.runner.state import JobState

_CHECKOUT: Final = re.compile(r"actions/checkout@.+", re.IGNORECASE)


@attrs.frozen(slots=True)
class NativeContext:
    """What a stage of an action works with: `inputs` by lower-case name, `saved` kept from main to post."""

    state: JobState
    number: int
    inputs: Mapping[str, str]
    saved: dict[str, str]


@attrs.frozen(slots=True)
class NativeAction:
    """An action: `main` gives its outputs; both stages raise P2pwfError or OSError, with which the step fails."""

    main: Callable[[NativeContext], Awaitable[dict[str, str]]]
    post: Callable[[NativeContext], Awaitable[None]] | None = None
    post_condition: str = "always()"


def find(uses: str) -> NativeAction | None:
    """The action that a `uses` names if the runner does it itself."""
    return NativeAction(_checkout) if _CHECKOUT.fullmatch(uses) else None


async def _checkout(context: NativeContext) -> dict[str, str]:
    state, inputs = context.state, context.inputs
    facts = state.facts
    repository = inputs.get("repository") or facts.repository
    if repository.lower() != facts.repository.lower():
        raise UsageError(
            f"actions/checkout of another repository: {repository}",
            f"only the source of the run, {facts.repository}, travels with it",
        )
    ref = inputs.get("ref")
    if ref and ref not in (facts.ref, facts.ref_name, facts.sha):
        raise UsageError(f"actions/checkout of another ref: {ref}", f"the source of the run is {facts.ref_name}")
    if state.request.source is None:
        raise UsageError("this run has no source to check out", "submit it without --no-source")
    folder = _destination(state.folders.workspace, inputs.get("path", ""))
    await trio.to_thread.run_sync(_empty, folder)
    await layout(state.request.source, state.env.fetch_blob, folder)
    state.log.say(context.number, f"The source of the run is in {folder}")
    return {"ref": facts.ref, "commit": facts.sha}


def _destination(workspace: Path, path: str) -> Path:
    """The folder that `path` names; raises UsageError if it lies outside the workspace, by links too."""
    root = workspace.resolve()
    folder = (root / path).resolve()
    if not folder.is_relative_to(root):
        raise UsageError(f"actions/checkout to a folder outside of the workspace: {path}", "give a path below it")
    return folder


def _empty(folder: Path) -> None:
    """Make a folder, or take out whatever is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
