from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from p2pwf.errors import Refused, StorageError
from p2pwf.store.datadir import DataDir
from tests.store.kit import python

HOLD = """
import sys
from pathlib import Path
from p2pwf.store.datadir import DataDir
with DataDir(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_naming_a_folder_makes_nothing(tmp_path: Path) -> None:
    folder = DataDir(tmp_path / "node")
    assert (folder.events.name, folder.blobs.name, folder.work.name) == ("events.db", "blobs", "work")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "node"
    with DataDir(path).lock():
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((path / "lock").stat().st_mode) == 0o600


def test_t50_a_second_node_on_the_folder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    holder = python(HOLD, tmp_path / "node")
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Refused, match=str(holder.pid)), DataDir(tmp_path / "node").lock():
            pytest.fail("two nodes hold one folder")
    with DataDir(tmp_path / "node").lock():
        pass


def test_t50_without_the_lock_two_hold_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    with DataDir(tmp_path / "node").lock(), DataDir(tmp_path / "node").lock():
        assert (tmp_path / "node" / "lock").exists()


def test_a_node_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    holder = python(HOLD, tmp_path / "node")
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    with DataDir(tmp_path / "node").lock():
        assert (tmp_path / "node" / "lock").read_text() == f"{os.getpid()}\n"


def test_an_empty_folder_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "node"
    path.mkdir(mode=0o755)
    with DataDir(path).lock():
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_shared_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "home"
    path.mkdir()
    path.chmod(0o755)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(Refused, match="open to other users"), DataDir(path).lock():
        pytest.fail("it was taken")
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert [entry.name for entry in path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="not a folder"), DataDir(tmp_path / "file").lock():
        pytest.fail("it was taken")
    with pytest.raises(StorageError), DataDir(tmp_path / "file" / "node").lock():
        pytest.fail("it was made")
