"""The key file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pwf.errors import Refused, StorageError
from p2pwf.net.identity import load_or_create


def test_t49_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    seed = load_or_create(path)
    assert len(seed) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create(path) == seed
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_the_private_key_of_the_peer_ids_specification(tmp_path: Path) -> None:
    example = bytes.fromhex(
        "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
        "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
    )
    path = tmp_path / "identity"
    path.touch(0o600)
    path.write_bytes(example)
    assert load_or_create(path) == example[4:36]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o677])
def test_t49_a_key_that_others_can_reach_is_refused_and_left(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity"
    load_or_create(path)
    path.chmod(mode)
    before = path.read_bytes()
    with pytest.raises(Refused, match="others") as refused:
        load_or_create(path)
    assert "chmod 600" in str(refused.value.hint)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == mode


def test_t49_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    load_or_create(real)
    (tmp_path / "identity").symlink_to(real)
    with pytest.raises(Refused):
        load_or_create(tmp_path / "identity")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Refused):
        load_or_create(tmp_path / "dangling")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("content", [b"", b"\x08\x01\x12\x40", bytes(68), b"\x08\x01\x12\x40" + bytes(64), bytes(100)])
def test_a_file_that_holds_no_key_is_refused_and_left(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(Refused, match="no Ed25519 key"):
        load_or_create(path)
    assert path.read_bytes() == content


def test_a_folder_or_a_pipe_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("folder", "pipe"):
        with pytest.raises(Refused):
            load_or_create(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        load_or_create(tmp_path / "missing" / "identity")


def test_t49_without_the_look_at_its_mode_a_key_that_all_can_read_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "identity"
    seed = load_or_create(path)
    path.chmod(0o644)
    monkeypatch.setattr("stat.S_IMODE", lambda _: 0o600)
    assert load_or_create(path) == seed


def test_t49_without_its_flag_a_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = load_or_create(tmp_path / "real")
    (tmp_path / "identity").symlink_to(tmp_path / "real")
    monkeypatch.setattr("os.O_NOFOLLOW", 0)
    assert load_or_create(tmp_path / "identity") == seed
