"""Which members satisfy `runs-on`. Knows labels only."""

from __future__ import annotations

from collections.abc import Iterable

HOSTED_SYSTEMS = {"ubuntu-": "linux", "macos-": "macos", "windows-": "windows"}
"""GitHub's hosted labels by prefix, and the system label that every peer carries by itself."""


def satisfies(offered: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether a member that offers these labels may run a job that wants those; both in lower case.

    A hosted label such as ubuntu-latest is satisfied by every peer of that system, `self-hosted` by every peer.
    """
    has = frozenset(offered)
    return all(label in has or label == "self-hosted" or _hosted(label) in has for label in wanted)


def _hosted(label: str) -> str | None:
    return next((system for prefix, system in HOSTED_SYSTEMS.items() if label.startswith(prefix)), None)
