"""Laying a source out: real files in a real folder, from honest and from hostile manifests."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pwf.core.dagcbor import encode
from p2pwf.core.ids import Cid, blob_cid, block_cid
from p2pwf.errors import NotFound, RemoteError, StorageError
from p2pwf.runner import checkout, treewriter
from p2pwf.runner.checkout import FETCHES, layout
from p2pwf.runner.manifest import FILE, LINK, MAX_BYTES, MAX_FILES, PROGRAM, SourceFile, blobs_of, build, parse
from p2pwf.runner.source import snapshot
from p2pwf.store.blobs import BlobStore


class Peer:
    """Where blobs come from; it notes how many are asked for at once."""

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs
        self.asked: list[Cid] = []
        self.most = 0
        self._now = 0

    async def fetch(self, cid: Cid) -> Path:
        self.asked.append(cid)
        self._now += 1
        self.most = max(self.most, self._now)
        await trio.testing.wait_all_tasks_blocked()
        self._now -= 1
        return self.blobs.path(cid)

    def file(self, path: str, content: bytes, mode: int = FILE) -> SourceFile:
        return SourceFile(path, mode, len(content), cid=self.blobs.put_bytes(content))

    def manifest(self, *files: SourceFile) -> Cid:
        return self.blobs.put_bytes(build(files))


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    with closing(BlobStore(tmp_path / "blobs", 10**9)) as blobs:
        yield Peer(blobs)


def _link(path: str, target: str) -> SourceFile:
    return SourceFile(path, LINK, len(target.encode()), target=target)


def _listing(folder: Path) -> dict[str, object]:
    """Every path below a folder: a file's content and whether it is a program, a link's target."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = (path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
    return found


async def test_a_tree_comes_out_as_it_went_in(tmp_path: Path, peer: Peer) -> None:
    tree = tmp_path / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "flow.yml").write_text("on: push\n")
    (tree / "empty").touch()
    (tree / "deep" / "er" / "run.sh").write_text("#!/bin/sh\n")
    (tree / "deep" / "er" / "run.sh").chmod(0o755)
    (tree / "deep" / "ünï code\n").write_bytes(random.Random(1).randbytes(3_000_000))
    (tree / "link").symlink_to("deep/er")
    (tree / "away").symlink_to("/etc/passwd")
    taken = snapshot(tree / "flow.yml", None, False, peer.blobs)
    assert taken is not None
    laid = await layout(taken.manifest, peer.fetch, tmp_path / "out" / "here")
    assert _listing(tmp_path / "out" / "here") == _listing(tree)
    assert (len(laid.files), laid.bytes) == (taken.files, taken.bytes)
    assert not list((tmp_path / "out").rglob("*.tmp"))


async def test_modes_do_not_depend_on_the_umask(tmp_path: Path, peer: Peer) -> None:
    manifest = peer.manifest(peer.file("a", b"a"), peer.file("b", b"b", PROGRAM))
    before = os.umask(0o077)
    try:
        await layout(manifest, peer.fetch, tmp_path / "out")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) for name in "ab"] == [0o644, 0o755]


