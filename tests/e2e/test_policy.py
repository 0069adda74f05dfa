"""A machine's own policy on real nodes: it has the last word, and the job moves on."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.kit import Node, p2pwf, workflow

LEGS = 4
"""Of which two members with two slots each are given two each, whatever their ids come to."""
FILE = f"""\
name: NAME
labels: p2p-workflow
on: workflow_dispatch
jobs:
  wide:
    strategy: {{matrix: {{n: {list(range(LEGS))}}}}}
    runs-on: ubuntu-latest
    steps: [{{run: 'true'}}]
"""
POLICY = """\
[[policy.rule]]
from = ["members"]
workflows = ["nightly"]
isolation = "none"
"""


def test_t11_the_policy_of_a_machine_beats_what_the_network_has_assigned(tmp_path: Path) -> None:
    nightly = workflow(tmp_path / "here", FILE.replace("NAME", "nightly"), "nightly.yml")
    other = workflow(tmp_path / "here", FILE.replace("NAME", "other"), "other.yml")
    (tmp_path / "two").mkdir(mode=0o700)
    (tmp_path / "two" / "config.toml").write_text(POLICY)
    with Node(tmp_path / "one", "--slots", "2") as one, Node(tmp_path / "two", "--slots", "2") as two:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        me, them = one.info["peer_id"], two.info["peer_id"]
        assert {job["owner"] for job in one.wait_for(one.submit(nightly, "--no-source"))["jobs"]} == {me, them}
        (two.folder / "config.toml").write_text(POLICY.replace("members", "nobody"))
        spoiled = p2pwf("policy", "reload", data=two.folder)
        assert (spoiled.returncode, "the policy of before still holds" in spoiled.stderr) == (2, True)
        assert {job["owner"] for job in one.wait_for(one.submit(nightly, "--no-source"))["jobs"]} == {me, them}
        (two.folder / "config.toml").write_text(POLICY.replace("nightly", "weekly"))
        assert [rule["workflows"] for rule in two.ask("policy", "reload")["rules"]] == [["weekly"]]
        assert {job["owner"] for job in one.wait_for(one.submit(nightly, "--no-source"))["jobs"]} == {me}
        run = one.submit(other, "--no-source")
        done = one.wait_for(run)
        assert done["status"] == "completed"
        assert {job["owner"] for job in done["jobs"]} == {me}
        lines = p2pwf("clock", "log", "--json", data=one.folder).stdout.splitlines()
        events = [event for event in map(json.loads, lines) if event["type"] == "job.refuse"]
        assert {event["author"] for event in events} == {them}
        moved = [job for job in done["jobs"] if job["attempt"] == 2]
        told = one.ask("explain", run, f"wide#{moved[0]['index']}")
        assert [one["passed_over"] for one in told["candidates"] if one["peer_id"] == them] == ["policy"]
        asked = p2pwf("policy", "check", str(other), "--submitter", one.folder.name, "--json", data=two.folder)
        assert (asked.returncode, '"allowed": false' in asked.stdout) == (5, True)
