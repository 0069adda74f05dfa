"""The files of a tree that travel: as git sees them, or all but what tools make, counted and bounded.

Reads names and sizes, never contents; must not know blobs or the facts of a repository. The rules are
protocols/source.md. Names are bytes, as on disk: one that is not UTF-8 cannot travel, and is told.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import attrs

from p2pwf.errors import StorageError, UsageError
from p2pwf.runner import gittree
from p2pwf.runner.gittree import SOURCE_HINT, Listed
from p2pwf.runner.manifest import MAX_BYTES, MAX_FILES, is_path, is_target

SECRETS: Final = (".env", "*.pem", "id_*")
"""Names, in any case, of files that are left out unless git tracks them: they hold keys more often than not."""
IGNORED_FOLDERS: Final = frozenset(
    (
        ".git", ".hg", ".svn", ".bzr", "_darcs", "CVS", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".nox",
        ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".cache", ".direnv", ".terraform",
    )
)  # fmt: skip
"""Folders left out where git does not say what is ignored: what tools make and can make again."""
IGNORED_FILES: Final = ("*.pyc", "*~", "*.swp", ".DS_Store", "Thumbs.db")
MAX_SUBMODULES: Final = 8
"""How deep submodules are followed into each other."""
MAX_LISTED: Final = 20 * MAX_FILES
"""Paths looked at before giving up, whether they travel or not."""
MAX_LEFT_OUT: Final = 100
"""Names of files left out that are told one by one; the rest are counted."""


@attrs.frozen(slots=True)
class Found:
    """A file or link that travels: its path from the root, as bytes on disk and as text."""

    raw: bytes
    path: str
    size: int
    target: str | None


class Tree:
    """One walk over a tree: what travels, counted and bounded, and what does not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: list[Found] = []
        self.left_out: set[bytes] = set()
        self._listed = 0
        self._total = 0
        self._real: dict[bytes, bool] = {b"": True}
        self._data: dict[bytes, bool] = {b"": False}

    def take(self, entry: Listed) -> None:
        """Look at one listed path; raises UsageError once the tree is too large, StorageError if it is unreadable."""
        self._listed += 1
        if self._listed > MAX_LISTED:
            raise _too_large(self.root, f"{MAX_LISTED} paths are listed")
        path = self.root / os.fsdecode(entry.path)
        try:
            if not self.is_real(_folder(entry.path)):
                return  # a folder of tracked files was replaced by a link: to git they are gone
            status = path.lstat()
            # as bytes: Path would tidy it up
            target = os.readlink(os.fsencode(path)) if stat.S_ISLNK(status.st_mode) else None  # noqa: PTH115
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise unreadable(path, error) from error
        if stat.S_ISDIR(status.st_mode):
            return  # a tracked file was replaced by a folder: what is in it is listed as well
        folder = self._data_folder(entry.path)
        if not entry.tracked and (folder or _is_secret(entry.path) or not _is_readable(path, target)):
            self.left_out.add(folder or entry.path)
        elif (travels := _describe(entry.path, status, target)) is None:
            self.left_out.add(entry.path)
        else:
            self.found.append(travels)
            self._total += travels.size
            refuse_if_large(self.root, len(self.found), self._total)

    def left_out_names(self) -> tuple[str, ...]:
        """What does not travel, as people can read it, bounded."""
        names = sorted(map(shown, self.left_out))
        if len(names) > MAX_LEFT_OUT:
            names[MAX_LEFT_OUT:] = [f"and {len(names) - MAX_LEFT_OUT} more"]
        return tuple(names)

    def is_real(self, folder: bytes) -> bool:
        """Whether no part of a folder's path is a link."""
        if folder not in self._real:
            above = self.is_real(_folder(folder))
            self._real[folder] = above and not (self.root / os.fsdecode(folder)).is_symlink()
        return self._real[folder]

    def _data_folder(self, path: bytes) -> bytes | None:
        """The data folder of a node that a path lies in: a key and other people's blobs are no source."""
        folder = _folder(path)
        while folder:
            if folder not in self._data:
                here = self.root / os.fsdecode(folder)
                self._data[folder] = (here / "events.db").is_file() and (here / "lock").is_file()
            if self._data[folder]:
                return folder + b"/"
            folder = _folder(folder)
        return None