async def test_an_empty_tree_makes_an_empty_folder(tmp_path: Path, peer: Peer) -> None:
    await layout(peer.manifest(), peer.fetch, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


async def test_each_content_is_fetched_once_and_a_few_at_a_time(tmp_path: Path, peer: Peer) -> None:
    files = [peer.file(f"{number}", b"%d" % (number % 30)) for number in range(100)]
    await layout(peer.manifest(*files), peer.fetch, tmp_path / "out")
    assert len(peer.asked) == len(set(peer.asked)) == 31
    assert peer.most == FETCHES


async def test_what_is_in_the_way_is_replaced_and_the_rest_stays(tmp_path: Path, peer: Peer) -> None:
    out = tmp_path / "out"
    (out / "was-folder" / "inner").mkdir(parents=True)
    (out / "was-folder" / "inner" / "x").write_text("x")
    (out / "was-file").write_text("x")
    (out / "same").write_text("old and longer")
    (out / "other").write_text("stays")
    manifest = peer.manifest(
        peer.file("was-folder", b"1"), peer.file("was-file/below", b"2"), peer.file("same", b"3"), _link("link", "same")
    )
    for _ in range(2):
        await layout(manifest, peer.fetch, out)
        assert _listing(out) == {
            "was-folder": (b"1", False),
            "was-file/below": (b"2", False),
            "same": (b"3", False),
            "other": (b"stays", False),
            "link": "same",
        }


async def test_t41_links_that_stand_in_the_folder_are_never_followed(tmp_path: Path, peer: Peer) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    out = tmp_path / "out"
    out.mkdir()
    (out / "folder").symlink_to(outside)
    (out / "name").symlink_to(outside / "file")
    (out / "dangling").symlink_to(outside / "made")
    manifest = peer.manifest(
        peer.file("folder/file", b"1"), peer.file("name", b"2"), peer.file("dangling", b"3"), _link("z", str(outside))
    )
    for _ in range(2):
        await layout(manifest, peer.fetch, out)
    assert _listing(outside) == {"file": (b"untouched", False)}
    assert _listing(out) == {
        "folder/file": (b"1", False),
        "name": (b"2", False),
        "dangling": (b"3", False),
        "z": str(outside),
    }


def _entry(path: object, **changes: object) -> dict[str, object]:
    return {"path": path, "mode": FILE, "size": 1, "cid": blob_cid(b"x")} | changes


def _linked(path: str, target: object, **changes: object) -> dict[str, object]:
    size = len(target.encode()) if isinstance(target, str) else 0
    return {"path": path, "mode": LINK, "size": size, "target": target} | changes


HOSTILE: dict[str, object] = {
    "up": [_entry("../x")],
    "up inside": [_entry("a/../../x")],
    "absolute": [_entry("/etc/x")],
    "dot": [_entry("./x")],
    "empty path": [_entry("")],
    "double slash": [_entry("a//x")],
    "slash at the end": [_entry("a/")],
    "nul": [_entry("a\0b")],
    "repository": [_entry(".git/config")],
    "repository of any case": [_entry("sub/.GIT/hooks/x")],
    "git file": [_entry(".git")],
    "long name": [_entry("n" * 256)],
    "long path": [_entry("/".join(["n" * 200] * 21))],
    "path of bytes": [_entry(b"x")],
    "through a link": [_linked("a", "/etc"), _entry("a/x")],
    "through a file": [_entry("a"), _entry("a/b/x")],
    "through a link, not beside it": [_linked("a", "/etc"), _entry("a-b"), _entry("a/x")],
    "twice": [_entry("a"), _entry("a")],
    "unsorted": [_entry("b"), _entry("a")],
    "device": [_entry("a", mode=0o020644)],
    "set-user-id": [_entry("a", mode=0o104755)],
    "folder": [_entry("a", mode=0o040755)],
    "mode of a float": [_entry("a", mode=float(FILE))],
    "negative": [_entry("a", size=-1)],
    "too large": [_entry("a", size=MAX_BYTES), _entry("b", size=1)],
    "no cid": [{"path": "a", "mode": FILE, "size": 1}],
    "cid of an event": [_entry("a", cid=block_cid(b"x"))],
    "cid as text": [_entry("a", cid=blob_cid(b"x").text)],
    "file with a target": [_entry("a", target="b")],
    "link with a cid": [_linked("a", "b", cid=blob_cid(b"x"))],
    "link to nothing": [_linked("a", "")],
    "link with a nul": [_linked("a", "b\0c")],
    "long link": [_linked("a", "b" * 4096)],
    "link of a wrong size": [_linked("a", "b", size=2)],
    "link of bytes": [_linked("a", b"b")],
    "more fields": [_entry("a", owner="root")],
    "an entry of text": ["a"],
    "too many": [_entry(f"{number:05}") for number in range(MAX_FILES + 1)],
    "files of a map": {"a": 1},
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_t41_a_manifest_that_breaks_a_rule_is_refused_and_writes_nothing(
    tmp_path: Path, peer: Peer, name: str
) -> None:
    peer.blobs.put_bytes(b"x")
    manifest = peer.blobs.put_bytes(encode({"v": 1, "files": HOSTILE[name]}))
    with pytest.raises(RemoteError) as raised:
        await layout(manifest, peer.fetch, tmp_path / "out")
    assert "\n" not in raised.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"not cbor",
        encode([]),
        encode({"v": 1}),
        encode({"files": []}),
        encode({"v": 2, "files": []}),
        encode({"v": True, "files": []}),
        encode({"v": 1, "files": [], "x": 1}),
        encode({"v": 1, "files": []}) + b"\0",
    ],
)
async def test_a_block_that_is_no_manifest_is_refused(tmp_path: Path, peer: Peer, block: bytes) -> None:
    manifest = peer.blobs.put_bytes(block)
    with pytest.raises(RemoteError):
        await layout(manifest, peer.fetch, tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_a_manifest_that_is_too_large_is_refused_unread(
    tmp_path: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(treewriter, "MAX_MANIFEST", 50)
    with pytest.raises(RemoteError, match="over 50 bytes"):
        await layout(peer.manifest(peer.file("a", b"a")), peer.fetch, tmp_path / "out")


@pytest.mark.parametrize("change", [lambda _: b"other", lambda content: content + b"!", lambda _: b""])
async def test_content_that_is_not_what_the_manifest_names_is_never_laid_out(
    tmp_path: Path, peer: Peer, change: Callable[[bytes], bytes]
) -> None:
    manifest = peer.manifest(peer.file("good", b"good"), peer.file("victim", b"content"))

    async def swap(cid: Cid) -> Path:
        if cid != blob_cid(b"content"):
            return await peer.fetch(cid)
        (tmp_path / "swapped").write_bytes(change(b"content"))
        return tmp_path / "swapped"

    with pytest.raises(StorageError, match="victim"):
        await layout(manifest, swap, tmp_path / "out")
    assert not (tmp_path / "out" / "victim").exists()


async def test_a_size_that_is_not_the_contents_is_refused(tmp_path: Path, peer: Peer) -> None:
    lie = SourceFile("a", FILE, 5, cid=peer.blobs.put_bytes(b"four"))
    with pytest.raises(StorageError):
        await layout(peer.manifest(lie), peer.fetch, tmp_path / "out")
    assert not (tmp_path / "out" / "a").exists()


async def test_a_manifest_swapped_on_its_way_is_refused(tmp_path: Path, peer: Peer) -> None:
    (tmp_path / "swapped").write_bytes(build([]))

    async def swap(_: Cid) -> Path:
        return tmp_path / "swapped"

    with pytest.raises(StorageError):
        await layout(peer.manifest(peer.file("a", b"a")), swap, tmp_path / "out")


async def test_a_blob_that_cannot_be_had_ends_the_layout_with_its_error(tmp_path: Path, peer: Peer) -> None:
    missing = [SourceFile(f"{n}", FILE, 1, cid=blob_cid(b"absent %d" % n)) for n in range(50)]
    with pytest.raises(NotFound):
        await layout(peer.manifest(*missing), peer.fetch, tmp_path / "out")
    assert len(peer.asked) <= 1 + FETCHES
    assert not (tmp_path / "out").exists()


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, peer: Peer) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be laid out") as raised:
        await layout(peer.manifest(peer.file("a", b"a")), peer.fetch, tmp_path / "file" / "out")
    assert raised.value.hint


async def test_a_layout_that_is_cancelled_stops(tmp_path: Path, peer: Peer) -> None:
    files = [peer.file(f"{number:04}", b"x") for number in range(3 * checkout.FILES_AT_A_TIME)]
    manifest = peer.manifest(*files)

    async def cancel(cid: Cid) -> Path:
        path = await peer.fetch(cid)
        if cid == blob_cid(b"x"):
            scope.cancel()
        return path

    with trio.CancelScope() as scope:
        await layout(manifest, cancel, tmp_path / "out")
    assert scope.cancelled_caught
    assert not (tmp_path / "out").exists()


def test_a_manifest_does_not_depend_on_the_order_of_its_files() -> None:
    files = [SourceFile(path, FILE, 1, cid=blob_cid(b"x")) for path in ("b", "a/b", "a-b", "a", "ü", "z")][1:]
    files = [file for file in files if file.path != "a"]
    block = build(files)
    assert block == build(reversed(files))
    assert [file.path for file in parse(block).files] == ["a-b", "a/b", "z", "ü"]
    assert blobs_of(parse(block)) == (blob_cid(b"x"),)
