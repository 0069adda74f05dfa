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


def test_the_same_peer_writes_nothing_too_early_and_another_peer_has_to_be_let_in(tmp_path: Path) -> None:
    file = workflow(tmp_path / "w", ONE)
    saved = {name: tmp_path / f"{name}.p2pwf" for name in ("one", "two")}
    with (
        Node(tmp_path / "one", "--slots", "0") as one,
        Node(tmp_path / "two", "--trust-members") as two,
        Node(tmp_path / "again", "--slots", "0") as again,
        Node(tmp_path / "three", "--trust-members") as three,
    ):
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        one.ask("backup", str(saved["one"]))
        late = one.submit(file)
        assert two.wait_for(late)["status"] == "completed"
        made = two.ask("backup", str(saved["two"]))
        assert (made["peer_id"], made["left_out"], made["blobs"] > 0) == (two.info["peer_id"], 0, True)

        # With its own id: while the old one is there no member speaks with it, and it writes nothing.
        refused = p2pwf("restore", str(saved["one"]), data=again.folder)
        assert (refused.returncode, "only admin" in refused.stderr) == (5, True)
        assert not again.folder.exists()
        told = again.ask("restore", str(saved["one"]), "--same-identity")
        assert (told["peer_id"], told["waits_for"]) == (one.info["peer_id"], [two.info["peer_id"]])
        again.start("--bootstrap", two.info["addrs"][0])
        until(lambda: p2pwf("status", data=again.folder).returncode == 0)
        why = "restored under its old id, this node writes nothing before it has heard two"
        assert again.ask("status")["frozen"] == why
        refused = p2pwf("workflow", "submit", str(file), "--no-source", data=again.folder)
        assert (refused.returncode, why in refused.stderr) == (5, True)
        one.kill()
        again.ready()
        assert again.status(late)["status"] == "completed"  # it was submitted after the backup
        assert two.wait_for(again.submit(file, "--no-source"))["status"] == "completed"
        for node in (again, two):
            assert node.ask("clock", "verify")["ok"]
            status = node.ask("status")
            assert (status["frozen"], status["removed"]) == (None, False)

        # With a new one: it is let in by its id, and the old one goes.
        two.kill()
        told = three.ask("restore", str(saved["two"]))
        assert told["former_peer_id"] == two.info["peer_id"] != told["peer_id"]
        three.start("--bootstrap", again.info["addrs"][0])
        again.ask("peer", "add", told["peer_id"])
        again.ask("peer", "remove", two.info["peer_id"])
        three.ready()
        assert {name: three.info[name] for name in ("peer_id", "network")} == {
            "peer_id": told["peer_id"], "network": one.info["network"]
        }  # fmt: skip
        assert "it ran" in p2pwf("workflow", "logs", late, data=three.folder).stdout  # its blob was in the backup
        assert again.wait_for(again.submit(file, "--no-source"))["status"] == "completed"
        assert three.ask("clock", "verify")["ok"]
