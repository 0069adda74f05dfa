"""hashFiles: one digest over the files that patterns name. Reads the workspace, nothing outside of it.

SHA-256 over the concatenated binary SHA-256 of each file, in the order in which the patterns find them (ACTIONS
documentation of hashFiles). Patterns: `*` and `?` within a name, `**` over folders, `[a-z]`, `!` takes out what came
before; a pattern that names a folder means all below it. Links to folders are not followed unless asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

from p2pwf.errors import UsageError

FOLLOW: Final = "--follow-symbolic-links"
MAX_FILES: Final = 200_000
"""Files looked at for one call: a tree this large is a mistake in the pattern."""


def hash_files(workspace: Path, patterns: Sequence[str]) -> str:
    """The hex digest of the files that match, empty if none does; raises UsageError for a pattern that cannot be.

    The first pattern may be the option `--follow-symbolic-links`.
    """
    follow = bool(patterns) and patterns[0].startswith("--")
    if follow and patterns[0].lower() != FOLLOW:
        raise UsageError(f"Invalid glob option {patterns[0]}", f"the only one is {FOLLOW}")
    patterns = patterns[1:] if follow else patterns
    rules = [rule for pattern in patterns for line in pattern.splitlines() if (rule := _rule(line.strip(), workspace))]
    total = sha256()
    found = False
    for relative in _files(workspace, follow):
        chosen = False
        for wanted, expression in rules:
            if expression.fullmatch(relative):
                chosen = wanted
        path = workspace / relative
        if chosen and path.is_file():
            with path.open("rb") as file:
                total.update(file_digest(file, "sha256").digest())
            found = True
    return total.hexdigest() if found else ""


def _files(workspace: Path, follow: bool) -> Iterator[str]:
    count = 0
    stack: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while stack:
        folder, above = stack.pop()
        try:
            if follow:
                status = (workspace / folder).stat()
                if (status.st_dev, status.st_ino) in above:
                    continue  # a link to a folder that it stands in
                above |= {(status.st_dev, status.st_ino)}
            with os.scandir(workspace / folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue  # vanished, or not ours to read
        deeper: list[str] = []
        for entry in listed:
            count += 1
            if count > MAX_FILES:
                raise UsageError(f"hashFiles found more than {MAX_FILES} files", "hash fewer, in a smaller folder")
            relative = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=follow):
                deeper.append(relative)
            else:
                yield relative
        stack.extend((path, above) for path in reversed(deeper))


def _rule(pattern: str, workspace: Path) -> tuple[bool, re.Pattern[str]] | None:
    if not pattern or pattern.startswith("#"):
        return None
    wanted = (len(pattern) - len(pattern.lstrip("!"))) % 2 == 0
    pattern = pattern.lstrip("!").strip()
    root = str(workspace)
    if pattern == root or pattern.startswith(root + "/"):
        pattern = pattern[len(root) + 1 :]
    while pattern.startswith("./"):
        pattern = pattern[2:]
    if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
        raise UsageError(f"hashFiles outside of the workspace: {pattern}", "give a path below GITHUB_WORKSPACE")
    return wanted, _compiled(pattern.rstrip("/"))


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern in ("", "."):
        return re.compile(r".*", re.DOTALL)
    parts: list[str] = []
    for segment in pattern.split("/"):
        if segment == "**":
            if not parts or parts[-1] != "(?:[^/]+/)*":
                parts.append("(?:[^/]+/)*")
        else:
            parts.append(segment_expression(segment) + "/")
    text = "".join(parts)
    if text.endswith(")*"):  # a ** at the end: all files below
        return re.compile(text + r"[^/]+", re.DOTALL)
    return re.compile(text[:-1] + r"(?:/.*)?", re.DOTALL)


def segment_expression(segment: str) -> str:
    """The regular expression of one name's pattern: `*`, `?` and `[…]`."""
    out: list[str] = []
    index = 0
    while index < len(segment):
        character = segment[index]
        index += 1
        if character == "*":
            if not out or out[-1] != "[^/]*":
                out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "[" and (end := segment.find("]", index + 1)) > 0:
            body = segment[index:end]
            negated = body[0] in "!^"
            inner = re.sub(r"([\\\[\]^&~|])", r"\\\1", body[1:] if negated else body)
            out.append(f"[{'^/' if negated else ''}{inner}]")
            index = end + 1
        else:
            out.append(re.escape(character))
    return "".join(out)
