"""Which members satisfy `runs-on`. Knows labels only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pwf.core.ids import PeerId

PEER = "peer:"
"""Begins the label that each member carries by itself, alone of all: this and its peer id, in lower case."""
SELF_HOSTED = "self-hosted"
"""Every peer satisfies it."""
HOSTED_SYSTEMS = {"ubuntu-": "linux", "macos-": "macos", "windows-": "windows"}
"""GitHub's hosted labels by prefix, and the system label that every peer carries by itself."""


def peer_label(peer: PeerId) -> str:
    """The label that only this peer satisfies."""
    return PEER + peer.lower()


def may_run(peer: PeerId, offered: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a member that offers these labels, and its own, may run a job that wants those."""
    if any(label.startswith(PEER) for label in wanted):
        offered = (*(label for label in offered if not label.startswith(PEER)), peer_label(peer))
    return satisfies(offered, wanted)


def satisfies(offered: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether a member that offers these labels may run a job that wants those; both in lower case.

    A hosted label such as ubuntu-latest is satisfied by every peer of that system, `self-hosted` by every peer.
    """
    has = frozenset(offered)
    return all(label in has or label == SELF_HOSTED or hosted_system(label) in has for label in wanted)


def hosted_system(label: str) -> str | None:
    """The system that a hosted label of GitHub's asks for, None for any other label."""
    return next((system for prefix, system in HOSTED_SYSTEMS.items() if label.startswith(prefix)), None)
