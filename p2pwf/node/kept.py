"""What jobs of this network have left behind, as the engine knows it now: artifacts of a run, caches of a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from p2pwf.core.dagcbor import Value
from p2pwf.core.ids import Cid
from p2pwf.engine import Engine
from p2pwf.runner.values import Artifact, Cache
from p2pwf.runs import Run

DEFAULT_BRANCHES = ("refs/heads/main", "refs/heads/master")
"""Whose caches every branch may use, as on GitHub."""


def artifacts_of(engine: Engine, run: Cid) -> tuple[Artifact, ...]:
    """The artifacts of a run, in the order in which their jobs finished."""
    known = engine.desk.runs.get(run)
    if known is None:
        return ()
    return tuple(
        Artifact(
            name=cast(str, one["name"]),
            link=cast(Cid, one["link"]),
            size=cast(int, one["size"]),
            job=job,
            attempt=attempt,
        )
        for job, attempt, one in _left(known, "artifacts")
    )


def find_cache(engine: Engine, run: Cid, keys: tuple[str, ...], version: str) -> Cache | None:
    """The cache of the first key: its own, else the newest that begins with it; then the same for the other keys.

    Caches of this repository are looked through, of the run's own ref first, then of a default branch: those of the
    runs that are in memory, which are the active ones and the last that have ended.
    """
    own = engine.desk.runs.get(run)
    if own is None:
        return None
    body = own.submission.body
    refs = tuple(dict.fromkeys((cast(str, body["ref"]), *DEFAULT_BRANCHES)))
    runs = [one for one in engine.desk.runs.values() if one.submission.body["repository"] == body["repository"]]
    runs.sort(key=lambda one: one.submission.order, reverse=True)
    for ref in refs:
        held = [
            entry
            for one in runs
            if one.submission.body["ref"] == ref
            for _, _, entry in reversed(list(_left(one, "caches")))
            if entry["version"] == version
        ]
        for key in keys:
            for entry in (
                *(entry for entry in held if entry["key"] == key),
                *(entry for entry in held if cast(str, entry["key"]).startswith(key)),
            ):
                return Cache(
                    key=cast(str, entry["key"]),
                    version=version,
                    link=cast(Cid, entry["link"]),
                    size=cast(int, entry["size"]),
                )
    return None


def _left(run: Run, what: str) -> Iterator[tuple[str, int, Mapping[str, Value]]]:
    """(job, attempt, entry) of the finishes that count, in order."""
    finishes = [event for event in run.events.values() if event.type == "job.finish" and event.counts]
    for event in sorted(finishes, key=lambda event: event.order):
        for entry in cast("list[dict[str, Value]]", event.body[what]):
            yield event.key[0], event.attempt, entry
