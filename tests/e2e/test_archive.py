"""A clock carried in a file from one process to another that it never speaks with."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.kit import Node, p2pwf, workflow

ONE = "labels: p2p-workflow\non: workflow_dispatch\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo it ran}]}}\n"


def test_a_run_that_a_member_made_alone_reaches_another_in_a_file(tmp_path: Path) -> None:
    file, archive = workflow(tmp_path / "w", ONE), tmp_path / "clock.car"
    with Node(tmp_path / "one", "--slots", "0") as one, Node(tmp_path / "two", "--trust-members") as two:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        one.kill()
        run = two.submit(file, "--no-source")
        assert two.wait_for(run)["status"] == "completed"
        told = two.ask("clock", "export", str(archive), "--blobs", run)  # of a node that runs
        assert (told["blobs"], told["left_out"]) == (2, 0)
        two.kill()
        one.start().ready()
        assert p2pwf("workflow", "status", run, data=one.folder).returncode == 4
        taken = one.ask("clock", "import", str(archive))  # into one that runs
        assert taken["new"] > 0
        assert one.status(run)["status"] == "completed"
        assert "it ran" in p2pwf("workflow", "logs", run, data=one.folder).stdout
        assert one.ask("clock", "import", str(archive))["new"] == 0
        archive.write_bytes(archive.read_bytes()[:-1])
        cut = p2pwf("clock", "import", str(archive), data=one.folder)
        assert (cut.returncode, "it is cut off" in cut.stderr, "hint: nothing of it" in cut.stderr) == (5, True, True)
        assert one.ask("clock", "verify")["ok"]
