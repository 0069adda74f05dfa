"""A node's folder in a file, and back: as another peer, or as the same one that writes nothing too early."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.kit import PATIENCE, Node, p2pwf, workflow

ONE = """\
name: One p2p-workflow
on: workflow_dispatch
jobs:
  one:
    runs-on: ubuntu-latest
    steps: [{run: echo it ran}]
"""


def until(look: Callable[[], Any]) -> Any:
    """What is looked for, once it is there."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_what_is_restored_is_another_peer_that_an_admin_lets_in(tmp_path: Path) -> None:
    file = workflow(tmp_path / "w", ONE)
    saved = tmp_path / "two.p2pwf"
    with (
        Node(tmp_path / "one", "--slots", "0") as one,
        Node(tmp_path / "two", "--trust-members") as two,
        Node(tmp_path / "again", "--trust-members") as again,
    ):
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        run = two.submit(file)
        assert two.wait_for(run)["status"] == "completed"
        made = two.ask("backup", str(saved))  # while it runs
        assert (made["peer_id"], made["left_out"]) == (two.info["peer_id"], 0)
        assert made["blobs"] > 0
        assert saved.stat().st_mode & 0o777 == 0o600
        two.kill()

        restored = p2pwf("restore", str(saved), data=again.folder)
        assert restored.returncode == 0, restored.stderr
        assert f"p2pwf peer remove {two.info['peer_id']}" in restored.stdout
        again.start()
        (asks,) = until(lambda: one.ask("peer", "list", "--pending"))
        assert asks["peer_id"] != two.info["peer_id"]
        assert f"p2pwf peer add {asks['peer_id']} --roles run,submit" in restored.stdout
        one.ask("peer", "add", asks["peer_id"])
        again.ready()
        one.ask("peer", "remove", two.info["peer_id"])
        assert again.info["peer_id"] == asks["peer_id"]
        assert again.info["network"] == one.info["network"]
        assert "waiting to be admitted" in again.errors()
        assert "it ran" in p2pwf("workflow", "logs", run, data=again.folder).stdout  # its blob was in the backup
        assert again.wait_for(again.submit(file))["status"] == "completed"
        assert again.ask("clock", "verify")["ok"]


def test_with_its_own_id_it_writes_nothing_before_it_has_heard_what_it_wrote_last(tmp_path: Path) -> None:
    file = workflow(tmp_path / "w", ONE)
    saved = tmp_path / "one.p2pwf"
    with (
        Node(tmp_path / "one") as one,
        Node(tmp_path / "two", "--slots", "0") as two,
        Node(tmp_path / "again") as again,
    ):
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        one.ask("backup", str(saved))
        late = one.submit(file, "--no-source")
        assert two.wait_for(late)["status"] == "completed"

        refused = p2pwf("restore", str(saved), data=again.folder)
        assert (refused.returncode, "only admin" in refused.stderr) == (5, True)
        assert not again.folder.exists()
        told = again.ask("restore", str(saved), "--same-identity")
        assert (told["peer_id"], told["waits_for"]) == (one.info["peer_id"], [two.info["peer_id"]])

        # While the old one runs still, no member speaks with it.
        again.start("--bootstrap", two.info["addrs"][0])
        until(lambda: any("two nodes run with the key" in alarm for alarm in two.ask("status")["alarms"]))
        assert again.ask("status")["frozen"] == (
            "restored under its old id, this node writes nothing before it has heard two"
        )
        refused = p2pwf("workflow", "submit", str(file), data=again.folder)
        assert (refused.returncode, "before it has heard two" in refused.stderr) == (5, True)
        assert one.ask("status")["frozen"] is None
        one.kill()

        again.ready()
        assert again.ask("status")["frozen"] is None
        assert again.status(late)["status"] == "completed"  # of after the backup
        assert two.wait_for(again.submit(file, "--no-source"))["status"] == "completed"
        for node in (again, two):
            assert node.ask("clock", "verify")["ok"]
            assert {(peer["name"], peer["connected"]) for peer in node.ask("peer", "list") if not peer["self"]} <= {
                ("two", True), ("again", True), ("one", True)
            }  # fmt: skip
            assert node.ask("status")["frozen"] is None
