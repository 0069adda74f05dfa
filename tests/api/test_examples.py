"""The example scripts do what they say, run as a user runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from p2pwf import P2PWorkflowCoordinator
from tests.api.kit import ROOT
from tests.e2e.kit import PATIENCE, Node

SCRIPTS = ROOT / "examples/python"
SAYS = """\
name: {name}
labels: [p2p-workflow]
on: {{workflow_dispatch: {{inputs: {{who: {{default: you}}}}}}}}
jobs:
  say:
    runs-on: ubuntu-latest
    outputs: {{said: "${{{{ steps.a.outputs.said }}}}"}}
    steps: [{{id: a, run: 'echo "said={name} to ${{{{ inputs.who }}}}" >> "$GITHUB_OUTPUT"; exit {code}'}}]
"""


def script(name: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an example to its end, as the peer `me` of a data folder."""
    line = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    env = {**os.environ, "P2P_PEER_ID": "me", "P2P_DATA_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)


def files(folder: Path) -> list[Path]:
    """Two workflows that end well, one that fails, one that is not for peers, one that is broken."""
    made = []
    for name, code in (("hello", 0), ("bye", 0), ("oops", 3)):
        made.append(folder / f"{name}.yml")
        made[-1].write_text(SAYS.format(name=name, code=code))
    made.append(folder / "plain.yml")
    made[-1].write_text(SAYS.format(name="plain", code=0).replace("[p2p-workflow]", "[]"))
    made.append(folder / "broken.yml")
    made[-1].write_text("on: [\n")
    return made


def test_many_are_submitted_and_a_monitor_runs_them(tmp_path: Path) -> None:
    done = script("submit_many.py", *files(tmp_path), folder=tmp_path / "state")
    assert done.returncode == 1, done.stderr
    assert "passed over" in done.stdout
    assert "refused" in done.stdout
    assert done.stdout.endswith("3 assigned\n")
    watched = [script("monitor.py", "--once", folder=tmp_path / "state")]
    assert [one.returncode for one in watched] == [0], watched[0].stderr
    assert sorted(line.split(":")[0] for line in watched[0].stdout.splitlines()) == ["bye", "hello", "oops"]
    with P2PWorkflowCoordinator("me", tmp_path / "state") as found:
        rows = {row["name"]: row for row in found.list_workflows()}
    assert rows["hello"]["result"] == {"say": {"said": "hello to you"}}
    assert (rows["bye"]["status"], rows["oops"]["status"]) == ("completed", "failed")
    assert rows["oops"]["error"].startswith("say: ")


def test_many_go_to_other_peers_too(tmp_path: Path) -> None:
    peers = [word for index in range(5) for word in ("--peer", f"p{index}")]
    done = script("submit_many.py", *(files(tmp_path)[:3] * 4), *peers, folder=tmp_path / "state")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "12 assigned")
    assert len({line.split(" → ")[1].split()[0] for line in done.stdout.splitlines()[:-1]}) > 2


def test_errors_are_told(tmp_path: Path) -> None:
    done = script("handle_errors.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(dict.fromkeys(line.split(":")[0] for line in done.stdout.splitlines())) == [
        "invalid", "refused", "usage", "unknown", "straight to the end", "after it was assigned", "heap",
        "no node",
    ]  # fmt: skip


def test_files_run_side_by_side_on_a_node(tmp_path: Path) -> None:
    nowhere = script("on_the_network.py", *files(tmp_path)[:3], folder=tmp_path / "nowhere")
    assert nowhere.returncode == 1
    assert "p2pwf up" in nowhere.stderr
    with Node(tmp_path / "one", "--trust-members") as one:
        one.start().ready()
        done = script("on_the_network.py", *files(tmp_path)[:3], folder=one.folder)
    told = {line["file"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert (done.returncode, len(told)) == (1, 3), done.stderr
    assert told["hello.yml"]["result"]["say"]["outputs"] == {"said": "hello to you"}
    assert told["oops.yml"]["status"] == "failed"


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    page = (SCRIPTS / "README.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks
    for code in blocks:
        own = code.replace("/tmp/p2pwf-example", str(tmp_path / "state"))  # noqa: S108 - the page's own folder
        done = subprocess.run([sys.executable, "-c", own], cwd=SCRIPTS, env={**os.environ, "PYTHONPATH": str(ROOT)},
                              capture_output=True, text=True, timeout=PATIENCE, check=False)  # fmt: skip
        assert (done.returncode, done.stdout.strip() in ("attic", "desk")) == (0, True), done.stderr
