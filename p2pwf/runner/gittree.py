"""What git says about a working tree: its top, its files, its commit. Runs `git`; must not know manifests or blobs.

git is asked, never imitated: what is ignored depends on files, settings and versions. It is run so that a tree's own
settings start no program, nothing is written, and no prompt appears; its words are read in English.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

import attrs

from p2pwf.errors import Refused

TIMEOUT_S: Final = 60
"""git answers in milliseconds; over a network file system, in seconds."""
READ: Final = 64 * 1024
MAX_ERROR: Final = 4096
"""Bytes read of what git complains about: its first line is told."""
NO_COMMIT: Final = "0" * 40
SOURCE_HINT: Final = "name another tree with --source DIR, or submit without one: --no-source"
HEAD_FORMAT: Final = "%H%x00%T%x00%P%x00%an%x00%ae%x00%cn%x00%ce%x00%cI%x00%B"

_OF_A_HOOK: Final = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE", "GIT_LITERAL_PATHSPECS",
)  # fmt: skip
"""Set where a node or a submission is started from a git hook: they would point at that repository."""
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_REMOTE: Final = re.compile(r"(?:[a-z+]+://[^/]+/|[^/:]+:)(.+)", re.IGNORECASE)


@attrs.frozen(slots=True)
class Repository:
    """A working tree: its top, the commit that HEAD names (zeros if none), and HEAD's full ref ("" if detached)."""

    top: Path
    sha: str
    ref: str


@attrs.frozen(slots=True)
class Listed:
    """One path that git lists, relative to the folder asked about, as bytes; a submodule is a folder."""

    path: bytes
    tracked: bool
    submodule: bool = False


def find(folder: Path) -> Repository | None:
    """The working tree that `folder` is in; None if there is none, or no git here.

    Raises Refused when git refuses the repository, such as one that belongs to another user.
    """
    try:
        done = _run(folder, "rev-parse", "--show-toplevel", "HEAD", "--symbolic-full-name", "HEAD")
    except FileNotFoundError:
        return None
    if done.returncode == 0:
        top, sha, ref = done.stdout.removesuffix(b"\n").rsplit(b"\n", 2)
        if ref == b"HEAD":
            ref = _tag(folder)
        return Repository(Path(os.fsdecode(top)), sha.decode("ascii"), ref.decode("utf-8", "replace"))
    if done.stdout.endswith(b"\nHEAD\n"):  # a branch without a commit
        ref = _run(folder, "symbolic-ref", "-q", "HEAD").stdout.strip()
        top = done.stdout.removesuffix(b"\nHEAD\n")
        return Repository(Path(os.fsdecode(top)), NO_COMMIT, ref.decode("utf-8", "replace"))
    complaint = done.stderr.decode("utf-8", "replace")
    if "not a git repository" in complaint or "must be run in a work tree" in complaint:
        return None
    raise _refused(folder, complaint)


def is_ignored(folder: Path) -> bool:
    """Whether the working tree around `folder` ignores it."""
    return _run(folder, "check-ignore", "-q", ".").returncode == 0


def listing(folder: Path) -> Generator[Listed]:
    """The files under `folder` as git sees them: tracked ones, then untracked ones that are not ignored.

    A tracked file may be gone from the disk; a folder that is a repository of its own is listed as one path that ends
    in `/` if it is untracked. Raises Refused when git fails.
    """
    seen: set[bytes] = set()
    with _paths(folder, "ls-files", "-z", "--stage") as entries:
        for entry in entries:
            mode, _, path = entry.partition(b"\t")
            if path not in seen:  # a file in conflict is listed once for each side
                seen.add(path)
                yield Listed(path, tracked=True, submodule=mode.startswith(b"160000"))
    with _paths(folder, "ls-files", "-z", "--others", "--exclude-standard") as entries:
        for path in entries:
            yield Listed(path, tracked=False)


def settings(folder: Path) -> tuple[str | None, str | None]:
    """(the owner/name that the URL of remote `origin` ends in, the user's name), where git knows them."""
    try:
        done = _run(folder, "config", "-z", "--get-regexp", r"^(remote\.origin\.url|user\.name)$")
    except FileNotFoundError:
        return None, None
    found: dict[str, str] = {}
    for item in done.stdout.decode("utf-8", "replace").split("\0"):
        key, _, value = item.partition("\n")
        if key != "remote.origin.url" or key not in found:  # the first URL is the one fetched from
            found[key] = value
    user = " ".join(found.get("user.name", "").split())
    return repository_of(found.get("remote.origin.url", "")), user or None


def repository_of(url: str) -> str | None:
    """The owner/name that a remote's URL ends in, of whatever forge; None for a path on this machine.

    Only the path counts, so a password in the URL never leaves this function.
    """
    match = _REMOTE.fullmatch(url.strip())
    if match is None or url.lower().startswith("file:"):
        return None
    parts = [part for part in match[1].split("/") if part]
    if parts:
        parts[-1] = parts[-1].removesuffix(".git")
    if len(parts) < 2 or not all(_NAME.fullmatch(part) for part in parts[-2:]):
        return None
    return "/".join(parts[-2:])


def head(folder: Path) -> list[str] | None:
    """HEAD's sha, tree, parents, author's name and email, committer's, time, message; None without a commit."""
    done = _run(folder, "log", "-1", "--no-show-signature", "--encoding=UTF-8", f"--format={HEAD_FORMAT}")
    if done.returncode != 0:
        return None
    return done.stdout.decode("utf-8", "replace").split("\0", HEAD_FORMAT.count("%x00"))


def _tag(folder: Path) -> bytes:
    done = _run(folder, "describe", "--tags", "--exact-match", "HEAD")
    return b"refs/tags/" + done.stdout.strip() if done.returncode == 0 else b""


def _command(folder: Path, arguments: Sequence[str]) -> list[str]:
    # A repository may name a program to watch its files; listing them must not run it.
    return ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments]


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in _OF_A_HOOK}
    return kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = _command(folder, arguments)
    try:
        return subprocess.run(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"git {arguments[0]} took over {TIMEOUT_S} s in {folder}", SOURCE_HINT) from None


@contextmanager
def _paths(folder: Path, *arguments: str) -> Iterator[Iterator[bytes]]:
    """What git lists with NUL after each item, as it comes: who has seen enough leaves, and git is stopped."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            _command(folder, arguments),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
        )
        with process:
            try:
                yield _items(cast("IO[bytes]", process.stdout))
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            complaints.seek(0)
            raise _refused(folder, complaints.read(MAX_ERROR).decode("utf-8", "replace"))


def _items(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while data := stream.read(READ):
        *items, rest = (rest + data).split(b"\0")
        yield from items


def _refused(folder: Path, complaint: str) -> Refused:
    if "dubious ownership" in complaint:
        command = re.search(r"git config --global --add safe\.directory .+", complaint)
        trust = f"if you trust it: {command[0].strip()}; or " if command else ""
        return Refused(f"git refuses the repository around {folder}: it belongs to another user", trust + SOURCE_HINT)
    first = next((line for line in complaint.splitlines() if line.strip()), "no reason given")
    return Refused(f"git cannot read the repository around {folder}: {first.removeprefix('fatal: ')}", SOURCE_HINT)
