"""P11: from a submission at one node to the first step of its job running on another, two processes on loopback.

The job's label fits the second node only; its step says when it ran, on the same wall clock. `ours`: the median in
ms, with the 99th percentile; the reference is the time of a plain request to a node and then a bare bash.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from p2pwf.control.client import Client

COMMAND = (sys.executable, "-m", "p2pwf.cli.main")
RUNS = 60
READY_SECONDS = 60
WORKFLOW = """
labels: p2p-workflow
on: workflow_dispatch
jobs:
  far:
    runs-on: far
    outputs: {at: "${{ steps.now.outputs.at }}"}
    steps:
      - id: now
        run: echo "at=$(date +%s%N)" >> "$GITHUB_OUTPUT"
"""


def up(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a node and wait for its ready line."""
    line = [*COMMAND, "up", "--json", "--data-dir", str(folder), "--listen", "/ip4/127.0.0.1/tcp/0", *options]
    node = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    node.stdout.readline()
    return node


def once(client: Client, file: Path) -> float:
    """Milliseconds from the submission to the step."""
    began = time.time_ns()
    run = client.call("POST", "runs", body={"file": str(file), "no_source": True})["workflow_id"]
    while True:
        status = client.call("GET", "runs", run)
        if status["status"] in ("completed", "failed"):
            return (int(status["jobs"][0]["outputs"]["at"]) - began) / 1e6
        time.sleep(0.02)


def floor(client: Client) -> float:
    """Milliseconds of a plain request and a bare bash."""
    began = time.time_ns()
    client.call("GET", "info")
    said = subprocess.run(["/bin/bash", "-ec", "date +%s%N"], capture_output=True, text=True, check=True).stdout
    return (int(said) - began) / 1e6


def main() -> None:
    """Two nodes, RUNS submissions one after the other."""
    nodes: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        file = base / "far.yml"
        file.write_text(WORKFLOW)
        try:
            nodes.append(up(base / "near"))
            near = Client(base / "near")
            ticket = near.call("POST", "invites", body={})["ticket"]
            nodes.append(up(base / "far", "--label", "far", "--trust-members", "--join", ticket))
            time.sleep(8)  # past the first lease, after which a new node takes part
            times = sorted(once(near, file) for _ in range(RUNS))
            floors = sorted(floor(near) for _ in range(RUNS))
        finally:
            for node in nodes:
                node.terminate()
            for node in nodes:
                node.wait(15)
    ours, reference = times[RUNS // 2], floors[RUNS // 2]
    figures = {"ours": round(ours, 1), "reference": round(reference, 1), "ratio": round(ours / reference, 2)}
    p99 = round(times[int(RUNS * 0.99)], 1)
    print(json.dumps({"name": "P11 submit to first step elsewhere", **figures, "unit": "ms", "n": RUNS, "p99_ms": p99}))


if __name__ == "__main__":
    main()
