"""Run the jobs of a node that leaves them to clients, with a command of your own.

    p2pwf up --executor external
    python run_for_node.py --once -- ./work.sh

The command gets the workflow as JSON on its stdin. An object on the last line of its stdout becomes the outputs; an
exit code that is not 0 makes the jobs fail. Start as many of these as you like: only one of them takes a job on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from typing import Any

import p2pwf
from p2pwf import WorkflowStatus, WorkflowTask
from p2pwf.errors import Refused, TryAgain

OPEN = (WorkflowStatus.ASSIGNED, WorkflowStatus.IN_PROGRESS)


def work(command: list[str], task: WorkflowTask) -> tuple[WorkflowStatus, dict[str, Any] | None, str | None]:
    """What the command makes of a workflow: a status, outputs, and what went wrong."""
    done = subprocess.run(command, input=json.dumps(task.summary()), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return WorkflowStatus.FAILED, None, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    try:
        outputs = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        outputs = None
    return WorkflowStatus.COMPLETED, outputs if isinstance(outputs, dict) else None, None


def main() -> int:
    arguments = argparse.ArgumentParser(description="Run the jobs of a node that was started with --executor external.")
    arguments.add_argument("--once", action="store_true", help="end when there is nothing left to take on")
    arguments.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="how often to look")
    arguments.add_argument("--data-dir")
    arguments.add_argument("command", nargs="+")
    given = arguments.parse_args()

    client = p2pwf.connect(given.data_dir)
    while True:
        took = 0
        for task in sorted(client.get_my_workflows(), key=lambda task: task.priority):
            if task.status not in OPEN:
                continue
            try:
                client.update_workflow_status(task.workflow_id, WorkflowStatus.IN_PROGRESS)
            except (Refused, TryAgain):
                continue  # nothing of it waits here, another client was faster, or every slot is taken
            took += 1
            status, outputs, error = work(given.command, task)
            try:
                client.update_workflow_status(task.workflow_id, status, result=outputs, error=error)
            except Refused as gone:
                print(f"{task.name}: {gone.message}", flush=True)  # it was cancelled meanwhile
                continue
            print(f"{task.name}: {status}" + (f" ({error})" if error else ""), flush=True)
        if given.once and not took:
            return 0
        if not took:
            time.sleep(given.every)


if __name__ == "__main__":
    raise SystemExit(main())
