"""Files where a job may have put anything: nothing planted there makes the runner wait, recurse or follow."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from p2pwf.runner import jobfiles
from p2pwf.runner.jobfiles import copy_file, open_file, read_file, remove, remove_tree, write_file
from p2pwf.runner.leftovers import sweep_leftovers


def plant_pipe(path: Path) -> None:
    os.mkfifo(path)


def plant_folder(path: Path) -> None:
    path.mkdir()


def plant_circle(path: Path) -> None:
    path.symlink_to(path)


def plant_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def plant_link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def plant_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


PLANTED = [plant_pipe, plant_folder, plant_circle, plant_socket, plant_link_to_pipe, plant_device, lambda _: None]


@pytest.mark.parametrize("plant", PLANTED)
def test_what_is_no_file_is_none_and_is_not_waited_for(
    tmp_path: Path, plant: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    plant(Path("planted"))
    assert open_file(Path("planted")) is None
    assert read_file(Path("planted"), 10) is None


def test_a_file_is_read_through_a_link_up_to_a_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link", 4) == b"0123"


def test_a_file_that_turns_into_a_pipe_again_and_again_is_never_waited_for(tmp_path: Path) -> None:
    path, pipe, over = tmp_path / "file", tmp_path / "pipe", threading.Event()
    path.write_bytes(b"content")
    os.mkfifo(pipe)

    def exchange() -> None:
        while not over.is_set():
            for one, other in ((path, "was"), (pipe, "file"), (tmp_path / "was", "pipe")):
                with suppress(OSError):
                    one.rename(tmp_path / other)

    changer = threading.Thread(target=exchange)
    changer.start()
    try:
        found = {read_file(path, 100) for _ in range(3000)}
    finally:
        over.set()
        changer.join()
    assert found <= {b"content", None}
    assert b"content" in found


@pytest.mark.parametrize("plant", [plant_pipe, plant_circle, plant_socket, plant_link_to_pipe, lambda _: None])
def test_a_file_is_written_in_place_of_what_was_planted(
    tmp_path: Path, plant: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plant(Path("planted"))
    write_file(Path("planted"), b"ours", mode=0o755)
    assert Path("planted").read_bytes() == b"ours"
    assert Path("planted").lstat().st_mode & 0o7777 == 0o755


def test_a_copy_has_mode_and_time_and_stands_where_nothing_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "a").chmod(0o751)
    os.utime(tmp_path / "a", ns=(5, 7_000_000))
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"x" * 100_000
    assert ((tmp_path / "b").stat().st_mode & 0o777, (tmp_path / "b").stat().st_mtime_ns) == (0o751, 7_000_000)
    with pytest.raises(FileExistsError):
        copy_file(tmp_path / "a", tmp_path / "b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        copy_file(tmp_path / "pipe", tmp_path / "c")


def nest(folder: Path, depth: int) -> None:
    """Folders in folders, deeper than any path can say, each with a file."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("nested", dir_fd=here)
        inner = os.open("nested", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that nothing may be removed of."""
    folder = tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("kept")
    yield folder
    assert (folder / "sub" / "file").read_text() == "kept"


def test_what_is_nested_deeper_than_a_path_is_removed_with_few_descriptors(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    nest(top, 5000)
    remove(top)
    assert not top.exists()


def test_a_nest_of_a_job_does_not_keep_a_node_from_starting(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    nest(tmp_path / "job", 5000)
    assert sweep_leftovers(tmp_path).folders == 1
    assert not (tmp_path / "job").exists()


def test_links_are_removed_and_not_what_they_lead_to(tmp_path: Path, outside: Path) -> None:
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "a" / "link").symlink_to(outside)
    (top / "link").symlink_to(outside / "sub")
    remove(top)
    assert not top.exists()
    (tmp_path / "itself").symlink_to(outside)
    remove(tmp_path / "itself")
    assert not (tmp_path / "itself").is_symlink()


def test_folders_without_permissions_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for mode in (0o000, 0o500, 0o200):
        folder = top / f"{mode:o}" / "inner"
        folder.mkdir(parents=True)
        (folder / "file").touch()
        folder.chmod(mode)
        folder.parent.chmod(mode)
    remove_tree(top)
    assert not top.exists()


def test_a_file_and_nothing_are_removed_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remove(tmp_path / "file")
    remove(tmp_path / "file")
    remove_tree(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_moved_away_is_not_followed(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody moves the folder that is being emptied to another place: what lies about there is not ours."""
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "file").touch()
    plain = jobfiles._unlink_files

    def moving(handle: int) -> list[str]:
        if (top / "a" / "b").exists() and not any((top / "a" / "b").iterdir()):
            (top / "a" / "b").rename(outside / "b")
        found = plain(handle)
        if (top / "a" / "b").exists() and not any((top / "a" / "b").iterdir()):
            (top / "a" / "b").rename(outside / "b")
        return found

    monkeypatch.setattr(jobfiles, "_unlink_files", moving)
    with pytest.raises(OSError, match="moved"):
        remove(top)


def test_what_is_filled_as_fast_as_it_is_emptied_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "a" / "file").touch()
    monkeypatch.setattr(jobfiles, "PATIENCE_S", -1.0)
    with pytest.raises(TimeoutError):
        remove(top)
