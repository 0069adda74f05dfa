"""actions/upload-artifact: a manifest of the files that `path` names, under a name that the run has once.

Source of the meaning: the public documentation of actions/upload-artifact, fourth major version. The root of the
artifact is the folder that all places to look at have in common; a single file stands alone in it. Links are
followed. Files that begin with a dot, and all below such folders, are left out unless asked for.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Final

from p2pwf.core.bodies import MAX_ARTIFACTS
from p2pwf.errors import Refused, UsageError
from p2pwf.runner.native.artifacts import FORBIDDEN, artifact_id, check_name, hidden_name, known
from p2pwf.runner.native.context import NativeAction, NativeContext
from p2pwf.runner.native.globs import Patterns, read_patterns
from p2pwf.runner.native.staging import Budget, scratch, stage
from p2pwf.runner.values import Artifact

NONE_FOUND: Final = ("warn", "error", "ignore")


async def _main(context: NativeContext) -> dict[str, str]:
    given = context.text("name")
    name = hidden_name(context, given) or "artifact"
    check_name(name)
    if given and name != given:
        context.warn(f"The name of the artifact holds a secret: it is kept as '{name}'")
    overwrite, hidden = context.flag("overwrite"), context.flag("include-hidden-files")
    otherwise = context.text("if-no-files-found", "warn").lower()
    if otherwise not in NONE_FOUND:
        raise UsageError(f"Unrecognized if-no-files-found input: {otherwise[:80]}", f"one of {', '.join(NONE_FOUND)}")
    _check_numbers(context)
    lines = context.lines("path")
    if not lines:
        raise UsageError("Input required and not supplied: path", "name the files to keep")
    patterns = read_patterns(context, lines)
    files = await context.state.hand.run(patterns.files, hidden)
    if not files:
        return _none_found(context, otherwise, " ".join(lines))
    _check_paths(files)
    state = context.state
    if state.env.store_folder is None:
        raise Refused("artifacts are not kept here", "run it on a node, or with 'p2pwf run'")
    if not overwrite:
        await _refuse_if_taken(context, name)
    if len(state.artifacts) >= MAX_ARTIFACTS:
        raise UsageError(f"over {MAX_ARTIFACTS} artifacts of one job", "put several results into one")
    root = _root(patterns, files)
    context.say(f"With the provided path, there will be {len(files)} file{'s' if len(files) > 1 else ''} uploaded")
    artifact = await _keep(context, name, root, files)
    if not overwrite:
        await _refuse_if_taken(context, name)  # a step beside this one may have been faster
    state.artifacts[:] = [one for one in state.artifacts if one.name != name]
    state.artifacts.append(artifact)
    number = artifact_id(artifact)
    context.say(f"Artifact {name} has been successfully uploaded! It has {artifact.size} bytes. Artifact ID: {number}")
    return {"artifact-id": number, "artifact-digest": bytes(artifact.link)[-32:].hex(), "artifact-url": ""}


ACTION: Final = NativeAction(_main)


async def _refuse_if_taken(context: NativeContext, name: str) -> None:
    """Raise Refused for a name that the run has already, unless by an earlier attempt of this job."""
    request = context.state.request
    earlier = (await known(context)).get(name)
    if earlier is not None and not (earlier.job == request.job_id and earlier.attempt < request.attempt):
        raise Refused(
            f"Failed to CreateArtifact: an artifact with the name '{name}' already exists on the workflow run",
            "give each one a name of its own, or set `overwrite: true`",
        )


def _check_numbers(context: NativeContext) -> None:
    """Accepted, for their meaning is GitHub's own: how long artifacts are kept is for the network to say."""
    for name, most in (("retention-days", 400), ("compression-level", 9)):
        given = context.text(name)
        if given and not (given.isascii() and given.isdecimal() and int(given) <= most):
            raise UsageError(f"Invalid {name}: {given[:80]}", f"a number from 0 to {most}")


def _none_found(context: NativeContext, otherwise: str, paths: str) -> dict[str, str]:
    message = f"No files were found with the provided path: {paths}. No artifacts will be uploaded."
    if otherwise == "error":
        raise UsageError(message)
    if otherwise == "warn":
        context.warn(message)
    else:
        context.say(message)
    return {}


def _check_paths(files: list[str]) -> None:
    for path in files:
        bad = next((one for one in path if one in FORBIDDEN), None)
        if bad is not None:
            raise UsageError(
                f"The path for one of the files in artifact is not valid: {path[:200]}. "
                f"Contains the following character: {bad!r}",
                "some file systems have no such names: pack those files into an archive",
            )


def _root(patterns: Patterns, files: list[str]) -> str:
    """The folder that becomes the top of the artifact."""
    starts = patterns.starts
    if len(starts) > 1:
        return os.path.commonpath(starts)
    if files == [starts[0]]:
        return os.path.dirname(starts[0])  # noqa: PTH120 - text is what patterns give
    return starts[0]


async def _keep(context: NativeContext, name: str, root: str, files: list[str]) -> Artifact:
    state = context.state
    store = state.env.store_folder
    assert store is not None
    names = [path[len(root.rstrip("/")) + 1 :] for path in files]
    plain = await state.hand.run(_measured, f"the artifact '{name}'", root, files)
    if plain and not state.hand.is_apart:  # else what is packed has to stand where the job cannot change it
        stored = await store(Path(root), frozenset(names))
    else:
        async with scratch(state) as folder:
            pairs = list(zip(files, names, strict=True))
            await state.hand.run(partial(stage, folder, pairs, follow=True), into=[folder])
            stored = await store(folder, None)
    request = state.request
    return Artifact(name=name, link=stored.link, size=stored.size, job=request.job_id, attempt=request.attempt)


def _measured(what: str, root: str, files: list[str]) -> bool:
    """Whether the files can be packed where they are: none is reached through a link, or is one."""
    budget = Budget(what)
    real_root = os.path.realpath(root)
    plain = True
    real: dict[str, str] = {}
    for path in files:
        budget.take(os.stat(path).st_size)  # noqa: PTH116 - in a hot loop
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder not in real:
            real[folder] = os.path.realpath(folder)
        plain = plain and real[folder] == real_root.rstrip("/") + folder[len(root.rstrip("/")) :]
        plain = plain and not os.path.islink(path)  # noqa: PTH114
    return plain
