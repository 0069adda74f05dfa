"""actions/download-artifact: lay artifacts of the run out, one by name or id, or all that fit a pattern.

Source of the meaning: the public documentation of actions/download-artifact, fourth major version; an artifact
that is asked for by its id alone is laid out like one asked for by its name, as from the fifth on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from p2pwf.errors import NotFound, UsageError
from p2pwf.runner.checkout import layout
from p2pwf.runner.native.artifacts import artifact_id, check_name, hidden_name, known
from p2pwf.runner.native.context import NativeAction, NativeContext
from p2pwf.runner.patterns import check_length, segment_expression
from p2pwf.runner.values import Artifact


async def _main(context: NativeContext) -> dict[str, str]:
    _check_run(context)
    name, pattern = (hidden_name(context, context.text(one)) for one in ("name", "pattern"))
    ids = [one.strip() for one in context.text("artifact-ids").split(",") if one.strip()]
    if name and ids:
        raise UsageError("Inputs 'name' and 'artifact-ids' cannot be used together", "give one of them")
    merge = context.flag("merge-multiple")
    there = await known(context)
    if name:
        check_name(name)
        chosen = [there[name]] if name in there else []
    elif ids:
        chosen = [one for one in there.values() if artifact_id(one) in ids]
    else:
        check_length(pattern)
        fits = re.compile(segment_expression(pattern), re.DOTALL) if pattern else None
        chosen = [one for one in there.values() if fits is None or fits.fullmatch(one.name)]
    wanted = f"name: {name}" if name else f"ids: {', '.join(ids)}" if ids else ""
    if wanted and (not chosen or len(chosen) < len(set(ids))):
        raise NotFound(f"Unable to download artifact(s): Artifact not found for {wanted}", _those(there))
    folder = context.path(context.text("path"))
    single = bool(name) or merge or (len(ids) == 1)
    for artifact in sorted(chosen, key=lambda one: one.name):
        await _lay_out(context, artifact, folder if single else folder / artifact.name)
    if not name:
        context.say(f"Total of {len(chosen)} artifact(s) downloaded")
    return {"download-path": context.inside(folder)}


ACTION: Final = NativeAction(_main)


def _check_run(context: NativeContext) -> None:
    """Only what belongs to the run itself can be had: no other run's artifacts travel with it."""
    facts = context.state.facts
    run, repository = context.text("run-id"), context.text("repository")
    if run and run not in (facts.run_id, context.state.request.run):
        raise UsageError(
            f"actions/download-artifact of another run ({run}) is not supported",
            "only artifacts of this run travel with it; `p2pwf workflow artifacts RUN --download DIR` gets others",
        )
    if repository and repository.lower() != facts.repository.lower():
        raise UsageError(
            f"actions/download-artifact from another repository ({repository}) is not supported",
            f"only artifacts of this run of {facts.repository} travel with it",
        )


def _those(there: Mapping[str, Artifact]) -> str:
    names = ", ".join(sorted(there)[:20])
    return f"known here now: {names}" if names else "the run has none that this job knows of; does it need that job?"


async def _lay_out(context: NativeContext, artifact: Artifact, folder: Path) -> None:
    context.say(f"Downloading artifact {artifact.name} ({artifact.size} bytes) to {folder}")
    await layout(artifact.link, context.state.env.fetch_blob, folder, hand=context.state.hand)
