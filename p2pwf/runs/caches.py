"""The caches that jobs have saved, of all runs, also of those that are no longer held whole. Knows no blobs, no trust.

What is found here was said by somebody: whether the outcome that named it counts, and whether it is to be believed, is
the asker's to find out. Source of the order: GitHub's documentation of cache keys and scopes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, cast

import attrs

from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId

MAX_CACHES: Final = 16_384
"""Caches known; the oldest make room. Some 10 MB, and far more than disks keep."""
DEFAULT_BRANCHES: Final = ("refs/heads/main", "refs/heads/master")
"""Whose caches every branch may use, as on GitHub."""


@attrs.frozen(slots=True)
class SavedCache:
    """A cache, and the outcome that names it. `size` in bytes; `order`: (lamport, id) of the outcome."""

    key: str
    version: str
    link: Cid
    size: int
    run: Cid
    finish: Cid
    author: PeerId
    order: tuple[int, Cid]


class SavedCaches:
    """By repository and ref, as they come in; at most MAX_CACHES."""

    def __init__(self) -> None:
        self._by_scope: dict[tuple[str, str], list[SavedCache]] = {}
        self._scope_of: OrderedDict[tuple[Cid, Cid], tuple[str, str]] = OrderedDict()
        self._count = 0

    def note(self, submission: Event, finish: Event) -> None:
        """Take in what the outcome of a job of a run names; each outcome once."""
        entries = cast("list[dict[str, Value]]", finish.body["caches"])
        if not entries or (submission.cid, finish.cid) in self._scope_of:
            return
        scope = cast(str, submission.body["repository"]), cast(str, submission.body["ref"])
        self._scope_of[submission.cid, finish.cid] = scope
        for entry in entries:
            self._by_scope.setdefault(scope, []).append(
                SavedCache(
                    key=cast(str, entry["key"]),
                    version=cast(str, entry["version"]),
                    link=cast(Cid, entry["link"]),
                    size=cast(int, entry["size"]),
                    run=submission.cid,
                    finish=finish.cid,
                    author=finish.author,
                    order=finish.order,
                )
            )
            self._count += 1
        while self._count > MAX_CACHES:
            (_, oldest), scope = self._scope_of.popitem(last=False)
            left = [one for one in self._by_scope[scope] if one.finish != oldest]
            self._count -= len(self._by_scope[scope]) - len(left)
            if left:
                self._by_scope[scope] = left
            else:
                del self._by_scope[scope]

    def find(self, submission: Event, keys: Sequence[str], version: str) -> Iterator[SavedCache]:
        """What fits a run, the best first: of its own ref, then of a default branch; for each key in turn the caches of
        just that key, then those whose key begins with it; of each the newest first."""
        repository, own = cast(str, submission.body["repository"]), cast(str, submission.body["ref"])
        for ref in dict.fromkeys((own, *DEFAULT_BRANCHES)):
            held = [one for one in self._by_scope.get((repository, ref), ()) if one.version == version]
            held.sort(key=lambda one: one.order, reverse=True)
            for key in keys:
                yield from (one for one in held if one.key == key)
                yield from (one for one in held if one.key != key and one.key.startswith(key))
