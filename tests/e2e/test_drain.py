"""A machine is taken out of work, for a while and for good."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.kit import p2pwf, three_nodes

WORKFLOW = """\
name: Many p2p-workflow
on: workflow_dispatch
jobs:
  many:
    strategy: {matrix: {n: [1, 2, 3, 4, 5, 6]}}
    runs-on: ubuntu-latest
    steps: [{run: "true"}]
"""


def test_a_paused_node_is_passed_over_and_goes_on_when_it_is_told_to(tmp_path: Path) -> None:
    file = tmp_path / "many.yml"
    file.write_text(WORKFLOW)
    with three_nodes(tmp_path) as (ada, bob, cyd):
        assert bob.ask("node", "drain") == {"paused": True, "running_jobs": 0}
        assert bob.ask("status")["paused"] is True
        done = ada.wait_for(ada.submit(file, "--no-source"))
        assert done["status"] == "completed"
        assert bob.info["peer_id"] not in {job["owner"] for job in done["jobs"]}
        pinned = ada.submit(file, "--no-source", "--peer", bob.folder.name)
        again = ada.wait_for(ada.submit(file, "--no-source"))
        assert again["status"] == "completed"
        assert {job["conclusion"] for job in ada.status(pinned)["jobs"]} == {None}
        bob.stop()
        bob.start().ready()
        assert bob.ask("status")["paused"] is True
        bob.ask("node", "resume")
        assert ada.wait_for(pinned)["status"] == "completed"

        refused = p2pwf("leave", "--yes", data=ada.folder)
        assert (refused.returncode, "the last admin" in refused.stderr) == (5, True)
        asked = p2pwf("leave", data=cyd.folder)
        assert (asked.returncode, "--yes" in asked.stderr) == (2, True)
        cyd.ask("leave", "--yes")
        assert cyd.ended() == 0
        assert {one["name"] for one in ada.ask("peer", "list")} == {ada.folder.name, bob.folder.name}
        last = ada.wait_for(ada.submit(file, "--no-source"))
        assert last["status"] == "completed"
