"""The levels of isolation of a job, by name and rank. Pure: what a level does stands in `runner/isolation`.

A job asks for a level by a label in `runs-on`: `[self-hosted, isolation:sandbox]`. A node that can keep a level carries
the labels of it and of all that are lower, so the roster says who may be a candidate for such a job, and `network:none`
if it can run a job without a network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import IntEnum
from typing import Final

__all__ = ["NO_NETWORK", "PREFIX", "Level", "asked_level", "choose", "labels_of", "told_labels"]

PREFIX: Final = "isolation:"
NO_NETWORK: Final = "network:none"


class Level(IntEnum):
    """How far apart a job is kept from the machine that runs it; more is greater."""

    none = 0
    """As the node's own user, with all that this user may do."""
    process = 1
    """An unprivileged user or less, with bounds on what it may use and, where the kernel has it, on files."""
    sandbox = 2
    """Namespaces of its own: a curated system, read only, and nothing of the node or of other jobs in sight."""
    container = 3
    """A container of docker or podman."""

    @property
    def label(self) -> str:
        """The label by which a node says that it can keep this level, and a job that it wants no less."""
        return f"{PREFIX}{self.name}"


_BY_LABEL: Final = {level.label: level for level in Level}


def asked_level(labels: Iterable[str]) -> Level:
    """The least level that labels of `runs-on` ask for: the highest that they name, or `none`."""
    return max((_BY_LABEL.get(label.lower(), Level.none) for label in labels), default=Level.none)


def told_labels(labels: Iterable[str]) -> list[str]:
    """The labels of a machine for people: of its levels only the best, and last."""
    every = list(labels)
    best = asked_level(every)
    shown = [label for label in every if label != NO_NETWORK and label.lower() not in _BY_LABEL]
    return [*shown, best.label] if best > Level.none else shown


def choose(
    available: Collection[Level],
    floor: Level,
    *,
    network: bool = True,
    containers: bool = False,
    least: bool = False,
) -> Level | None:
    """The best of the available levels that is no less than `floor`; None if there is none.

    `network`: whether the job has one; only namespaces can take it away. `containers`: whether the job brings some of
    its own; a sandbox reaches no engine, so they run in a container's bounds or in none. `least`: the lowest of
    them instead of the best.
    """
    usable = set(available)
    if not network:
        usable -= {Level.none, Level.process}
    if containers:
        usable -= {Level.process, Level.sandbox}
    fitting = [level for level in usable if level >= floor]
    return (min if least else max)(fitting, default=None)


def labels_of(available: Collection[Level]) -> tuple[str, ...]:
    """The labels of a machine that can keep these levels: of the best and of all below it, and `network:none`.

    A job that asks for a level is content with more, so a level that is missing in between is no lie.
    """
    best = max(available, default=Level.none)
    own = tuple(level.label for level in Level if level <= best)
    return (*own, NO_NETWORK) if best >= Level.sandbox else own
