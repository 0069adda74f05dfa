"""Secrets and variables on real nodes: set on one, used by jobs on another, and found nowhere else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from p2pwf.control.client import Client
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
    early = p2pwf("workflow", "submit", str(workflow(tmp_path, PRINTS % "nowhere")), "--no-source", data=one.folder)
    assert "the secret DEPLOY_TOKEN, which the job 'print' names, is not set: it will be empty" in early.stderr
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


LEAKY = """
labels: p2p-workflow
on: workflow_dispatch
jobs:
  use:
    runs-on: two
    environment: Production
    steps:
      - name: with ${{ secrets.DEPLOY_TOKEN }}
        env: {TOKEN: "${{ secrets.DEPLOY_TOKEN }}", WHERE: "${{ vars.REGION }}", SHORT: "${{ secrets.NOT_SET }}"}
        run: |
          echo "$TOKEN"; printf %s "$TOKEN" | base64; printf %s "$TOKEN" | od -An -tx1 | tr -d ' \\n'; echo
          echo "::error title=$TOKEN::$TOKEN"
          touch "$MARK.begun"; while [ ! -e "$MARK.go" ]; do sleep 0.05; done
          echo "$TOKEN in $WHERE [$SHORT]" >> "$GITHUB_STEP_SUMMARY"; echo "left=$TOKEN" >> "$GITHUB_OUTPUT"
      - uses: actions/upload-artifact@v4
        with: {path: nothing, name: "for-${{ secrets.DEPLOY_TOKEN }}", if-no-files-found: ignore}
      - run: ${{ fromJSON(secrets.DEPLOY_TOKEN) }}
    env: {MARK: "MARKED"}
"""


def forms(value: str) -> list[bytes]:
    """A value as it might lie about: as it is, and encoded, also within something longer."""
    data = value.encode()
    inner = [b64encode(b"\0" * offset + data)[4:-4] for offset in range(3)]
    quoted = [quote(value, safe="").encode(), json.dumps(value)[1:-1].encode(), value[::-1].encode()]
    return [data, data.hex().encode(), data.hex().upper().encode(), *inner, *quoted]


def found_in(text: bytes, value: str) -> bool:
    return any(form in text for form in forms(value))


def files_with(folder: Path, value: str, *, but: str = "") -> list[str]:
    """The files below a folder that hold a value, those of running jobs left out if `but` names their folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and not (but and but in path.parts)]
    return [str(path) for path in files if found_in(path.read_bytes(), value)]


def test_t47_the_search_finds_what_lies_about(tmp_path: Path) -> None:
    for number, form in enumerate([*forms(VALUE), b64encode(b"user:" + VALUE.encode() + b"!")]):
        (tmp_path / f"{number}.db-wal").write_bytes(b"\0page" + form + b"more")
    assert len(files_with(tmp_path, VALUE)) == len(forms(VALUE)) + 1
    line = [sys.executable, "-c", "print(flush=True); input()", VALUE]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shows:
        assert shows.stdout is not None
        shows.stdout.readline()  # a program that has just been executed may show no arguments yet
        assert found_in(command_lines(), VALUE), "where a value stands on a command line, others read it"
        shows.communicate(b"\n")


def command_lines() -> bytes:
    """The arguments of all processes that there are."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes())
    return b"\n".join(lines)


def in_production(pair: tuple[Node, Node], tmp_path: Path, value: str) -> tuple[dict[str, Any], list[str], bytes]:
    """Use a secret in all ways: the run, where its value lay while the job had it, and the command lines then."""
    one, _ = pair
    assert set_secret(one, "DEPLOY_TOKEN", value, "--env", "production").returncode == 0
    assert p2pwf("var", "set", "REGION", "in production", "-e", "PRODUCTION", data=one.folder).returncode == 0
    mark = tmp_path / "mark"
    run = one.submit(workflow(tmp_path, LEAKY.replace("MARKED", str(mark))), "--no-source")
    until = time.monotonic() + PATIENCE
    while not mark.with_suffix(".begun").exists():
        assert time.monotonic() < until, one.status(run)
        time.sleep(0.05)
    during = [path for node in pair for path in files_with(node.folder, value)]
    lines = command_lines()
    mark.with_suffix(".go").touch()
    return one.wait_for(run), during, lines


def test_t47_a_secret_that_a_job_uses_lies_nowhere_and_is_told_by_nobody(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    ended, during, lines = in_production(pair, tmp_path, VALUE)
    assert not during
    assert not found_in(lines, VALUE)
    assert ended["status"] == "failed", ended
    one, two = pair
    run = ended["workflow_id"]
    told: list[Any] = [Client(two.folder).call("GET", "runs", run, "report"), one.ask("secret", "list"), ended]
    asked = (("clock", "log", "--json"), ("workflow", "logs", run), ("workflow", "status", run), ("stats",))
    told += [p2pwf(*words, data=one.folder).stdout for words in asked]
    for text in (*told, *(node.errors() for node in pair)):
        assert not found_in(json.dumps(text).encode(), VALUE)
    assert "*** in in production []" in json.dumps(told[0])
    for node in pair:
        assert files_with(node.folder, VALUE) == []
        limits = Path(f"/proc/{node.process.pid}/limits").read_text() if node.process else ""
        assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE)


def test_a_member_that_joins_later_is_sealed_to_and_one_that_leaves_makes_secrets_be_rotated(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    one, _ = pair
    assert set_secret(one, "deploy_token", VALUE).returncode == 0
    with Node(tmp_path / "three", "--trust-members", "--label", "three") as three:
        three.start("--join", one.ticket()).ready()
        run = three.submit(workflow(tmp_path / "w", PRINTS % "three"), "--no-source")
        ended = three.wait_for(run)
        assert (ended["status"], ended["jobs"][0]["owner"]) == ("completed", three.info["peer_id"])
        assert "the token is *** in" in p2pwf("workflow", "logs", run, data=three.folder).stdout
        assert p2pwf("secret", "set", "MINE", data=three.folder).returncode == 2, "nothing on stdin"
        refused = set_secret(three, "MINE", "x")
        assert (refused.returncode, "only an admin may set a secret" in refused.stderr) == (5, True)
        assert p2pwf("leave", "--yes", data=three.folder).returncode == 0
    rows = one.ask("secret", "list")
    assert all(row["rotate"] == [three.info["peer_id"]] for row in rows if row["environment"] is None), rows
    shown = p2pwf("secret", "list", data=one.folder).stdout
    assert "DEPLOY_TOKEN" in shown
    assert "rotate" in shown
    assert "open to a member that left" in p2pwf("doctor", data=one.folder).stdout
    assert p2pwf("secret", "remove", "Deploy_Token", data=one.folder).returncode == 0
    assert p2pwf("secret", "remove", "DEPLOY_TOKEN", data=one.folder).returncode == 4
