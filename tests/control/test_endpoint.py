"""Where the socket lies, and what is found there already."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pwf.control.client import Client, find_socket
from p2pwf.control.endpoint import bound_socket, peer_uid
from p2pwf.errors import NoNode, Refused


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="p2pwf-") as made:
        yield Path(made)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_t48_the_socket_is_ours_alone_and_gone_afterwards(folder: Path) -> None:
    folder.chmod(0o755)
    with bound_socket(folder) as (_, path):
        assert path == folder / "control.sock" == Path(find_socket(folder))
        assert mode(path) == 0o600
        assert mode(folder) == 0o700
    assert list(folder.iterdir()) == []


def test_t48_a_socket_that_a_killed_node_left_is_replaced(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(folder / "control.sock"))
    with pytest.raises(NoNode, match="no node runs"):
        Client(folder).call("GET", "info")
    with bound_socket(folder) as (listener, path), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(os.fspath(path))
        listener.setblocking(True)
        accepted, _ = listener.accept()
        assert peer_uid(accepted) == os.geteuid()
        accepted.close()


def test_t48_a_link_in_its_place_is_removed_and_not_followed(folder: Path) -> None:
    target = folder / "precious"
    target.write_text("kept")
    (folder / "control.sock").symlink_to(target)
    with bound_socket(folder) as (_, path):
        assert stat.S_ISSOCK(path.lstat().st_mode)
    assert target.read_text() == "kept"


def test_a_file_in_its_place_is_not_touched(folder: Path) -> None:
    (folder / "control.sock").write_text("somebody's")
    with pytest.raises(Refused, match="in the way"), bound_socket(folder):
        pass
    assert (folder / "control.sock").read_text() == "somebody's"


def test_a_socket_that_a_later_node_made_is_left_alone(folder: Path) -> None:
    with bound_socket(folder) as (_, path):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


@pytest.mark.parametrize("runtime", [True, False])
def test_t48_a_long_path_falls_back_to_a_short_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, runtime: bool
) -> None:
    run = folder / "run"
    run.mkdir()
    if runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(run))
    else:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    long = folder / ("x" * 100)
    long.mkdir()
    with pytest.raises(NoNode):
        find_socket(long)
    with bound_socket(long) as (_, path):
        assert Path(find_socket(long)) == path
        assert len(os.fsencode(path)) <= 107
        assert (path.parent.parent == run) is runtime
        assert mode(path.parent) == 0o700
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(os.fspath(path))
    assert not path.parent.exists()
    assert list(long.iterdir()) == []


def test_t48_a_fallback_folder_that_is_a_link_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, long = folder / "run", folder / ("x" * 100)
    run.mkdir()
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(run))
    with bound_socket(long) as (_, path):
        place = path.parent
    (folder / "trap").mkdir()
    place.symlink_to(folder / "trap")
    with pytest.raises(Refused, match="not a folder of this user"), bound_socket(long):
        pass
    assert list((folder / "trap").iterdir()) == []


def test_asking_a_folder_that_is_not_there_makes_nothing(folder: Path) -> None:
    with pytest.raises(NoNode):
        Client(folder / "none").call("GET", "info")
    assert list(folder.iterdir()) == []
