"""Stands in for the runner of a simulated node: jobs that take drawn times, log a few lines, and start no process.

As the real one it fetches the source of its run, writes to the log, ends when it is cancelled, and gives a result. What
it runs is noted as an `Execution`, for the oracle.
"""

from __future__ import annotations

from typing import Final

import trio

from p2pwf.clock.messages import Attempt
from p2pwf.core.ids import PeerId, parse_cid
from p2pwf.runner.log import LogLine
from p2pwf.runner.manifest import blobs_of, parse
from p2pwf.runner.values import JobRequest, JobResult, Outcome, RunnerEnv, StepResult
from p2pwf.testing.machines import Execution
from p2pwf.testing.stack.machine import HERE

CLEANS_UP: Final = (0.01, 0.5)
"""Seconds that a job takes to end once it is cancelled."""
FAILS: Final = "bad"
LISTS: Final = "find"


class Runner:
    """The runner of one machine. `executions` gets each job that begins; `seconds`: how long one takes."""

    def __init__(self, executions: list[Execution], seconds: tuple[float, float]) -> None:
        self.peer = PeerId("")
        self._executions = executions
        self._seconds = seconds

    async def run(self, request: JobRequest, env: RunnerEnv) -> JobResult:
        """Run a job, as `runner.job.run_job` does."""
        machine = HERE.get()
        if machine is None:
            raise RuntimeError("a job of no machine")
        attempt = Attempt(parse_cid(request.run), request.job_id, request.leg, request.attempt)
        execution = Execution(attempt, self.peer, trio.current_time())
        self._executions.append(execution)
        started = env.now_ms()
        outcome: Outcome = "failure" if request.job_id == FAILS else "success"
        try:
            env.log.write(LogLine(started, 1, "stdout", f"{request.leg_name} on {request.runner_name}"))
            env.log.flush()
            if request.source is not None:
                manifest = await env.fetch_blob(request.source)
                for cid in blobs_of(parse(manifest.read_bytes())):
                    await env.fetch_blob(cid)
            with trio.move_on_after(machine.random.uniform(*self._seconds)):
                if env.cancel is not None:
                    await env.cancel.wait()
                    outcome = "cancelled"
                await trio.sleep(machine.random.uniform(*CLEANS_UP))
        finally:
            execution.ended = trio.current_time()
        outputs = {"list": "[1, 2, 3]"} if request.job_id == LISTS else {"value": request.job_id}
        step = StepResult(
            number=1,
            id="",
            name="a",
            outcome=outcome,
            conclusion=outcome,
            started_ms=started,
            completed_ms=env.now_ms(),
        )
        return JobResult(outcome=outcome, conclusion=outcome, outputs=outputs, steps=(step,))
