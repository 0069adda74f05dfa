"""A schedule on real nodes: one of them submits each tick, also when the one that added it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pwf.core.ids import blob_cid
from tests.e2e.kit import PATIENCE, Node, p2pwf, three_nodes
from tests.e2e.test_secrets import set_secret

WORKFLOW = """\
name: Each minute p2p-workflow
on:
  schedule:
    - cron: "* * * * *"
jobs:
  tick:
    runs-on: ubuntu-latest
    outputs: {{when: "${{{{ steps.t.outputs.when }}}}"}}
    steps:
      - uses: actions/checkout@v4
      - id: t
        env: {{PLACE: "${{{{ secrets.PLACE }}}}"}}
        run: |
          echo "when=${{{{ github.event.schedule }}}} $(cat said)" >> "$GITHUB_OUTPUT"
          echo "the secret is $PLACE, of ${{#PLACE}} bytes; the other is '${{{{ secrets.LOST }}}}'"
          echo x >> {folder}/ran
"""


def runs_of(node: Node) -> list[dict[str, object]]:
    found: list[dict[str, object]] = node.ask("workflow", "list")
    return found


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert holds()


def test_a_schedule_is_known_everywhere_with_its_source(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "said").write_text("from the source")
    file = work / "minute.yml"
    file.write_text(WORKFLOW.replace('"* * * * *"', '"0 0 29 2 1"').format(folder=tmp_path))
    said = blob_cid(b"from the source").text
    with three_nodes(tmp_path) as (ada, bob, cyd):
        made = ada.ask("schedule", "add", str(file), "--name", "leap")
        wait_until(lambda: all(list((node.folder / "blobs").glob(f"*/{said}")) for node in (bob, cyd)), PATIENCE)
        (row,) = cyd.ask("schedule", "list")
        assert (row["name"], row["active"], row["author"]) == ("leap", True, ada.info["peer_id"])
        assert row["next"] > time.time() * 1000
        refused = p2pwf("schedule", "remove", "leap", data=cyd.folder)
        assert (refused.returncode, "only its author or an admin" in refused.stderr) == (5, True)
        ada.ask("schedule", "remove", made["schedule_id"][-8:])
        wait_until(lambda: cyd.ask("schedule", "list") == [], PATIENCE)
        none = work / "none.yml"
        none.write_text("name: p2p-workflow\non: push\njobs: {a: {runs-on: x, steps: [{run: 'true'}]}}\n")
        refused = p2pwf("schedule", "add", str(none), data=ada.folder)
        assert (refused.returncode, "has no schedule" in refused.stderr) == (2, True)


@pytest.mark.long  # a tick is a whole minute
def test_a_tick_is_submitted_once_though_its_author_is_gone(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "said").write_text("from the source")
    file = work / "minute.yml"
    file.write_text(WORKFLOW.format(folder=tmp_path))
    with three_nodes(tmp_path) as (ada, bob, cyd):
        while time.time() % 60 > 50 or time.time() % 60 < 1:
            time.sleep(1)  # so that the first tick is not due while the schedule is being added
        set_secret(ada, "PLACE", "correct-horse-battery")
        made = ada.ask("schedule", "add", str(file))
        assert [one["message"] for one in made["warnings"]] == [
            "the secret LOST, which the job 'tick' names, is not set: it will be empty"
        ]
        again = p2pwf("schedule", "list", data=cyd.folder)
        assert "Each minute" in again.stdout
        wait_until(lambda: bool(runs_of(bob)), 75)
        (run,) = runs_of(bob)
        done = bob.wait_for(str(run["workflow_id"]))
        assert done["status"] == "completed", done
        assert done["event"] == "schedule"
        log = p2pwf("workflow", "logs", str(run["workflow_id"]), data=cyd.folder).stdout
        assert "the secret is ***, of 21 bytes; the other is ''" in log
        assert "correct-horse" not in log
        assert done["jobs"][0]["outputs"] == {"when": "* * * * * from the source"}
        (row,) = cyd.ask("schedule", "list")
        assert row["last"]["workflow_id"] == run["workflow_id"]
        assert row["missed"] == []
        ada.kill()
        wait_until(lambda: len(runs_of(bob)) > 1, 85)
        runs = runs_of(bob)
        assert len({str(one["submitted_by"]) for one in runs} & {bob.info["peer_id"], cyd.info["peer_id"]}) >= 1
        assert [bob.wait_for(str(one["workflow_id"]))["status"] for one in runs] == ["completed"] * len(runs)
        assert (tmp_path / "ran").read_text().count("x") == len(runs)
