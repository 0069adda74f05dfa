"""T48 without its guards: what a link, or another user, would get."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from p2pwf.control import endpoint
from p2pwf.control.endpoint import bound_socket


def test_t48_without_the_look_at_the_folder_others_reach_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "n"
    folder.mkdir()
    folder.chmod(0o755)
    monkeypatch.setattr(endpoint, "_private", lambda _: None)
    with bound_socket(folder):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077


def test_t48_without_clearing_the_way_a_socket_left_behind_keeps_the_node_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And binding never follows a link: it fails."""
    monkeypatch.setattr(endpoint, "_clear", lambda _: None)
    (tmp_path / "control.sock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="control socket"), bound_socket(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
