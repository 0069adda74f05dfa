"""What a service manager is told of a node: ready when it says so itself, stopping when it was told to stop."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.kit import PATIENCE, Node


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """A service manager's end: a bound datagram socket; `@name` is an abstract one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + address[1:] if address.startswith("@") else address)
        heard.settimeout(PATIENCE)
        yield heard


def all_told(heard: socket.socket) -> list[str]:
    """Every line told so far."""
    lines: list[str] = []
    heard.setblocking(False)
    try:
        while True:
            lines += heard.recv(4096).decode().split("\n")
    except BlockingIOError:
        return lines
    finally:
        heard.settimeout(PATIENCE)


def next_of(heard: socket.socket, word: str) -> list[str]:
    """The lines of the next datagram that says `word`."""
    while word not in (lines := heard.recv(4096).decode().split("\n")):
        pass
    return lines


@pytest.mark.skipif(sys.platform != "linux", reason="systemd, and abstract sockets, are Linux's")
def test_a_node_is_ready_for_systemd_when_it_prints_its_ready_line_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, abstract = str(tmp_path / "n"), f"@p2pwf-test-{os.getpid()}"
    with (
        manager(path) as of_one,
        manager(abstract) as of_two,
        Node(tmp_path / "one") as one,
        Node(tmp_path / "two") as two,
    ):
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        one.start().ready()
        assert f"STATUS=one {one.info['peer_id']}" in next_of(of_one, "READY=1")
        monkeypatch.setenv("NOTIFY_SOCKET", abstract)
        two.start("--bootstrap", one.info["addrs"][0])
        end = time.monotonic() + PATIENCE
        while not (asks := one.ask("peer", "list", "--pending")):
            assert time.monotonic() < end
        assert all_told(of_two) == ["STATUS=joining the network"]  # it has printed nothing either
        one.ask("peer", "add", asks[0]["peer_id"])
        two.ready()
        next_of(of_two, "READY=1")
        for node, heard in ((two, of_two), (one, of_one)):
            assert node.stop() == 0
            assert all_told(heard) == ["STOPPING=1", "STATUS=stopping"]
