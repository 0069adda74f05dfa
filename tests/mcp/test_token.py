"""The token's file: one for a data folder, for its user's eyes only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pwf.errors import Refused, StorageError
from p2pwf.mcp.token import TOKEN_FILE, token_of


def test_a_token_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    token, file = token_of(tmp_path / "data")
    assert file == tmp_path / "data" / TOKEN_FILE
    assert file.read_text() == token + "\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert token_of(tmp_path / "data") == (token, file)
    assert list((tmp_path / "data").iterdir()) == [file]
    assert token_of(tmp_path / "other")[0] != token


def test_a_token_of_ones_own_is_taken(tmp_path: Path) -> None:
    file = tmp_path / TOKEN_FILE
    file.touch(0o600)
    file.write_text("  a-token-of-my-own-making \n")
    assert token_of(tmp_path) == ("a-token-of-my-own-making", file)


def _readable(file: Path) -> None:
    file.write_text("x" * 43)
    file.chmod(0o640)


def _link(file: Path) -> None:
    target = file.with_name("elsewhere")
    target.touch(0o600)
    target.write_text("x" * 43)
    file.symlink_to(target)


def _words(text: str) -> Callable[[Path], None]:
    def make(file: Path) -> None:
        file.touch(0o600)
        file.write_text(text)

    return make


@pytest.mark.parametrize(
    "make",
    [_readable, _link, Path.mkdir, os.mkfifo, *map(_words, ("", "short", "two words of a token", "ü" * 40))],
    ids=["readable", "link", "folder", "pipe", "empty", "short", "words", "not ascii"],
)
def test_a_file_that_is_no_secret_is_not_used(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / TOKEN_FILE)
    with pytest.raises((Refused, StorageError)) as caught:
        token_of(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint


def test_a_folder_that_cannot_be_made_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot use"):
        token_of(tmp_path / "file" / "data")
