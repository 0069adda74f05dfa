"""Secrets and variables on real nodes: set on one, used by jobs on another, and found nowhere else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kit import COMMAND, PATIENCE, Node, p2pwf, workflow

VALUE = "correct-horse/battery+staple"
PRINTS = """
labels: p2p-workflow
on: workflow_dispatch
jobs:
  print:
    runs-on: %s
    outputs: {length: "${{ steps.s.outputs.length }}"}
    steps:
      - id: s
        env: {TOKEN: "${{ secrets.deploy_token }}"}
        run: |
          echo "the token is $TOKEN in ${{ vars.region }}"
          echo "length=${#TOKEN}" >> "$GITHUB_OUTPUT"
"""


def set_secret(node: Node, name: str, value: str, *words: str) -> subprocess.CompletedProcess[str]:
    line = [*COMMAND, "--data-dir", str(node.folder), "secret", "set", name, *words]
    return subprocess.run(line, input=value, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """The founder, and a member that runs jobs labelled `two`."""
    base = tmp_path_factory.mktemp("net")
    with Node(base / "one", "--trust-members") as one, Node(base / "two", "--trust-members", "--label", "two") as two:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        yield one, two


def test_a_secret_set_on_one_node_is_masked_in_the_log_of_a_job_on_another(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    one, two = pair
    done = set_secret(one, "Deploy_Token", VALUE + "\n")
    assert (done.returncode, done.stdout) == (0, "DEPLOY_TOKEN is sealed to 2 peers\n"), done.stderr
    assert p2pwf("variable", "set", "region", "eu-west", data=one.folder).returncode == 0
    run = one.submit(workflow(tmp_path, PRINTS % "two"), "--no-source")
    ended = one.wait_for(run)
    assert ended["status"] == "completed", ended
    (job,) = ended["jobs"]
    assert job["owner"] == two.info["peer_id"]
    assert job["outputs"] == {"length": str(len(VALUE))}
    for node in pair:
        log = p2pwf("workflow", "logs", run, data=node.folder).stdout
        assert "the token is *** in eu-west" in log
        assert VALUE not in log
