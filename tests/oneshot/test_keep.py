"""What outlives a run: caches of one source, within their bound; artifacts of the last runs; packing both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pwf.core.ids import Cid
from p2pwf.errors import NotFound, UsageError
from p2pwf.oneshot import keep
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.oneshot.keep import CacheFolder, artifact_folder
from p2pwf.runner.checkout import layout
from p2pwf.runner.pack import pack
from p2pwf.runner.values import Cache
from tests.oneshot.kit import Here

SOURCE = Path("/some/source")


def stored(blobs: FolderBlobs, folder: Path, key: str, content: str = "x", version: str = "v") -> Cache:
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text(content)
    packed = pack(folder, None, blobs)
    return Cache(key=key, version=version, link=packed.link, size=packed.size)


async def content(blobs: FolderBlobs, cache: Cache | None, into: Path) -> str | None:
    if cache is None:
        return None

    async def fetch(cid: Cid) -> Path:
        return blobs.path(cid)

    await layout(cache.link, fetch, into)
    return (into / "file").read_text()


async def test_what_one_run_saves_the_next_one_finds(tmp_path: Path) -> None:
    first = FolderBlobs(tmp_path / "first")
    CacheFolder(tmp_path / "home", SOURCE, first).save(stored(first, tmp_path / "data", "deps-1", "saved"))
    for blob in first.root.iterdir():
        blob.unlink()
    second = FolderBlobs(tmp_path / "second")
    found = CacheFolder(tmp_path / "home", SOURCE, second).find(("deps-1",), "v")
    assert await content(second, found, tmp_path / "out") == "saved"


def test_a_key_is_matched_whole_then_as_a_beginning_then_the_next_one(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    caches = CacheFolder(tmp_path / "home", SOURCE, blobs)
    for key in ("deps-a-old", "deps-a", "other"):
        caches.save(stored(blobs, tmp_path / "data", key, key))

    def key_of(*keys: str, version: str = "v") -> str | None:
        found = caches.find(keys, version)
        return None if found is None else found.key

    assert key_of("deps-a") == "deps-a"
    assert key_of("deps-") == "deps-a"  # the newest of two
    assert key_of("none", "oth") == "other"
    assert key_of("none") is None
    assert key_of("other", version="w") is None


def test_a_key_that_is_there_stays_as_it_was(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    caches = CacheFolder(tmp_path / "home", SOURCE, blobs)
    first = stored(blobs, tmp_path / "data", "k", "first")
    caches.save(first)
    caches.save(stored(blobs, tmp_path / "data", "k", "second"))
    assert caches.find(("k",), "v") == first


def test_other_sources_find_nothing_of_it(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    CacheFolder(tmp_path / "home", SOURCE, blobs).save(stored(blobs, tmp_path / "data", "k"))
    assert CacheFolder(tmp_path / "home", Path("/another"), blobs).find(("k",), "v") is None


def test_what_was_not_used_longest_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "CACHE_BYTES", 25)
    blobs = FolderBlobs(tmp_path / "blobs")
    caches = CacheFolder(tmp_path / "home", SOURCE, blobs)
    for number, key in enumerate(("one", "two")):
        caches.save(stored(blobs, tmp_path / "data", key, f"{key:10}"))
        for entry in (tmp_path / "home").glob("caches/*/*"):
            if key in (entry / "entry.json").read_text():
                os.utime(entry, (number, number))
    assert caches.find(("one",), "v") is not None  # used again, so two goes first
    caches.save(stored(blobs, tmp_path / "data", "three", f"{'three':10}"))
    assert [caches.find((key,), "v") is not None for key in ("one", "two", "three")] == [True, False, True]


def test_a_damaged_entry_counts_as_none(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    caches = CacheFolder(tmp_path / "home", SOURCE, blobs)
    caches.save(stored(blobs, tmp_path / "data", "k"))
    (entry,) = (tmp_path / "home").glob("caches/*/*/entry.json")
    for damage in ("", "[]", '{"key": 1}', entry.read_text().replace("bafk", "xxxx")):
        entry.write_text(damage)
        assert caches.find(("k",), "v") is None


def test_artifacts_of_the_last_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "ARTIFACT_RUNS", 2)
    made = [artifact_folder(tmp_path, f"bafyrun{number:08}") for number in range(4)]
    assert [folder.exists() for folder in made][-1]
    assert sum(folder.exists() for folder in made) == 2


async def test_a_packed_folder_is_what_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "node_modules" / "deep").mkdir(parents=True)
    (folder / "node_modules" / "deep" / "a.js").write_text("a")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    (folder / "left").write_text("not chosen")
    blobs = FolderBlobs(tmp_path / "blobs")

    async def fetch(cid: Cid) -> Path:
        return blobs.path(cid)

    chosen = {"node_modules/deep/a.js", "run.sh", "link", "gone"}
    packed = pack(folder, chosen, blobs)
    await layout(packed.link, fetch, tmp_path / "out")
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if not path.is_dir()} == {
        "node_modules/deep/a.js", "run.sh", "link"
    }  # fmt: skip
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert (tmp_path / "out" / "link").readlink() == Path("run.sh")
    whole = pack(folder, None, blobs)
    assert whole.size == packed.size + len("not chosen")


def test_names_that_cannot_travel_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / os.fsdecode(b"\xff")).write_text("x")
    with pytest.raises(UsageError, match="cannot be packed"):
        pack(tmp_path / "folder", None, FolderBlobs(tmp_path / "blobs"))


def test_a_blob_that_is_not_there_is_said(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    with blobs.batch() as batch:
        cid = batch.put_bytes(b"content")
    assert blobs.path(cid).read_bytes() == b"content"
    blobs.path(cid).unlink()
    with pytest.raises(NotFound):
        blobs.path(cid)


def test_no_secret_becomes_the_name_of_a_folder(here: Here) -> None:
    here.steps(
        """
        - run: echo hi > x.txt
        - {uses: actions/upload-artifact@v4, with: {path: x.txt, name: "for-${{ secrets.WHO }}"}}
        """
    )
    ran = here.run("--secret", "WHO=s3cret-7", "--artifacts", str(here.tmp / "out"))
    assert [one["name"] for one in ran.end["artifacts"]] == ["for-___"]
    assert [path.name for path in (here.tmp / "out").iterdir()] == ["for-___"]
    assert "s3cret-7" not in ran.out + ran.err
