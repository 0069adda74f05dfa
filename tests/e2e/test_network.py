"""Three real nodes run real workflows: who runs what, what comes back, and what happens when machines die."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import cbor2
import pytest

from tests.e2e.kit import COMMAND, PATIENCE, Node, p2pwf, three_nodes, workflow

ROOT = Path(__file__).resolve().parents[2]

LONG = """
name: long
labels: p2p-workflow
on: workflow_dispatch
jobs:
  long:
    runs-on: ubuntu-latest
    outputs: {attempt: "${{ steps.a.outputs.attempt }}"}
    steps:
      - id: a
        run: |
          echo "attempt=$GITHUB_RUN_ATTEMPT" >> "$GITHUB_OUTPUT"
          echo started
          if [ "$GITHUB_RUN_ATTEMPT" = 1 ]; then sleep 600; fi
  after:
    needs: long
    runs-on: ubuntu-latest
    steps:
      - run: echo "after attempt ${{ needs.long.outputs.attempt }}"
"""

QUICK = """
labels: p2p-workflow
on: workflow_dispatch
jobs:
  a: {runs-on: ubuntu-latest, steps: [{run: sleep 0.2}]}
  b: {needs: a, runs-on: ubuntu-latest, strategy: {matrix: {n: [1, 2]}}, steps: [{run: "echo ${{ matrix.n }}"}]}
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    with three_nodes(tmp_path_factory.mktemp("net")) as running:
        yield running


def blocks_of(node: Node) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Every event of a node's clock by id: its block, and what an ordinary CBOR reader makes of it."""
    lines = p2pwf("clock", "log", "--raw", data=node.folder).stdout.splitlines()
    found = {}
    for line in lines:
        entry = json.loads(line)
        block = base64.b64decode(entry["block"])
        found[entry["cid"]] = (block, cbor2.loads(block))
    return found


def owners_by_hand(event: dict[str, Any], block: bytes, peers: dict[str, int]) -> dict[tuple[str, int], str]:
    """The owner of every leg of a submission, with hashlib and popcount and nothing of the package."""
    run = b"\x01\x71\x12\x20" + sha256(block).digest()
    head = sha256(b"".join(sorted(link.value[1:] for link in event["parents"]))).digest()
    depth: dict[str, int] = {}
    jobs = event["body"]["plan"]["jobs"]
    while len(depth) < len(jobs):
        for job in jobs:
            if all(need in depth for need in job["needs"]):
                depth[job["id"]] = 1 + max((depth[need] for need in job["needs"]), default=-1)
    owners = {}
    for level in sorted(set(depth.values())):
        load = dict.fromkeys(peers, 0)
        for job in jobs:
            for leg in range(len(job["legs"]) if depth[job["id"]] == level else 0):
                task = sha256(cbor2.dumps([cbor2.CBORTag(42, b"\0" + run), job["id"], leg])).digest()
                point = sha256(head + task).digest()

                def rank(peer: str, point: bytes = point, load: dict[str, int] = load) -> tuple[int, int, int, bytes]:
                    bits = int.from_bytes(point) ^ int.from_bytes(sha256(peer.encode()).digest())
                    tie = sha256(point + peer.encode()).digest()
                    return load[peer] // peers[peer], load[peer], bits.bit_count(), tie

                best = min(peers, key=rank)
                load[best] += 1
                owners[job["id"], leg] = best
    return owners


def test_every_job_runs_where_minimum_hamming_distance_says(nodes: list[Node]) -> None:
    peers = {peer["peer_id"]: peer["slots"] for peer in nodes[0].ask("peer", "list")}
    assert len(peers) == 3
    files = [*(ROOT / "examples").rglob("demo.yml")]
    assert files
    for number, file in enumerate(files * 3):
        run = nodes[number % 3].submit(file)
        done = nodes[(number + 1) % 3].wait_for(run)
        assert done["conclusion"] == "success", done
        block, event = blocks_of(nodes[(number + 2) % 3])[run]
        expected = owners_by_hand(event, block, peers)
        legs: dict[str, int] = {}
        for job in done["jobs"]:
            leg = legs.setdefault(job["job"], 0)
            legs[job["job"]] += 1
            assert job["owner"] == expected[job["job"], leg]
        for node in nodes:
            said = node.ask("explain", run, "plan")
            assert said["owner"] == expected["plan", 0]


