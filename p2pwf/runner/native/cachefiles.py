"""What a cache holds: files from several places in one manifest. The layout is protocols/artifacts.md.

    index.json              {"v": 1, "times": {name: ms since 1970}, "folders": [name, …]}
    workspace/…             below the workspace of the job
    temp/…, tools/…         below RUNNER_TEMP, RUNNER_TOOL_CACHE
    home/…                  below the home of the job's steps
    root/…                  anywhere else: the absolute path without its first slash

The first of these that a path is below names it, so that what one job saves, another one finds in its own folders.
`times` holds when each file was last changed, which build tools ask for; `folders` the empty folders. A name that is
`.git`, in whatever case, with any number of `%` behind it, has one `%` more here: a manifest must not hold `.git`.

The manifest came from another peer: it is put back only where the step's own `path` says, and links come last.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import attrs

from p2pwf.core.ids import Cid
from p2pwf.runner.checkout import Fetch, layout, read_tree
from p2pwf.runner.hand import Hand
from p2pwf.runner.jobfiles import copy_file, remove
from p2pwf.runner.manifest import LINK, Manifest, ManifestError, is_path
from p2pwf.runner.native.context import NativeContext
from p2pwf.runner.native.globs import Patterns, is_below
from p2pwf.runner.native.staging import Budget, stage

VERSION: Final = 1
INDEX: Final = "index.json"
MAX_INDEX: Final = 16 * 1024 * 1024
"""Bytes of an index: as much as of a manifest."""
_GIT: Final = re.compile(r"\.git%*", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\.git%+", re.IGNORECASE)


@attrs.frozen(slots=True)
class Places:
    """The folders that have names in a cache, in the order in which they are tried."""

    named: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, context: NativeContext) -> Places:
        """Those of a job."""
        folders = context.state.folders
        pairs = (
            ("workspace", folders.workspace),
            ("temp", folders.temp),
            ("tools", folders.tools),
            ("home", context.home),
        )
        return cls((*((name, str(path)) for name, path in pairs), ("root", "/")))

    def name(self, path: str) -> str:
        """What a path is called in a cache; without a place's own slash it is that place."""
        for name, folder in self.named:
            if is_below(path, folder):
                below = path[len(folder) :].strip("/")
                parts = [f"{part}%" if _GIT.fullmatch(part) else part for part in below.split("/")]
                return f"{name}/{'/'.join(parts)}" if below else name
        raise AssertionError(path)  # all are below the last

    def path(self, name: str) -> str | None:
        """The path that a cache calls so; None if no cache does."""
        place, _, below = name.partition("/")
        folder = dict(self.named).get(place)
        parts = [part[:-1] if _ESCAPED.fullmatch(part) else part for part in below.split("/") if below]
        if folder is None or any(part in ("", ".", "..") or "\0" in part for part in parts):
            return None
        path = "/".join((folder.rstrip("/"), *parts)) or "/"
        return path if self.name(path) == name else None


def version_of(context: NativeContext, lines: Sequence[str]) -> str:
    """The version of a cache of these paths: the SHA-256, in hex, of what they are called in a cache, line by line."""
    places = Places.of(context)
    named: list[str] = []
    for line in lines:
        text = line.lstrip("!").strip()
        marks = "!" * ((len(line) - len(line.lstrip("!"))) % 2)
        named.append(marks + places.name(os.path.normpath(context.path(text))))
    return sha256("\n".join((f"p2pwf cache {VERSION}", *named)).encode("utf-8", "replace")).hexdigest()


def take(tops: Sequence[str], into: Path, places: Places, what: str) -> None:
    """Lay files and folders out in `into` as a cache holds them. Raises UsageError if they are too many."""
    budget = Budget(what)
    times: dict[str, int] = {}
    folders: list[str] = []
    chosen: list[tuple[str, str]] = []
    for path, is_folder in _all(tops):
        name = places.name(path)
        if is_folder:
            folders.append(name)
            continue
        status = os.lstat(path)
        budget.take(status.st_size)
        chosen.append((path, name))
        if not stat.S_ISLNK(status.st_mode):
            times[name] = status.st_mtime_ns // 1_000_000
    index = {"v": VERSION, "times": times, "folders": folders}
    (into / INDEX).write_text(json.dumps(index, separators=(",", ":"), sort_keys=True), encoding="utf-8")
    stage(into, chosen, follow=False)


