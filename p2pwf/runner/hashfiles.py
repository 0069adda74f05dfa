"""hashFiles: one digest over the files that patterns name. Reads the workspace, nothing outside of it.

SHA-256 over the concatenated binary SHA-256 of each file, in the order in which the patterns find them. That order is
part of the digest. Source: the open runner's hashFiles and the public toolkit's `glob`: each pattern begins where its
fixed part ends; from there in the order of names, a folder's content where its name stands. `*` and `?` within a name,
`**` over folders, `[a-z]`, `!` takes out what came before; a pattern that names a folder means all below it. Links to
folders are not followed unless asked for.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from p2pwf.errors import UsageError
from p2pwf.runner.jobfiles import open_file
from p2pwf.runner.patterns import check_length, path_expression, segment_expression

FOLLOW: Final = "--follow-symbolic-links"
MAX_FILES: Final = 200_000
"""Files looked at for one call: a tree this large is a mistake in the pattern."""
MAX_PATTERNS: Final = 1000
"""As of the paths of artifacts and caches; each is tried for each file."""
TIMEOUT_S: Final = 120
"""As the open runner has it."""
CHUNK: Final = 1024 * 1024
_SPECIAL: Final = re.compile(r"[*?\[]")


@attrs.frozen(slots=True)
class Rule:
    """One pattern below the workspace, by the names between its slashes; a negated one takes out.

    `folder`: it ends in a slash, and means no file itself.
    """

    wanted: bool
    segments: tuple[str, ...]
    folder: bool = False

    @property
    def start(self) -> str:
        """The fixed part, below which is all that it can match."""
        fixed = next((n for n, segment in enumerate(self.segments) if _SPECIAL.search(segment)), len(self.segments))
        return "/".join(self.segments[:fixed])

    def matches(self, path: str) -> bool:
        """Whether it means a file."""
        return _compiled(self.segments, self.folder).fullmatch("/" + path) is not None

    def leads_to(self, folder: str) -> bool:
        """Whether it may mean something below a folder."""
        for segment, name in zip(self.segments, folder.split("/"), strict=False):
            if segment == "**":
                return True
            if not _name(segment).fullmatch(name):
                return False
        return True


def hash_files(workspace: Path, patterns: Sequence[str], stopped: Callable[[], bool] = lambda: False) -> str:
    """The hex digest of the files that match, empty if none does.

    The first pattern may be the option `--follow-symbolic-links`. `stopped`: whether nobody wants it any more.
    Raises UsageError for a pattern that cannot be, for more than can be read in TIMEOUT_S, and when it is stopped.
    """
    deadline = time.monotonic() + TIMEOUT_S

    def go_on() -> None:
        if stopped():
            raise UsageError("hashFiles was ended with its job")
        if time.monotonic() > deadline:
            raise UsageError(f"hashFiles took over {TIMEOUT_S} s", "hash fewer files, or smaller ones")

    follow = bool(patterns) and patterns[0].startswith("--")
    if follow and patterns[0].lower() != FOLLOW:
        raise UsageError(f"Invalid glob option {patterns[0]}", f"the only one is {FOLLOW}")
    patterns = patterns[1:] if follow else patterns
    lines = [line.strip() for pattern in patterns for line in pattern.splitlines()]
    if len(lines) > MAX_PATTERNS:
        raise UsageError(f"hashFiles of {len(lines)} patterns", f"the bound is {MAX_PATTERNS}")
    rules = [rule for line in lines if (rule := _rule(line, workspace))]
    total = sha256()
    found = False
    for relative in _files(workspace, rules, follow):
        go_on()
        chosen = False
        for rule in rules:
            if rule.matches(relative):
                chosen = rule.wanted
        file = open_file(workspace / relative) if chosen else None
        if file is not None:
            total.update(_digest(file, go_on))
            found = True
    return total.hexdigest() if found else ""


def _digest(file: BinaryIO, go_on: Callable[[], None]) -> bytes:
    digest = sha256()
    with file:
        while chunk := file.read(CHUNK):
            go_on()
            digest.update(chunk)
    return digest.digest()


def _starts(rules: Sequence[Rule]) -> list[str]:
    """Where to look, in the order of the patterns: each start that is below no other one."""
    starts = list(dict.fromkeys(rule.start for rule in rules if rule.wanted))
    known = set(starts)
    return [start for start in starts if not any(above in known for above in _above(start))]


def _above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def _files(workspace: Path, rules: Sequence[Rule], follow: bool) -> Iterator[str]:
    wanted = [rule for rule in rules if rule.wanted]
    count = 0
    for start in _starts(rules):
        top = workspace / start
        is_folder = top.is_dir() and (follow or not start or not top.is_symlink())
        stack: list[tuple[str, bool, frozenset[tuple[int, int]]]] = [(start, is_folder, frozenset())]
        while stack:
            path, is_folder, above = stack.pop()
            count += 1
            if count > MAX_FILES:
                raise UsageError(f"hashFiles found more than {MAX_FILES} files", "hash fewer, in a smaller folder")
            if not is_folder:
                yield path
                continue
            if path and not any(rule.leads_to(path) for rule in wanted):
                continue
            try:
                if follow:
                    status = (workspace / path).stat()
                    if (status.st_dev, status.st_ino) in above:
                        continue  # a link to a folder that it stands in
                    above |= {(status.st_dev, status.st_ino)}
                with os.scandir(workspace / path) as entries:
                    listed = sorted(entries, key=lambda entry: os.fsencode(entry.name), reverse=True)
            except OSError:
                continue  # vanished, or not ours to read
            before = f"{path}/" if path else ""
            stack.extend((before + entry.name, entry.is_dir(follow_symlinks=follow), above) for entry in listed)


def _rule(pattern: str, workspace: Path) -> Rule | None:
    """The rule of one line; None for a comment, and for one that means only what lies outside of the workspace."""
    if not pattern or pattern.startswith("#"):
        return None
    check_length(pattern)
    wanted = (len(pattern) - len(pattern.lstrip("!"))) % 2 == 0
    pattern = pattern.lstrip("!").strip()
    if pattern == "~" or pattern.startswith("~/"):
        pattern = str(Path.home()) + pattern[1:]
    if ".." in pattern.split("/"):
        raise UsageError(
            f"Invalid pattern '{pattern}'. Relative pathing '.' and '..' is not allowed.", "name what lies below"
        )
    if pattern.startswith("/"):
        root = str(workspace)
        if pattern.rstrip("/") != root and not pattern.startswith(root + "/"):
            return None
        pattern = pattern[len(root) :]
    segments = tuple(segment for segment in pattern.split("/") if segment not in ("", "."))
    return Rule(wanted, segments, pattern.endswith("/"))


@lru_cache(1024)
def _name(segment: str) -> re.Pattern[str]:
    return re.compile(segment_expression(segment), re.DOTALL)


@lru_cache(256)
def _compiled(segments: tuple[str, ...], folder: bool) -> re.Pattern[str]:
    """What a path with a `/` before it is matched with."""
    while segments[-1:] == ("**",):  # what is below is meant anyway
        segments = segments[:-1]
    if not segments:
        return re.compile(r".*", re.DOTALL)
    return re.compile(path_expression(segments) + (r"/.+" if folder else r"(?:/.*)?"), re.DOTALL)
