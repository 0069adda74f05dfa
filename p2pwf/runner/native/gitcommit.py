"""A git repository for a tree that came without one: one commit of what was laid out, so that git works there.

The repository is made where no step can write and moved into the tree when it is whole, so nothing of a job has a say
in how git runs here: not by settings, nor by hooks, which git is told to look for nowhere. Two runs of git (about 7 ms)
record the files; the commit itself is written as git's documentation of its object format says. It is not the commit
that the run stands on, and cannot be: a working tree travels, not history. Its id differs from GITHUB_SHA for that
reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha1
from pathlib import Path
from typing import Final

import attrs

from p2pwf.workflow import RunFacts, Value

TIMEOUT_S: Final = 300
"""git takes some seconds for the largest tree that can travel."""
LOOSE: Final = 40
"""Files up to which one file for each object is faster than a pack: 0.25 ms for each, against 7 ms and 0.07 ms."""
ALONE: Final = ("core.hooksPath=/dev/null", "core.fsmonitor=false")
"""Settings with which git starts no other program."""
_HEADS: Final = "refs/heads/"
_NOBODY: Final = ("p2pwf", "p2pwf@localhost")
_CONFIG: Final = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
"""


class GitFailed(Exception):
    """git has said no; its first words are the text."""


@attrs.frozen(slots=True)
class Commit:
    """Who made a commit, when (ISO 8601 or empty), and what it says."""

    author: tuple[str, str]
    committer: tuple[str, str]
    timestamp: str
    message: str

    @classmethod
    def of(cls, facts: RunFacts) -> Commit:
        """As the payload of a push tells of its last commit; else the run's own."""
        head = facts.payload.get("head_commit")
        known: Mapping[str, Value] = head if isinstance(head, Mapping) else {}
        message, stamp = known.get("message"), known.get("timestamp")
        text = message if isinstance(message, str) and message.strip() else f"The source of run {facts.run_id}"
        return cls(
            _person(known.get("author")),
            _person(known.get("committer")),
            stamp if isinstance(stamp, str) else "",
            text,
        )


def _person(value: Value) -> tuple[str, str]:
    said = [value.get("name"), value.get("email")] if isinstance(value, Mapping) else [None, None]
    plain = ["".join(c for c in word if c.isprintable() and c not in "<>").strip() for word in map(_text, said)]
    return plain[0] or _NOBODY[0], plain[1] or _NOBODY[1]


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""


def make_repository(
    git: str, tree: Path, aside: Path, paths: Sequence[str], facts: RunFacts, user: int | None = None
) -> str:
    """Make `tree`/.git with one commit of `paths`, by way of the new folder `aside`; returns the commit's id.

    `user`: as whom git runs; None: as this process.

    Raises GitFailed, and OSError; then the tree is as it was.
    """
    branch = facts.ref if facts.ref.startswith(_HEADS) and _is_ref(facts.ref) else ""
    (aside / "objects" / "info").mkdir(parents=True)
    (aside / "refs" / "heads").mkdir(parents=True)
    (aside / "refs" / "tags").mkdir()
    (aside / "HEAD").write_text(f"ref: {branch or _HEADS + 'main'}\n", encoding="utf-8")
    (aside / "config").write_text(_CONFIG + _remote(facts), encoding="utf-8")
    listed = "".join(f"{path}\0" for path in paths).encode()
    packed = ("-c", "core.bigFileThreshold=1") if len(paths) > LOOSE else ()  # large files go to one pack
    _git(git, user, tree, aside, listed, *packed, "update-index", "--add", "-z", "--stdin")
    root = _git(git, user, tree, aside, b"", "write-tree").strip().decode()
    commit = _write_commit(aside, root, Commit.of(facts))
    if branch:
        names = [branch, f"refs/remotes/origin/{branch.removeprefix(_HEADS)}"]
    else:
        (aside / "HEAD").write_text(f"{commit}\n", encoding="utf-8")
        names = [facts.ref] if facts.ref.startswith("refs/tags/") and _is_ref(facts.ref) else []
    for name in names:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (aside / name).write_text(f"{commit}\n", encoding="utf-8")
    shutil.move(aside, tree / ".git")  # a rename, but where an old landlock wants none
    return commit


def _is_ref(ref: str) -> bool:
    """Whether a ref can be a file of a repository: by git's rules for names, more strictly."""
    parts = ref.split("/")
    plain = all(c.isprintable() and c not in " ~^:?*[\\" for c in ref)
    return (
        plain
        and ".." not in ref
        and "@{" not in ref
        and not any(
            not part or part.startswith((".", "-")) or part.endswith((".", ".lock")) or len(part.encode()) > 200
            for part in parts
        )
    )


def _remote(facts: RunFacts) -> str:
    """The remote `origin`, where the repository has a place on a forge."""
    owner, _, name = facts.repository.partition("/")
    words = (owner, name)
    if owner == "local" or not all(word and all(c.isalnum() or c in "._-" for c in word) for word in words):
        return ""
    url = f"{facts.github()['server_url']}/{facts.repository}"
    return f'[remote "origin"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'


def _git(git: str, user: int | None, tree: Path, folder: Path, words: bytes, *arguments: str) -> bytes:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    variables = {
        **kept,
        "GIT_DIR": str(folder),
        "GIT_WORK_TREE": str(tree),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    # What is laid out is read once and gone with the job: neither pressed together nor waited for on the disk.
    settings = ("core.compression=0", "core.fsync=none", "core.autocrlf=false", "core.attributesFile=/dev/null", *ALONE)
    command = [git, *(word for setting in settings for word in ("-c", setting)), *arguments]
    try:
        done = subprocess.run(
            command,
            env=variables,
            cwd=tree,
            input=words,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except subprocess.TimeoutExpired:
        raise GitFailed(f"git took over {TIMEOUT_S} s") from None
    if done.returncode != 0:
        complaint = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise GitFailed(complaint or "git failed without a word")
    return done.stdout


def _write_commit(folder: Path, tree: str, commit: Commit) -> str:
    at = _stamp(commit.timestamp)
    lines = (
        f"tree {tree}",
        f"author {commit.author[0]} <{commit.author[1]}> {at}",
        f"committer {commit.committer[0]} <{commit.committer[1]}> {at}",
        "",
        commit.message.replace("\0", "").strip("\n") + "\n",
    )
    content = "\n".join(lines).encode("utf-8", "replace")
    block = b"commit %d\0%b" % (len(content), content)
    name = sha1(block, usedforsecurity=False).hexdigest()
    path = folder / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(block, 1))
    return name


def _stamp(text: str) -> str:
    """A time as git writes it: seconds since 1970 and the zone; now, in UTC, for a text that is no time."""
    try:
        moment = datetime.fromisoformat(text)
        offset = moment.utcoffset()
        minutes = 0 if offset is None else int(offset.total_seconds() // 60)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError, OSError):
        return f"{int(time.time())} +0000"
    if seconds < 0:
        return f"{int(time.time())} +0000"
    return f"{seconds} {'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"
