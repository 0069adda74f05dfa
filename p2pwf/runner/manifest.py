"""The source manifest: the list of a tree's files by content, as one DAG-CBOR block. Pure: bytes and values.

Must not know where a tree comes from or where it is laid out. The format, with its bounds, is protocols/source.md.
A manifest comes from another peer: `parse` accepts only what can be laid out inside one folder, on any file system
that keeps names as bytes, whatever order the entries are written in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, cast

import attrs

from p2pwf.core.dagcbor import DagCborError, Value, decode, encode
from p2pwf.core.ids import RAW_PREFIX, Cid
from p2pwf.errors import RemoteError

VERSION: Final = 1
MAX_FILES: Final = 10_000
"""Files and links of one tree: the largest that is listed, hashed and laid out in seconds."""
MAX_BYTES: Final = 256 * 1024 * 1024
"""Bytes of all files of one tree: what a peer fetches in seconds over a home line's upload, in minutes at worst."""
MAX_MANIFEST: Final = 16 * 1024 * 1024
"""Bytes of a manifest: MAX_FILES entries with paths of more than 1,500 bytes each."""
MAX_PATH: Final = 4095
"""Bytes of a path or of a link's target: Linux takes no more."""
MAX_NAME: Final = 255
"""Bytes of one name in a path: no common file system takes more."""

FILE: Final = 0o100644
PROGRAM: Final = 0o100755
LINK: Final = 0o120000


class ManifestError(RemoteError):
    """A manifest that no honest peer writes."""


@attrs.frozen(slots=True)
class SourceFile:
    """One file or link; `path` is relative, with `/` between names. A link has `target`, a file has `cid`."""

    path: str
    mode: int
    size: int
    cid: Cid | None = None
    target: str | None = None


@attrs.frozen(slots=True)
class Manifest:
    """The files of a tree, sorted by the UTF-8 bytes of their paths."""

    files: tuple[SourceFile, ...]

    @property
    def bytes(self) -> int:
        """The size of all files and links together."""
        return sum(file.size for file in self.files)


def build(files: Iterable[SourceFile]) -> bytes:
    """The block of a manifest of these files, in any order; raises ManifestError where `parse` would."""
    entries = [_entry(file) for file in sorted(files, key=lambda file: file.path.encode())]
    try:
        block = encode({"v": VERSION, "files": entries})
    except (DagCborError, UnicodeEncodeError) as error:
        raise ManifestError(f"a source manifest cannot hold this tree: {error}") from error
    parse(block)
    return block


def parse(block: bytes) -> Manifest:
    """The manifest in a block; raises ManifestError for whatever breaks a rule of protocols/source.md."""
    try:
        value = decode(block, MAX_MANIFEST)
    except DagCborError as error:
        raise ManifestError(f"malformed source manifest: {error}") from error
    if type(value) is not dict or value.keys() != {"v", "files"} or type(value["v"]) is not int:
        raise ManifestError("malformed source manifest: not a map of v and files")
    if value["v"] != VERSION:
        raise ManifestError(f"source manifest of version {value['v']}, this node knows {VERSION}", "upgrade this node")
    listed = value["files"]
    if type(listed) is not list or len(listed) > MAX_FILES:
        raise ManifestError(f"malformed source manifest: files is not a list of at most {MAX_FILES}")
    files = tuple(_file(item) for item in listed)
    paths = [file.path.encode() for file in files]
    if any(a >= b for a, b in pairwise(paths)):
        raise ManifestError("malformed source manifest: paths that are not sorted and unique")
    manifest = Manifest(files)
    if manifest.bytes > MAX_BYTES:
        raise ManifestError(f"source manifest of {manifest.bytes} bytes, the bound is {MAX_BYTES}")
    _refuse_files_as_folders(files)
    return manifest


def is_path(path: str) -> bool:
    """Whether `path` can stand in a manifest: relative, plain names only, none of them `.git`."""
    if not 0 < len(path.encode()) <= MAX_PATH or "\0" in path:
        return False
    return all(_is_name(name) for name in path.split("/"))


def is_target(target: str) -> bool:
    """Whether `target` can stand in a manifest: a link may point anywhere, for nobody follows it on the way."""
    return 0 < len(target.encode()) <= MAX_PATH and "\0" not in target


def _is_name(name: str) -> bool:
    # A repository's settings and hooks run programs: a tree must not bring any, in whatever case a disk folds.
    return name not in {"", ".", ".."} and name.lower() != ".git" and len(name.encode()) <= MAX_NAME


def _entry(file: SourceFile) -> Mapping[str, object]:
    entry: dict[str, object] = {"path": file.path, "mode": file.mode, "size": file.size}
    return entry | ({"target": file.target} if file.mode == LINK else {"cid": file.cid})


def _file(item: Value) -> SourceFile:
    if type(item) is not dict:
        raise ManifestError("malformed source manifest: an entry that is not a map")
    path, mode, size = item.get("path"), item.get("mode"), item.get("size")
    if type(path) is not str or not is_path(path):
        raise ManifestError(f"malformed source manifest: a path that is not allowed: {str(path)[:80]!r}")
    if type(mode) is not int or mode not in {FILE, PROGRAM, LINK} or type(size) is not int or size < 0:
        raise ManifestError(f"malformed source manifest: mode or size of {path[:80]!r}")
    rest = item.keys() - {"path", "mode", "size"}
    if mode == LINK:
        target = item.get("target")
        if rest != {"target"} or type(target) is not str or not is_target(target) or size != len(target.encode()):
            raise ManifestError(f"malformed source manifest: the target of {path[:80]!r}")
        return SourceFile(path, mode, size, target=target)
    cid = item.get("cid")
    if rest != {"cid"} or type(cid) is not Cid or not cid.startswith(RAW_PREFIX):
        raise ManifestError(f"malformed source manifest: the CID of {path[:80]!r}")
    return SourceFile(path, mode, size, cid=cid)


def _refuse_files_as_folders(files: tuple[SourceFile, ...]) -> None:
    """No file or link may stand where another one's path has a folder: a path through a link would leave the tree."""
    leaves = {file.path for file in files}
    for file in files:
        folder = file.path
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in leaves:
                raise ManifestError(f"malformed source manifest: {folder[:80]!r} is a file and a folder")


def blobs_of(manifest: Manifest) -> tuple[Cid, ...]:
    """The CIDs of the files' contents, each once, in order of first use."""
    return tuple(dict.fromkeys(cast(Cid, file.cid) for file in manifest.files if file.mode != LINK))
