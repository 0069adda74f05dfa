"""A checkpoint on real nodes: runs go on both members, a late joiner starts from it, and one line of each stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pwf.control.client import Client
from p2pwf.errors import Refused
from tests.e2e.kit import PATIENCE, Node, p2pwf, workflow

ONE = "labels: p2p-workflow\non: workflow_dispatch\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo it ran}]}}\n"


def until(look: Callable[[], Any]) -> Any:
    """What is looked for, once it is there."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_a_network_lets_go_of_what_ended_and_a_late_joiner_starts_from_the_rest(tmp_path: Path) -> None:
    file = workflow(tmp_path / "w", ONE)
    with Node(tmp_path / "one", "--trust-members") as one, Node(tmp_path / "two") as two, Node(tmp_path / "six") as six:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        run = one.submit(file, "--no-source")
        assert one.wait_for(run)["status"] == "completed"
        told = one.ask("clock", "checkpoint", "--days", "0")
        assert told["stubs"] > 0
        clients = [Client(node.folder) for node in (one, two)]
        for client in clients:
            until(lambda client=client: client.call("POST", "clock", "prune")["pruned_runs"] == 1)  # type: ignore[misc]
        rows = [client.call("GET", "runs") for client in clients]
        assert rows[0] == rows[1]
        assert [row["status"] for row in rows[0]] == ["completed"]
        refused = p2pwf("workflow", "status", run, data=two.folder)
        assert (refused.returncode, "was pruned" in refused.stderr, "hint:" in refused.stderr) == (5, True, True)
        assert p2pwf("clock", "export", str(tmp_path / "late.car"), data=one.folder).returncode == 5

        six.start("--join", one.ticket()).ready()
        assert Client(six.folder).call("GET", "runs") == rows[0]
        for node in (one, six):
            verdict = Client(node.folder).call("GET", "clock", "verify")
            assert verdict["ok"], verdict
        more = six.submit(file, "--no-source")
        assert one.wait_for(more)["status"] == "completed"
        six.kill()
        six.start().ready()  # on what is left of its disk
        assert len(Client(six.folder).call("GET", "runs")) == 2
        with pytest.raises(Refused, match="was pruned"):
            Client(six.folder).call("GET", "runs", run)
