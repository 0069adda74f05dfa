"""A node whose event database was damaged comes up again, with what the others hold, and without forking its chain."""

from __future__ import annotations

import random
from pathlib import Path

from tests.e2e.kit import Node, p2pwf, workflow
from tests.store.kit import flip

RUN = """\
name: p2p-workflow
on: workflow_dispatch
jobs:
  one:
    runs-on: ubuntu-latest
    steps: [{run: echo it ran}]
"""


def test_a_damaged_database_is_rebuilt_from_the_members(tmp_path: Path) -> None:
    file = workflow(tmp_path / "w", RUN)
    with Node(tmp_path / "one", "--trust-members") as one, Node(tmp_path / "two", "--trust-members") as two:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        runs = [node.submit(file, "--no-source") for node in (one, two) for _ in range(6)]
        for run in runs:
            assert two.wait_for(run)["status"] == "completed"
        assert two.stop() == 0
        database = two.folder / "events.db"
        size, chance = database.stat().st_size, random.Random(7)
        for _ in range(4):
            flip(database, chance.randrange(size // 3, size - 500), 400)
        two.start().ready()
        assert "the event database is damaged" in two.errors()
        assert (two.folder / "damaged-1" / "events.db").exists()
        last = two.submit(file, "--no-source")
        assert one.wait_for(last)["status"] == "completed"
        for node in (one, two):
            assert {entry["workflow_id"] for entry in node.ask("workflow", "list")} == {*runs, last}
            assert p2pwf("clock", "verify", data=node.folder).returncode == 0
        assert one.ask("clock", "heads") == two.ask("clock", "heads")


def test_a_lost_database_is_fetched_by_the_same_key_without_a_fork(tmp_path: Path) -> None:
    file = workflow(tmp_path / "w", RUN)
    with Node(tmp_path / "one", "--trust-members") as one, Node(tmp_path / "two", "--trust-members") as two:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        first = two.submit(file, "--no-source")
        assert one.wait_for(first)["status"] == "completed"
        two.kill()
        for path in two.folder.glob("events.db*"):
            path.unlink()
        two.start("--bootstrap", one.info["addrs"][0]).ready()
        assert two.ask("status")["peer_id"] == two.info["peer_id"]
        second = two.submit(file, "--no-source")
        assert one.wait_for(second)["status"] == "completed"
        for node in (one, two):
            assert {entry["workflow_id"] for entry in node.ask("workflow", "list")} == {first, second}
        assert len(one.ask("peer", "list")) == 2
