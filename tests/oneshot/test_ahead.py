"""Jobs' folders are made ahead of the jobs, where that is cheap; a job that finds none makes its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from p2pwf.oneshot import ahead as module
from p2pwf.oneshot.ahead import Ahead
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.runner.environment import Folders
from p2pwf.runner.source import Source, snapshot


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def source(tmp_path: Path, blobs: FolderBlobs) -> Source:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "ci.yml").write_text("on: push\n")
    (tree / "below" / "tool").write_text("#!/bin/sh\n")
    (tree / "below" / "tool").chmod(0o755)
    (tree / "link").symlink_to("below/tool")
    found = snapshot(tree / "ci.yml", tree, False, blobs)
    assert found is not None
    return found


def folders(tmp_path: Path, source: Source, name: str) -> Folders:
    (tmp_path / "work").mkdir(exist_ok=True)
    return Folders.below(tmp_path / "work" / name, source.repository)


async def test_what_was_ordered_is_put_in_place_once(
    tmp_path: Path, source: Source, blobs: FolderBlobs, thread: ThreadPoolExecutor
) -> None:
    wanted, other = folders(tmp_path, source, "a"), folders(tmp_path, source, "b")
    ahead = Ahead(tmp_path / "work", source, blobs, thread)
    ahead.order()
    assert await ahead.take(wanted)
    assert (wanted.workspace / "link").read_text() == "#!/bin/sh\n"
    assert (wanted.workspace / "below" / "tool").stat().st_mode & 0o111
    assert wanted.commands.is_dir()
    assert wanted.tools.is_dir()
    assert wanted.root.stat().st_mode & 0o777 == 0o700
    assert not await ahead.take(other)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["a"]


async def test_a_large_source_is_not_copied_before_it_is_asked_for(
    tmp_path: Path,
    source: Source,
    blobs: FolderBlobs,
    thread: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", source.bytes - 1)
    wanted = folders(tmp_path, source, "a")
    ahead = Ahead(tmp_path / "work", source, blobs, thread)
    ahead.order()
    assert not await ahead.take(wanted)
    assert list((tmp_path / "work").iterdir()) == []


async def test_what_fails_ahead_is_left_to_the_job(
    tmp_path: Path, source: Source, blobs: FolderBlobs, thread: ThreadPoolExecutor
) -> None:
    blobs.path(source.manifest).write_bytes(b"damaged")
    wanted = folders(tmp_path, source, "a")
    ahead = Ahead(tmp_path / "work", source, blobs, thread)
    ahead.order()
    assert not await ahead.take(wanted)
    assert not wanted.root.exists()
