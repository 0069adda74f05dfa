"""Which level of isolation a job gets on this node: the one place that decides. Starts nothing.

The levels that work here come from probes at the node's start (`runner/isolation/probe`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from p2pwf.errors import Refused
from p2pwf.isolation import NO_NETWORK, Level, asked_level, choose
from p2pwf.runner.isolation.probe import Probe


@attrs.frozen(slots=True)
class Isolation:
    """How one job is kept."""

    level: Level
    network: bool


def floor_for(*, own: bool, trust_members: bool) -> Level:
    """The least that a submitter's jobs get: this node's own may run as it is, those of others must be kept apart."""
    return Level.none if own or trust_members else Level.process


def level_for(
    available: Mapping[Level, Probe],
    labels: Sequence[str],
    floor: Level,
    *,
    containers: bool = False,
    least: bool = False,
) -> Isolation:
    """The best level that works here and suffices, with `least` the lowest; raises Refused where there is none."""
    asked, network = asked_level(labels), NO_NETWORK not in labels
    levels = [level for level, probe in available.items() if probe.available]
    found = choose(levels, asked, floor, network=network, containers=containers, least=least)
    if found is not None:
        return Isolation(found, network)
    bound = max(asked, floor, Level.none if network else Level.sandbox)
    reasons = [f"{level.name}: {probe.text}" for level, probe in available.items() if level >= bound]
    what = "a job with containers of its own" if containers else "the job"
    raise Refused(
        f"{what} needs isolation {bound.name} or better here, and there is none ({'; '.join(reasons) or 'not built'})",
        next((probe.hint for level, probe in available.items() if level >= bound and probe.hint), "see `p2pwf doctor`"),
    )
