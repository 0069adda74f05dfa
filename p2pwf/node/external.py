"""Jobs of this node that a client runs: it takes them on, and says what became of them. Needs `--executor external`.

The network sees no difference: the attempt is this node's, which beats for it while the client is at work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from p2pwf.clock.messages import Attempt
from p2pwf.core.bodies import MAX_OUTPUTS, outputs_size
from p2pwf.engine import inputs as to_engine
from p2pwf.errors import Refused, TryAgain, UsageError
from p2pwf.node.node import Node
from p2pwf.runner.values import JobResult, Outcome
from p2pwf.runs import Run
from p2pwf.runs.run import Key
from p2pwf.runs.view import find_leg, keys_of

BEGIN: Final = "in_progress"
ENDS: Final[Mapping[str, Outcome]] = {"completed": "success", "failed": "failure"}
STATUSES: Final = (BEGIN, *ENDS)
"""What a client may say of jobs that it runs."""
FAILED: Final = "the client that ran it says that it failed"


async def record(node: Node, run: Run, wanted: str, job: str | None, result: object, error: str | None) -> None:
    """Have jobs of a run begin, or end, as a client says: those that wait or run here, or only `job`.

    `result`: an object whose entries become the outputs. Returns once all of it is recorded. Raises Refused where
    nothing of the run is here to be run, TryAgain where no slot is free, UsageError for a result that is none.
    """
    if not node.engine.desk.config.external:
        raise Refused(
            f"the status {wanted!r} of a run on a network follows from its jobs, and this node runs its own",
            "only `cancelled` can be asked for; `p2pwf up --executor external` leaves jobs to clients",
        )
    outputs = _outputs(result)
    if wanted == BEGIN and (outputs or error is not None):
        raise UsageError("a result or an error before the end", "say completed, or failed")
    leg = None if job is None else find_leg(run, job)
    answer = await node.loop.ask(partial(to_engine.Begin, run=run.id, leg=leg))
    held = [one for one in node.jobs.running if one.run == run.id and leg in (None, (one.job, one.leg))]
    if not held and answer["waiting"]:
        raise TryAgain("all slots of this node are taken", "end another job first, or give it more --slots")
    if not held and (reason := _refusal(node, run, [leg] if leg else keys_of(run))) is not None:
        raise Refused(
            f"this node has refused jobs of this run: {reason}", "`p2pwf up --trust-members` takes those of all members"
        )
    if not held:
        raise Refused(
            "no job of this run waits here for a client",
            "see who has its jobs, and what they wait for: workflow status",
        )
    if wanted == BEGIN:
        if not answer["begun"]:
            raise Refused("its jobs have been taken on already", "whoever took them on says what becomes of them")
        return
    word = ENDS[wanted]
    failure = (error or FAILED) if word == "failure" else error
    for attempt in held:
        node.jobs.end(attempt, JobResult(outcome=word, conclusion=word, outputs=outputs, error=failure))
    for attempt in held:
        await _recorded(node, attempt)


def _refusal(node: Node, run: Run, keys: list[Key]) -> str | None:
    """Why this node has refused one of these legs, if it has."""
    refusals = (refusal for key in keys for refusal in run.tally.leg(key).refusals)
    return next((str(one.body["reason"]) for one in refusals if one.author == node.me), None)


async def _recorded(node: Node, attempt: Attempt) -> None:
    """Wait until the engine has taken in the end of an attempt."""
    while True:
        version = node.shell.version
        if attempt not in node.engine.conductor.work.local.values():
            return
        await node.shell.wait_changed(version)


def _outputs(result: object) -> dict[str, str]:
    """A job's outputs from what a client says: texts as they are, all else as JSON."""
    if result is None:
        return {}
    if not isinstance(result, dict):
        raise UsageError("a result is a JSON object", """its entries become outputs: '{"answer": 42}'""")
    found: dict[str, Any] = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in result.items()
    }
    if outputs_size(found) > MAX_OUTPUTS:
        raise UsageError(f"a result of more than {MAX_OUTPUTS:,} bytes", "leave large data elsewhere, and say where")
    return found
