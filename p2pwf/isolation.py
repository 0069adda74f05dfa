"""The levels of isolation of a job, by name and rank. Pure: what a level does stands in `runner/isolation`.

A job asks for a level by a label in `runs-on`: `[self-hosted, isolation:sandbox]`. A node that can keep a level carries
the labels of it and of all that are lower, so the roster says who may be a candidate for such a job, and `network:none`
if it can run a job without a network.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

__all__ = ["NO_NETWORK", "PREFIX", "Level", "asked_level"]

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
