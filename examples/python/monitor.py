"""Take the workflows that were given to this peer, run each with `p2pwf run`, and record what became of it.

    python monitor.py --once

Start as many of these as you like, also on one folder: of two that want one workflow one gets it, because the change
from assigned to in_progress succeeds once. Without --once it looks again every few seconds. Needs no node.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

from p2pwf import P2PWorkflowCoordinator, WorkflowStatus, WorkflowTask


def run(task: WorkflowTask) -> tuple[WorkflowStatus, dict[str, Any], str | None]:
    """Run a workflow on this machine; its status, its outputs by job, and what went wrong."""
    inputs = [word for name, value in task.inputs.items() for word in ("--input", f"{name}={value}")]
    line = [sys.executable, "-m", "p2pwf.cli.main", "run", task.workflow_file, "--json", *inputs]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    events = [json.loads(text) for text in done.stdout.splitlines()]
    ended = [event for event in events if event["type"] == "job_finished"]
    outputs = {event["name"]: event["outputs"] for event in ended}
    if done.returncode == 0:
        return WorkflowStatus.COMPLETED, outputs, None
    wrong = [
        f"{event['name']}: {event['error'] or event['conclusion']}"
        for event in ended
        if event["conclusion"] == "failure"
    ]
    return WorkflowStatus.FAILED, outputs, "; ".join(wrong) or done.stderr.strip() or f"exit code {done.returncode}"


def main() -> int:
    arguments = argparse.ArgumentParser(description="Run the workflows that were given to this peer.")
    arguments.add_argument("--once", action="store_true", help="end when there is nothing left to do")
    arguments.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="how often to look")
    arguments.add_argument("--data-dir")
    given = arguments.parse_args()

    with P2PWorkflowCoordinator(data_dir=given.data_dir) as coordinator:
        while True:
            coordinator.assign_workflows()
            waiting = [task for task in coordinator.get_my_workflows() if task.status is WorkflowStatus.ASSIGNED]
            for task in sorted(waiting, key=lambda task: task.priority):
                if not coordinator.update_workflow_status(task.workflow_id, WorkflowStatus.IN_PROGRESS):
                    continue  # another one was faster, or it was cancelled
                status, outputs, error = run(task)
                coordinator.update_workflow_status(task.workflow_id, status, result=outputs, error=error)
                print(f"{task.name}: {status}" + (f" ({error})" if error else ""), flush=True)
            if given.once and not waiting:
                return 0
            if not waiting:
                time.sleep(given.every)


if __name__ == "__main__":
    raise SystemExit(main())
