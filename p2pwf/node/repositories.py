"""Other repositories, as a submission finds them: in a mirror of the user's, else by git, each at one commit.

Blocks: call it in a thread. Must not know workflows. A mirror is a folder with, for `owner/repo` at `ref`, a plain
folder `owner/repo@ref`, or a git repository `owner/repo` or `owner/repo.git`. What git fetches is kept below a folder
of ours, so that it is fetched once; its size and time are bounded. Nothing of a repository is run: no hooks, no
filters, no submodules. As on GitHub, what an archive of a commit leaves out is left out.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import IO, Final, Protocol, cast

import attrs

from p2pwf.core.ids import Cid
from p2pwf.errors import NotFound, Refused, StorageError, TryAgain, UsageError
from p2pwf.runner.gittree import NO_COMMIT
from p2pwf.runner.manifest import FILE, LINK, MAX_BYTES, MAX_FILES, PROGRAM, ManifestError, SourceFile, build
from p2pwf.runner.pack import pack
from p2pwf.runner.source import Blobs

DEFAULT_URL: Final = "https://github.com"
GIT_SECONDS: Final = 30
"""What git may take for what it does on this machine."""
FETCH_SECONDS: Final = 90.0
"""And for one commit over the network, unless less is left."""
FETCH_BYTES: Final = 2 * MAX_BYTES
"""Of one fetch: packed, a tree that may travel at all is smaller."""
MAX_LISTED: Final = 1024 * 1024
"""Bytes of what a server says of the refs that were asked for."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40}", re.ASCII)
_REF = re.compile(r"(?!-)[^\s~^:?*\[\\\x00-\x1f\x7f]{1,255}")


class Snapshot(Protocol):
    """One repository at one commit. `sha` is zeros where no commit is known."""

    @property
    def sha(self) -> str: ...

    def read(self, path: str, limit: int) -> bytes | None:
        """Up to `limit` bytes of a file, by its path with `/`; None if there is none."""

    def pack(self, blobs: Blobs) -> Cid:
        """The manifest of its files, which are blobs then; raises UsageError if it is too large, StorageError."""


@attrs.frozen(slots=True)
class Repositories:
    """Where other repositories are. `mirror`: the user's folder of them; `cache`: ours; `url`: what git fetches from.

    `offline`: nothing is fetched.
    """

    cache: Path
    mirror: Path | None = None
    url: str = DEFAULT_URL
    offline: bool = False

    def find(self, repository: str, ref: str, seconds: float = FETCH_SECONDS) -> Snapshot:
        """A repository (`owner/name`) at a branch, a tag or a full commit; `seconds`: for all that is fetched.

        Raises UsageError for a name that none can have, NotFound, Refused or TryAgain where it cannot be had.
        """
        owner, _, name = repository.partition("/")
        for part in (owner, name):
            if not _NAME.fullmatch(part) or not part.strip("."):
                raise UsageError(f"no repository can be called '{repository[:80]}'", "write owner/repo@ref")
        if not _REF.fullmatch(ref) or ".." in ref or ref.endswith(("/", ".lock")) or ref.startswith("/"):
            raise UsageError(f"no branch, tag or commit can be called '{ref[:80]}'", "write owner/repo@ref")
        found = None if self.mirror is None else self._mirrored(self.mirror, owner, name, ref)
        return found or self._fetched(owner, name, ref, monotonic() + seconds)

    def _mirrored(self, mirror: Path, owner: str, name: str, ref: str) -> Snapshot | None:
        home = _child(mirror, owner)
        plain = home and _child(home, f"{name}@{ref}")
        if plain:
            return Folder(plain)
        for kept in (name, f"{name}.git"):
            folder = home and _child(home, kept)
            if folder and is_repository(folder):
                commit = _resolve(folder, ref)
                if commit is not None:
                    return Commit(folder, commit)
        return None

    def _fetched(self, owner: str, name: str, ref: str, until: float) -> Snapshot:
        folder = self.cache / owner.lower() / f"{name.lower()}.git"
        kept = _kept(folder, ref)
        if kept is not None and (self.offline or kept == ref):
            return Commit(folder, kept)
        if self.offline:
            where = "not here" if self.mirror is None else f"neither here nor in {self.mirror}"
            raise NotFound(f"{owner}/{name}@{ref} is {where}, and nothing is fetched for an offline workflow")
        try:
            return Commit(folder, self._fetch(folder, f"{self.url.rstrip('/')}/{owner}/{name}", ref, until))
        except TryAgain:
            if kept is not None:  # without a network, what the name meant when there was one
                return Commit(folder, kept)
            raise

    def _fetch(self, folder: Path, url: str, ref: str, until: float) -> str:
        commit = ref if _SHA.fullmatch(ref) else _asked(url, ref, until)
        with _locked(folder):
            if not is_repository(folder):
                _git(folder, "init", "--quiet", "--bare", "--template=", ".")
            if not _has(folder, commit):
                arguments = ("fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-auto-gc")
                what = f"{url} at {ref}"
                _git(folder, *arguments, "--", url, commit, seconds=_left(until), limit=FETCH_BYTES, what=what)
            sha = _commit_of(folder, commit)
            if sha is None:
                raise NotFound(f"{url} has '{ref}', which is no commit", "name a branch, a tag or a commit")
            _git(folder, "update-ref", "--no-deref", _note(ref), sha)
            return sha


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Of all that fetch into one repository of ours, one at a time."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / "p2pwf.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror or error}", "make room there") from error