def _all(tops: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The files, links and empty folders at and below the given ones; other things than these do not travel."""
    stack = list(reversed(tops))
    while stack:
        path = stack.pop()
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(mode):
            names = sorted(os.listdir(path), reverse=True)  # noqa: PTH208
            if not names:
                yield path, True
            stack.extend(f"{path.rstrip('/')}/{name}" for name in names)
        elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            yield path, False


async def put_back(link: Cid, fetch: Fetch, folder: Path, places: Places, patterns: Patterns, hand: Hand) -> None:
    """Fetch a cache into `folder`, then move what it holds to where it belongs.

    Nothing is moved before all is there. Raises ManifestError for a cache that holds what `patterns` do not name,
    and what `layout` raises.
    """
    tree = await read_tree(link, fetch)
    targets = _targets(tree, places, patterns)
    await layout(link, fetch, folder, hand=hand, into=[folder])
    await hand.run(_move, folder, tree, targets, places, patterns, into=[folder])


def _targets(tree: Manifest, places: Places, patterns: Patterns) -> dict[str, str]:
    targets: dict[str, str] = {}
    for file in tree.files:
        if file.path == INDEX and file.mode != LINK and file.size <= MAX_INDEX:
            continue
        path = places.path(file.path)
        if path is None or not patterns.covers(path):
            raise ManifestError(f"it holds what the step does not name: {file.path[:200]!r}")
        targets[file.path] = path
    if len(targets) == len(tree.files):
        raise ManifestError(f"it has no {INDEX}")
    return targets


def _move(folder: Path, tree: Manifest, targets: Mapping[str, str], places: Places, patterns: Patterns) -> None:
    times, empty = read_index((folder / INDEX).read_bytes())
    made: set[str] = set()
    for links in (False, True):
        for file in tree.files:
            target = targets.get(file.path)
            if target is None or (file.mode == LINK) is not links:
                continue
            parent = target.rpartition("/")[0] or "/"
            if parent not in made:
                os.makedirs(parent, exist_ok=True)  # noqa: PTH103
                made.add(parent)
            source = str(folder / file.path)
            time = times.get(file.path)
            if not links and time is not None:
                os.utime(source, ns=(time * 1_000_000, time * 1_000_000))
            _replace(source, target)
    for name in empty:
        path = places.path(name)
        if path is not None and patterns.covers(path):
            with suppress(FileExistsError):
                os.makedirs(path)  # noqa: PTH103


def _replace(source: str, target: str) -> None:
    if os.path.isdir(target) and not os.path.islink(target):  # noqa: PTH112, PTH114
        remove(target)
    try:
        os.replace(source, target)  # noqa: PTH105
    except OSError:  # another disk
        remove(target)
        if os.path.islink(source):  # noqa: PTH114
            os.symlink(os.readlink(source), target)  # noqa: PTH115, PTH211 - Path would tidy it up
        else:
            copy_file(Path(source), Path(target))


def read_index(data: bytes) -> tuple[dict[str, int], list[str]]:
    """The times of files and the empty folders that an index names; raises ManifestError for what is none."""
    try:
        read: Any = json.loads(data)
        times, folders = read["times"], read["folders"]
        known = read["v"] == VERSION and type(times) is dict and type(folders) is list
        kept = {name: time for name, time in times.items() if type(time) is int and 0 <= time < 2**43}
        names = [name for name in folders if type(name) is str and _is_text(name) and is_path(name)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"its {INDEX} is none") from error
    if not known:
        raise ManifestError(f"its {INDEX} is of another form than {VERSION}", "upgrade this node")
    return kept, names


def _is_text(name: str) -> bool:
    """Whether a name has no half of a surrogate pair, which JSON carries and no file system takes."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
