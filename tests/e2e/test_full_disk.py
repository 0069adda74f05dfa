"""A node whose disk has no room left: it says so and ends; with room again it has all that it acknowledged."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import pytest

from p2pwf.control.client import Client
from p2pwf.errors import NoNode, P2pwfError, StorageError
from tests.e2e.kit import Node, workflow

ROOM = 40_000
"""Bytes that the log of the database may still grow: some submissions."""
MOST = 200
NOTHING = "labels: p2p-workflow\non: workflow_dispatch\njobs:\n  a: {runs-on: linux, if: false, steps: [{run: x}]}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a running process is set")
def test_a_node_whose_disk_is_full_says_so_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    file = workflow(tmp_path / "flow", NOTHING)
    asked = {"file": str(file), "no_source": True}
    acknowledged, errors = list[str](), list[P2pwfError]()
    with Node(tmp_path / "node") as node:
        node.start().ready()
        client = Client(node.folder)
        assert node.process is not None
        size = (node.folder / "events.db-wal").stat().st_size
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size + ROOM, resource.RLIM_INFINITY))
        while not errors and len(acknowledged) < MOST:
            try:
                acknowledged.append(client.call("POST", "runs", body=asked)["workflow_id"])
            except P2pwfError as error:
                errors.append(error)
        assert isinstance(errors[0], (StorageError, NoNode))
        assert node.ended() == StorageError.exit_code
        said = json.loads(node.errors().splitlines()[-1])["error"]
        assert said["code"] == "storage"
        assert said["message"].startswith(("no room to write ", "the disk failed at "))  # SQLite knows no such limit
        assert said["hint"]
        assert acknowledged
        node.start().ready()
        known = {row["workflow_id"] for row in client.call("GET", "runs")}
        assert known >= set(acknowledged)
        assert node.wait_for(client.call("POST", "runs", body=asked)["workflow_id"])["status"] == "completed"
        assert node.stop() == 0