def test_logs_and_results_are_the_same_at_every_peer(nodes: list[Node], tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("from the source\n")
    file = workflow(
        tmp_path,
        "labels: p2p-workflow\non: workflow_dispatch\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - uses: actions/checkout@v4\n      - run: cat data.txt\n",
    )
    run = nodes[1].submit(file)
    assert nodes[0].wait_for(run)["conclusion"] == "success"
    logs = [p2pwf("workflow", "logs", run, data=node.folder).stdout for node in nodes]
    assert "from the source" in logs[0]
    assert logs[0] == logs[1] == logs[2]
    assert nodes[0].status(run) == nodes[1].status(run) == nodes[2].status(run)


def test_wait_and_watch_exit_with_the_conclusion(nodes: list[Node], tmp_path: Path) -> None:
    job = "labels: p2p-workflow\non: workflow_dispatch\njobs: {{a: {{runs-on: linux, steps: [{{run: exit {0}}}]}}}}\n"
    for code in (0, 1):
        file = workflow(tmp_path / str(code), job.format(code))
        done = p2pwf("workflow", "submit", str(file), "--wait", "--no-source", data=nodes[0].folder)
        assert done.returncode == code, done.stderr
        run = nodes[0].ask("workflow", "list")[0]["workflow_id"]
        assert p2pwf("workflow", "watch", run, data=nodes[2].folder).returncode == code


def test_a_cancelled_run_ends_everywhere_and_its_processes_with_it(nodes: list[Node], tmp_path: Path) -> None:
    marker = f"{time.time_ns() % 100_000}.25"
    step = f"steps: [{{run: sleep 7{marker}}}]"
    text = f"labels: p2p-workflow\non: workflow_dispatch\njobs: {{a: {{runs-on: linux, {step}}}}}\n"
    run = nodes[2].submit(workflow(tmp_path, text), "--no-source")
    nodes[0].wait_for(run, lambda view: view["status"] == "in_progress")
    nodes[2].ask("workflow", "cancel", run)
    assert nodes[0].wait_for(run)["status"] == "cancelled"
    assert not [line for line in _command_lines() if f"7{marker}" in line]


def test_the_log_of_one_job_is_that_of_all_its_legs_and_ends_with_them(nodes: list[Node], tmp_path: Path) -> None:
    text = (
        "labels: p2p-workflow\non: workflow_dispatch\njobs:\n"
        "  a: {runs-on: linux, strategy: {matrix: {n: [1, 2]}}, steps: [{run: 'echo part ${{ matrix.n }} done'}]}\n"
        "  b: {needs: a, runs-on: linux, steps: [{run: sleep 600}]}\n"
    )
    run = nodes[0].submit(workflow(tmp_path, text), "--no-source")
    lines = nodes[1].lines("workflow", "logs", run, "-f", "--job", "a")
    assert {line["name"] for line in lines if line["text"].endswith(" done")} >= {"a (1)", "a (2)"}
    assert nodes[0].status(run)["status"] == "in_progress"
    nodes[0].ask("workflow", "cancel", run)


def _command_lines() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return lines


ARTIFACTS = """
labels: p2p-workflow
on: workflow_dispatch
jobs:
  make:
    runs-on: ubuntu-latest
    strategy: {matrix: {n: [1, 2, 3]}}
    steps:
      - run: mkdir out; echo "part ${{ matrix.n }}" > out/part; chmod +x out/part
      - uses: actions/upload-artifact@v4
        with: {name: "part-${{ matrix.n }}", path: out}
  join:
    needs: make
    runs-on: ubuntu-latest
    outputs: {text: "${{ steps.all.outputs.text }}"}
    steps:
      - uses: actions/download-artifact@v4
        with: {pattern: "part-*", path: parts}
      - id: all
        run: |
          test -x parts/part-2/part
          echo "text=$(cat parts/*/part | paste -sd ,)" >> "$GITHUB_OUTPUT"
"""


def test_artifacts_of_one_peer_reach_the_jobs_of_another(nodes: list[Node], tmp_path: Path) -> None:
    run = nodes[0].submit(workflow(tmp_path, ARTIFACTS))
    assert p2pwf("workflow", "watch", run, data=nodes[1].folder).returncode == 0
    (join,) = [job for job in nodes[2].status(run)["jobs"] if job["job"] == "join"]
    assert join["outputs"] == {"text": "part 1,part 2,part 3"}


def agreed(nodes: list[Node], run: str) -> dict[str, Any]:
    """What all nodes say of a run once they say the same. On a machine so busy that two of them took over at once, each
    has a final outcome of its own until it has heard of the other's."""
    until = time.monotonic() + PATIENCE
    while True:
        first, *rest = [node.status(run) for node in nodes]
        if all(one == first for one in rest):
            return first
        assert time.monotonic() < until, (first, *rest)


@contextmanager
def following(node: Node, run: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The lines of `logs -f --json`, as they come."""
    line = [*COMMAND, "workflow", "logs", run, "-f", "--json", "--data-dir", str(node.folder)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        assert process.stdout is not None
        yield map(json.loads, process.stdout)
        process.kill()
        timer.cancel()


def test_two_that_joined_by_a_peer_that_died_at_once_find_each_other(tmp_path: Path) -> None:
    with three_nodes(tmp_path) as nodes:
        nodes[0].kill()
        run = nodes[1].submit(workflow(tmp_path / "w", QUICK), "--no-source")
        assert nodes[2].wait_for(run)["conclusion"] == "success"


def test_the_job_of_a_killed_owner_finishes_elsewhere_with_one_outcome(tmp_path: Path) -> None:
    with three_nodes(tmp_path) as nodes:
        run = nodes[0].submit(workflow(tmp_path / "w", LONG), "--no-source")
        view = nodes[0].wait_for(run, lambda view: view["jobs"][0]["status"] == "in_progress")
        owner = next(node for node in nodes if node.info["peer_id"] == view["jobs"][0]["owner"])
        others = [node for node in nodes if node is not owner]
        with following(others[0], run) as lines:
            assert any(line["text"] == "started" for line in lines)
            owner.kill()
            for node in others:
                node.wait_for(run)
            rest = [line for line in lines if line["job"] == "long"]
        done = agreed(others, run)
        assert [line["text"] for line in rest if line["attempt"] == 2].count("started") == 1
        whole = others[0].lines("workflow", "logs", run, "--job", "long")
        assert [line for line in rest if line["attempt"] == 2] == whole
        (gone,) = [peer for peer in others[0].ask("peer", "list") if peer["peer_id"] == owner.info["peer_id"]]
        assert (gone["connected"], gone["load"]) == (False, None)
        assert gone["last_seen"] > 0
        assert done["conclusion"] == "success"
        assert done["jobs"][0]["owner"] != owner.info["peer_id"]
        assert done["jobs"][0]["attempt"] == 2
        owner.start().ready()
        owner.wait_for(run)
        assert agreed(nodes, run)["jobs"] == done["jobs"]
        log = p2pwf("workflow", "logs", run, data=owner.folder).stdout
        assert "after attempt 2" in log


def test_nothing_acknowledged_is_lost_when_all_are_killed_under_load(tmp_path: Path) -> None:
    with three_nodes(tmp_path) as nodes:
        file = workflow(tmp_path / "w", QUICK)
        runs = [nodes[number % 3].submit(file, "--no-source", "--name", f"r{number}") for number in range(12)]
        for node in nodes:
            node.kill()
        for node in nodes:
            node.start()
        for node in nodes:
            node.ready()
        for run in runs:
            assert nodes[0].wait_for(run)["conclusion"] == "success"
        listed = [{run["workflow_id"]: run["status"] for run in node.ask("workflow", "list")} for node in nodes]
        assert set(listed[0]) == set(runs)
        assert all(node.ask("clock", "verify")["ok"] for node in nodes)


def test_a_stopped_node_is_gone_in_seconds_and_its_job_goes_on_elsewhere(tmp_path: Path) -> None:
    with three_nodes(tmp_path) as nodes:
        run = nodes[0].submit(workflow(tmp_path / "w", LONG), "--no-source")
        view = nodes[0].wait_for(run, lambda view: view["jobs"][0]["status"] == "in_progress")
        owner = next(node for node in nodes if node.info["peer_id"] == view["jobs"][0]["owner"])
        other = next(node for node in nodes if node is not owner)
        began = time.monotonic()
        assert owner.stop() == 0
        assert time.monotonic() - began < 10
        assert other.wait_for(run)["conclusion"] == "success"
