"""Ctrl-C: the first cancels as GitHub does, the second ends everything; nothing is left of either."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.oneshot.kit import Here


def told_until(process: subprocess.Popen[str], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is told first that is wanted."""
    return next(one for one in objects(process) if wanted(one))


def objects(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def printed(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda one: one["type"] == "log" and one["line"] == text


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_first_cancels_the_run_and_steps_that_always_run_still_do(here: Here) -> None:
    here.write(
        """
        on: push
        jobs:
          j:
            runs-on: x
            steps:
              - run: echo ready; sleep 3141
              - run: echo never
              - if: always()
                run: echo cleaned up
          after: {needs: j, runs-on: x, steps: [{run: echo never}]}
          last: {needs: j, if: always(), runs-on: x, steps: [{run: echo last}]}
        """
    )
    with here.start() as process:
        told_until(process, printed("ready"))
        process.send_signal(signal.SIGINT)
        rest = list(objects(process))
    assert process.wait() == 130
    assert next(one["line"] for one in rest if one["type"] == "log" and one["stream"] == "stdout") == "cleaned up"
    end = rest[-1]
    assert (end["type"], end["conclusion"]) == ("run_finished", "cancelled")
    assert (end["jobs"]["j"], end["jobs"]["after"]) == ("cancelled", "cancelled")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_ends_everything_at_once(here: Here, number: signal.Signals) -> None:
    here.steps(
        """
        - run: echo ready; sleep 3141
        - if: always()
          run: trap '' INT; echo $$; sleep 3141 & echo $!; wait; sleep 3141
        """
    )
    with here.start() as process:
        told_until(process, printed("ready"))
        process.send_signal(number)
        told_until(process, lambda one: one["type"] == "step_started" and one["step"] == 2)
        pids = []
        for one in objects(process):
            if one["type"] == "log" and one["stream"] == "stdout":
                pids.append(int(one["line"]))
            if len(pids) == 2:
                break
        process.send_signal(number)
        last = list(objects(process))[-1]
    assert process.wait() == 128 + number
    assert (last["type"], last["conclusion"], last["jobs"]) == ("run_finished", "cancelled", {"j": "cancelled"})
    assert all(gone(pid) for pid in pids)


def test_a_reader_that_leaves_ends_the_run(here: Here) -> None:
    here.steps("- run: echo $$; sleep 3141")
    with here.start() as process:
        pid = int(told_until(process, lambda one: one["type"] == "log" and one["stream"] == "stdout")["line"])
        assert process.stdout is not None
        process.stdout.close()
        process.send_signal(signal.SIGINT)  # what it has to tell of that, nobody reads
        assert process.wait() == 141
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert gone(pid)


def test_a_run_that_is_killed_takes_its_processes_along(here: Here) -> None:
    here.steps("- run: echo $$; sleep 3141")
    with here.start() as process:
        pid = int(told_until(process, lambda one: one["type"] == "log" and one["stream"] == "stdout")["line"])
        # The one who reads the pipe to its end outlives the process that is killed: so its end says that all are gone.
        handle = os.pidfd_open(pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        import select

        assert select.select([handle], [], [], 30)[0] == [handle]
        os.close(handle)
    for left in here.temporary.iterdir():  # a kill -9 leaves files behind: nobody was there to remove them
        subprocess.run(["rm", "-rf", left], check=True)
