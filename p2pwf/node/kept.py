"""What jobs of this network have left behind, as the engine knows it now: artifacts of a run, caches of a source."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from typing import Final, cast

import structlog

from p2pwf.core.dagcbor import Value
from p2pwf.core.ids import Cid
from p2pwf.engine import Engine
from p2pwf.errors import UsageError
from p2pwf.node.policing import Gatekeeper
from p2pwf.runner.native.artifacts import check_name
from p2pwf.runner.values import Artifact, Cache
from p2pwf.runs import Run
from p2pwf.runs.view import keys_of

log = structlog.get_logger()

MAX_TRIED: Final = 64
"""Caches of which it is looked whether they are to be believed, before a job goes on without one."""


def artifacts_of(engine: Engine, run: Cid) -> tuple[Artifact, ...]:
    """The artifacts of a run, in the order in which their jobs finished.

    A name becomes a folder, here and where it is downloaded, and it is what another member says: one that no upload
    would have been given is left out, and said.
    """
    known = engine.desk.runs.get(run)
    if known is None:
        return ()
    found = []
    for job, attempt, one in _left(known, "artifacts"):
        name, link, size = cast(str, one["name"]), cast(Cid, one["link"]), cast(int, one["size"])
        try:
            check_name(name)
        except UsageError as error:
            log.warning("an artifact is left out", run=run.text, job=job, error=error.message)
            continue
        found.append(Artifact(name=name, link=link, size=size, job=job, attempt=attempt))
    return tuple(found)


async def find_cache(
    engine: Engine,
    gatekeeper: Gatekeeper,
    run: Cid,
    keys: tuple[str, ...],
    version: str,
    recall: Callable[[Cid], Awaitable[None]],
) -> Cache | None:
    """The cache of the first key: its own, else the newest that begins with it; then the same for the other keys.

    Caches of this repository are looked through, of the run's own ref first, then of a default branch. Repository and
    ref are what a submitter says, so a cache is taken only from a run whose jobs this node would run itself, and on
    terms no stricter: what is in it was made by code that it trusts as much. `recall` holds an ended run whole again.
    """
    own = engine.desk.runs.get(run)
    if own is None:
        return None
    for saved in islice(engine.desk.caches.find(own.submission, keys, version), MAX_TRIED):
        if saved.run in engine.desk.pruned:
            continue
        await recall(saved.run)
        made = engine.desk.runs.get(saved.run)
        outcome = None if made is None else made.events.get(saved.finish)
        if made is None or outcome is None or made.tally.finish(outcome.key) is not outcome:
            continue
        if gatekeeper.trusts(made.submission, own.submission):
            return Cache(key=saved.key, version=version, link=saved.link, size=saved.size)
    return None


def _left(run: Run, what: str) -> Iterator[tuple[str, int, Mapping[str, Value]]]:
    """(job, attempt, entry) of the outcomes, in order; of a rerun first those that it carries over."""
    outcomes = [run.tally.finish(key) for key in keys_of(run)]
    finishes = [event for event in outcomes if event is not None and event.type == "job.finish"]
    for event in sorted(finishes, key=lambda event: event.order):
        for entry in cast("list[dict[str, Value]]", event.body[what]):
            yield event.key[0], event.attempt, entry