def walk(root: Path, in_repository: bool) -> Tree:
    """Look at all of a tree; `in_repository`: git says which files belong to it. Raises as `Tree.take` does."""
    tree = Tree(root)
    listed = _as_git_sees(tree, b"", MAX_SUBMODULES) if in_repository else _as_it_stands(tree)
    with closing(listed):
        for entry in listed:
            tree.take(entry)
    return tree


def _as_git_sees(tree: Tree, prefix: bytes, depth: int) -> Generator[Listed]:
    """What git lists below `prefix`, going on into submodules that are checked out."""
    with closing(gittree.listing(tree.root / os.fsdecode(prefix))) as entries:
        for entry in entries:
            path = prefix + entry.path
            if not entry.submodule and not path.endswith(b"/"):
                yield Listed(path, entry.tracked)
            elif (
                entry.submodule
                and depth > 0
                and tree.is_real(path)
                and (tree.root / os.fsdecode(path) / ".git").exists()
            ):
                yield from _as_git_sees(tree, path + b"/", depth - 1)
            else:  # a submodule that is not checked out, or a repository of its own beside the tracked files
                tree.left_out.add(path.rstrip(b"/") + b"/")


def _as_it_stands(tree: Tree) -> Generator[Listed]:
    """Every file and link below a folder that git knows nothing about, but for what tools can make again."""
    top = os.fsencode(tree.root)

    def fail(error: OSError) -> None:
        folder = os.fsencode(error.filename)
        if folder == top:
            raise unreadable(tree.root, error)
        tree.left_out.add(os.path.relpath(folder, top) + b"/")

    for folder, folders, files in os.walk(top, onerror=fail):
        inside = os.path.relpath(folder, top)
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH118, PTH114 - bytes
        folders[:] = sorted(name for name in folders if name not in links and os.fsdecode(name) not in IGNORED_FOLDERS)
        for name in sorted([*files, *links]):
            text = os.fsdecode(name)
            if text != ".git" and not any(fnmatchcase(text, pattern) for pattern in IGNORED_FILES):
                yield Listed(name if inside == b"." else inside + b"/" + name, tracked=False)


def _describe(raw: bytes, status: os.stat_result, target: bytes | None) -> Found | None:
    """The file or link as it travels; None for what cannot: a device or a pipe, a name that is not UTF-8."""
    try:
        path = raw.decode("utf-8")
        link = None if target is None else target.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not is_path(path) or (link is not None and not is_target(link)):
        return None
    if link is not None:
        return Found(raw, path, len(link.encode()), link)
    return Found(raw, path, status.st_size, None) if stat.S_ISREG(status.st_mode) else None


def _folder(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _is_secret(path: bytes) -> bool:
    name = os.fsdecode(path.rpartition(b"/")[2]).lower()
    return any(fnmatchcase(name, pattern) for pattern in SECRETS)


def _is_readable(path: Path, target: bytes | None) -> bool:
    return target is not None or os.access(path, os.R_OK)


def refuse_if_large(root: Path, files: int, size: int) -> None:
    """Raise UsageError for a tree of more than MAX_FILES files or MAX_BYTES bytes."""
    if files > MAX_FILES:
        raise _too_large(root, f"it has over {MAX_FILES} files")
    if size > MAX_BYTES:
        raise _too_large(root, f"its files have over {MAX_BYTES // 2**20} MiB")


def _too_large(root: Path, why: str) -> UsageError:
    return UsageError(f"the source {root} is too large to travel with the run: {why}", SOURCE_HINT)


def unreadable(path: Path, error: OSError) -> StorageError:
    """The error for a file or folder of the tree that cannot be read."""
    return StorageError(f"cannot read {shown(os.fsencode(path))}: {error.strerror or error}", SOURCE_HINT)


def shown(path: bytes) -> str:
    """A path for people: what is not UTF-8 or not printable is escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
