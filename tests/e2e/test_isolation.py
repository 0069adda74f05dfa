"""Members' jobs on real nodes that nobody told to trust anybody: kept apart as the job's log says, or not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pwf.cli.levels import try_levels
from p2pwf.isolation import Level
from tests.e2e.kit import Node, workflow

FILE = """\
name: curious
labels: p2p-workflow
on: workflow_dispatch
jobs:
  look:
    runs-on: [self-hosted, two]
    steps:
      - run: |
          echo "user $(id -u), home $HOME"
          cat KEY && echo "has the key"
          ls -l CONTROL && echo "sees the socket"
          kill -0 NODE && echo "reaches the node"
          true
  lonely:
    runs-on: [self-hosted, two, 'network:none']
    steps:
      - run: |
          (exec 3<>/dev/tcp/127.0.0.1/PORT) && echo "reaches the machine"
          true
"""


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Level:
    """The best level of this machine."""
    best = max(level for level, one in try_levels(tmp_path_factory.mktemp("levels")).items() if one.available)
    if best is Level.none:
        pytest.skip("no level of isolation works on this machine")
    return best


def test_t42_a_members_job_is_kept_from_the_node_that_runs_it(tmp_path: Path, best: Level) -> None:
    with Node(tmp_path / "one") as one, Node(tmp_path / "two", "--label", "two") as two:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        assert two.process is not None
        assert best.label in two.ask("status")["labels"]
        places = {
            "KEY": two.folder / "identity.key",
            "CONTROL": two.folder / "control.sock",
            "NODE": two.process.pid,
            "PORT": two.info["addrs"][0].split("/")[4],
        }
        text = FILE if best >= Level.sandbox else FILE.partition("  lonely:")[0]
        for name, value in places.items():
            text = text.replace(name, str(value))
        run = one.submit(workflow(tmp_path / "here", text), "--no-source")
        done = one.wait_for(run)
        assert done["status"] == "completed"
        assert {job["owner"] for job in done["jobs"]} == {two.info["peer_id"]}
        lines = one.lines("workflow", "logs", run)
        log = "\n".join(line["text"] for line in lines if line["stream"] == "system")
        printed = "\n".join(line["text"] for line in lines if line["stream"] in ("stdout", "stderr"))
        assert f"Isolation: {best.name}, as" in log
        assert "has the key" not in printed
        assert "sees the socket" not in printed
        assert "reaches the" not in printed
        assert ("without a network" in log) is (best >= Level.sandbox)


def test_a_job_that_asks_for_more_than_there_is_waits_and_says_for_what(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one:
        one.start().ready()
        if Level.container.label in one.ask("status")["labels"]:
            pytest.skip("this machine has every level")
        text = FILE.partition("  lonely:")[0].replace("[self-hosted, two]", "[self-hosted, 'isolation:container']")
        run = one.submit(workflow(tmp_path / "here", text), "--no-source")
        waiting = one.wait_for(run, lambda told: bool(told["jobs"][0].get("waiting")))
        assert "isolation:container" in str(waiting["jobs"][0]["waiting"])
