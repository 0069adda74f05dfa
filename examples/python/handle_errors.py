"""What can go wrong, and how a program tells: every error is a P2pwfError with a message and a hint.

    python handle_errors.py

Errors that are the caller's are ValueErrors or UsageErrors; "there is no such thing" is an answer: None or False.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import p2pwf
from p2pwf import FibonacciHeap, P2pwfError, P2PWorkflowCoordinator, WorkflowStatus
from p2pwf.errors import InvalidWorkflow, NoNode, Refused

GOOD = "name: hello (p2p-workflow)\non: push\njobs: {a: {runs-on: linux, steps: [{run: echo hi}]}}\n"


def main() -> int:
    with tempfile.TemporaryDirectory() as name, P2PWorkflowCoordinator("me", name) as coordinator:
        file = Path(name) / "work.yml"

        # A file that does not check: every finding has a line and a column.
        file.write_text(GOOD.replace("steps:", "stepz:"))
        try:
            coordinator.submit_workflow(file)
        except InvalidWorkflow as error:
            for found in error.diagnostics:
                print(f"invalid: line {found['line']}, column {found['column']}: {found['message']}")

        # A file that is not meant for peers: the hint says what to do about it.
        file.write_text(GOOD.replace(" (p2p-workflow)", ""))
        try:
            coordinator.submit_workflow(file)
        except Refused as error:
            print(f"refused: {error}; {error.hint}")

        # Anything else that is asked wrongly is a P2pwfError as well, and changes nothing.
        file.write_text(GOOD)
        for priority in (float("nan"), float("inf")):
            try:
                coordinator.submit_workflow(file, priority=priority)
            except P2pwfError as error:
                print(f"{error.code}: {error}; {error.hint}")

        # What is not there, and what cannot be, are answers.
        id = coordinator.submit_workflow(file)
        print("unknown:", coordinator.get_workflow_status("0" * 64))
        print("straight to the end:", coordinator.update_workflow_status(id, WorkflowStatus.COMPLETED))
        coordinator.assign_workflows()
        print("after it was assigned:", coordinator.update_workflow_status(id, WorkflowStatus.FAILED, error="no disk"))

        # A handle is good for one entry.
        heap: FibonacciHeap[str] = FibonacciHeap()
        handle = heap.insert(3.0, "once")
        heap.extract_min()
        try:
            heap.decrease_key(handle, 1.0)
        except ValueError as error:
            print(f"heap: {error}")

        # Without a node, `connect` says how to start one.
        try:
            p2pwf.connect(Path(name) / "nowhere")
        except NoNode as error:
            print(f"no node: {error.hint}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