def _left(until: float) -> float:
    return max(0.1, min(FETCH_SECONDS, until - monotonic()))


def _note(ref: str) -> str:
    """Where our repository notes what a ref came to, in one word so that no two are in each other's way."""
    return "refs/p2pwf/" + ref.encode().hex()[:200]


def _kept(folder: Path, ref: str) -> str | None:
    """What a ref came to when it was last fetched, if that is still here."""
    if not is_repository(folder):
        return None
    if _SHA.fullmatch(ref):
        return ref if _has(folder, ref) else None
    return _commit_of(folder, _note(ref))


def _resolve(folder: Path, ref: str) -> str | None:
    """The commit that a ref names in a repository of the user's, as GitHub looks: a commit, a tag, a branch."""
    if _SHA.fullmatch(ref):
        return ref if _has(folder, ref) else None
    names = (f"refs/tags/{ref}", f"refs/heads/{ref}", f"refs/remotes/origin/{ref}", ref if "/" in ref else "")
    return next((sha for name in names if name and (sha := _commit_of(folder, name)) is not None), None)


def _asked(url: str, ref: str, until: float) -> str:
    """The object that a ref names at a server."""
    wanted = (f"refs/tags/{ref}", f"refs/heads/{ref}", *((ref,) if ref.startswith("refs/") else ()))
    listed = _git(None, "ls-remote", "--quiet", "--", url, *wanted, seconds=_left(until), what=url)
    found: dict[str, str] = {}
    for line in listed[:MAX_LISTED].decode("utf-8", "replace").splitlines():
        sha, _, name = line.partition("\t")
        if _SHA.fullmatch(sha):
            found[name] = sha
    for name in wanted:
        if name in found:
            return found[name]
    raise NotFound(f"{url} has no branch, tag or commit '{ref}'", "is it spelled as there?")


# -- one commit -----------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True)
class Commit:
    """A commit of a git repository on this machine."""

    folder: Path
    sha: str

    def read(self, path: str, limit: int) -> bytes | None:
        """A file of it; a link counts as none."""
        listed = _git(self.folder, "ls-tree", "-z", "--full-tree", self.sha, "--", path).split(b"\0")[0]
        about, _, name = listed.partition(b"\t")
        if name != path.encode() or not about.startswith(b"100"):
            return None
        return _git(self.folder, "cat-file", "blob", about.split()[2].decode("ascii"))[:limit]

    def pack(self, blobs: Blobs) -> Cid:
        """Its files as an archive of it has them: read beside the repository, whose settings may name programs."""
        objects = _git(self.folder, "rev-parse", "--path-format=absolute", "--git-path", "objects")
        with tempfile.TemporaryDirectory(prefix="p2pwf-") as beside:
            _git(Path(beside), "init", "--quiet", "--bare", "--template=", ".")
            (Path(beside) / "objects" / "info").mkdir(exist_ok=True)
            (Path(beside) / "objects" / "info" / "alternates").write_bytes(objects)
            return self._archived(Path(beside), blobs)

    def _archived(self, folder: Path, blobs: Blobs) -> Cid:
        import tarfile  # noqa: PLC0415 - what uses no action of others does not wait for it

        command = _command(folder, ("archive", "--format=tar", self.sha))
        unset = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        with subprocess.Popen(
            command,
            env=_environment() | unset,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                return _packed(cast(IO[bytes], process.stdout), blobs, f"{self.folder.name} at {self.sha}")
            except tarfile.TarError as error:
                raise TryAgain(f"git cannot give {self.sha} of {self.folder}: {error}", "is it whole?") from error
            finally:
                process.kill()


def _packed(stream: IO[bytes], blobs: Blobs, shown: str) -> Cid:
    import tarfile  # noqa: PLC0415 - as above

    files: list[SourceFile] = []
    total = 0
    with blobs.batch() as batch, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.issym():
                target = member.linkname
                files.append(SourceFile(member.name, LINK, len(os.fsencode(target)), target=target))
            elif member.isreg():
                total += member.size
                _refuse_large(shown, len(files), total)
                content = cast(IO[bytes], archive.extractfile(member)).read()
                mode = PROGRAM if member.mode & stat.S_IXUSR else FILE
                files.append(SourceFile(member.name, mode, len(content), cid=batch.put_bytes(content)))
            _refuse_large(shown, len(files), total)
        try:
            return batch.put_bytes(build(files))
        except (ManifestError, UnicodeEncodeError) as error:
            raise UsageError(f"{shown} cannot travel: {error}") from error


def _refuse_large(shown: str, files: int, total: int) -> None:
    if files > MAX_FILES or total > MAX_BYTES:
        raise UsageError(
            f"{shown} is too large to travel with a run",
            f"at most {MAX_FILES:,} files of {MAX_BYTES // 2**20} MiB together",
        )


@attrs.frozen(slots=True)
class Folder:
    """A plain folder of a mirror: what is in it, as it is now."""

    folder: Path
    sha: str = NO_COMMIT

    def read(self, path: str, limit: int) -> bytes | None:
        """A file of it; one that leads out of it counts as none."""
        return read_below(self.folder, path, limit)

    def pack(self, blobs: Blobs) -> Cid:
        """All files of it but git's."""
        try:
            chosen = sorted(_below(self.folder))
            return pack(self.folder, chosen, blobs).link
        except OSError as error:
            raise TryAgain(f"cannot read {self.folder}: {error.strerror or error}") from error


def _below(folder: Path) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name.lower() != ".git"]
        inside = Path(here).relative_to(folder)
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        yield from ((inside / name).as_posix() for name in (*files, *links) if name.lower() != ".git")


def read_below(folder: Path, path: str, limit: int) -> bytes | None:
    """Up to `limit` bytes of a file below a folder; None if there is none, or if it leads out of the folder."""
    try:
        top = folder.resolve()
        wanted = (top / path).resolve()
        if not wanted.is_relative_to(top) or not wanted.is_file():
            return None
        with wanted.open("rb") as file:
            return file.read(limit)
    except (OSError, ValueError, RuntimeError):
        return None


def _child(folder: Path, name: str) -> Path | None:
    """A folder in another, whatever the case of its name: GitHub's names have none."""
    exact = folder / name
    if exact.is_dir():
        return exact
    try:
        entries = sorted(folder.iterdir()) if "/" not in name else []
    except OSError:
        return None
    return next((entry for entry in entries if entry.name.lower() == name.lower() and entry.is_dir()), None)


# -- git ------------------------------------------------------------------------------------------------------------


def is_repository(folder: Path) -> bool:
    """Whether a folder is the top of a git repository, with a working tree or without."""
    return (folder / ".git").exists() or ((folder / "HEAD").is_file() and (folder / "objects").is_dir())


def _has(folder: Path, sha: str) -> bool:
    return _commit_of(folder, sha) is not None


def _commit_of(folder: Path, name: str) -> str | None:
    arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    done = _run(folder, arguments, GIT_SECONDS, None)
    if done.returncode != 0 and b"dubious ownership" in done.stderr:
        raise Refused(f"git refuses {folder}: it belongs to another user", "see `git help config`, safe.directory")
    sha = done.stdout.decode("ascii", "replace").strip()
    return sha if done.returncode == 0 and _SHA.fullmatch(sha) else None


def _command(folder: Path | None, arguments: Sequence[str]) -> list[str]:
    at = [] if folder is None else ["-C", str(folder)]
    safe = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "fetch.unpackLimit=1", "http.lowSpeedLimit=1000",
            "http.lowSpeedTime=30", "protocol.ext.allow=never")  # fmt: skip
    return ["git", *at, *(part for setting in safe for part in ("-c", setting)), *arguments]


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith("GIT_SSH")}
    return kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}


def _run(
    folder: Path | None, arguments: Sequence[str], seconds: float, limit: int | None
) -> subprocess.CompletedProcess[bytes]:
    command = _command(folder, arguments)
    if limit is not None:  # a shell sets the bound on what git writes: it counts blocks of 512 bytes
        command = ["/bin/sh", "-c", 'ulimit -f "$0"; exec "$@"', str(limit // 512), *command]
    try:
        return subprocess.run(
            command, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except FileNotFoundError as error:
        raise NotFound("no git on this machine", "install it, or use a mirror of plain folders") from error


def _git(
    folder: Path | None,
    *arguments: str,
    seconds: float = GIT_SECONDS,
    limit: int | None = None,
    what: str = "",
) -> bytes:
    """What git prints; raises TryAgain if it fails or takes too long. `what`: what it was asked to fetch."""
    shown = f"cannot fetch {what}" if what else f"git {arguments[0]} failed in {folder}"
    try:
        done = _run(folder, arguments, seconds, limit)
    except subprocess.TimeoutExpired:
        raise TryAgain(f"{shown}: it took over {seconds:g} s", _HINT) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        why = lines[0].removeprefix("fatal: ") if lines else f"it ended with {done.returncode}"
        raise TryAgain(f"{shown}: {why}"[:500], _HINT)
    return done.stdout


_HINT: Final = "is the network there, and the name right? A folder of mirrors (P2PWF_ACTIONS) needs neither"
