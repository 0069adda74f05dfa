"""A run submitted once more: its submission is made anew, and what it needs is fetched while others still have it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import trio

from p2pwf.core.ids import Cid
from p2pwf.errors import NotFound
from p2pwf.node.node import Node
from p2pwf.node.sources import keep
from p2pwf.runs import Run
from p2pwf.runs.rerun import rerun


async def body_again(node: Node, run: Run, failed: bool, jobs: Collection[str]) -> dict[str, Any]:
    """The body of the submission that does `run` again; its source and its actions are held here then.

    Raises NotFound for a job that the run has not, or if nobody has the source any more, and what `rerun` raises.
    """
    for job in jobs:
        if job not in run.plan.jobs:
            raise NotFound(f"no job {job!r} in this run", f"its jobs: {', '.join(run.plan.jobs)}")
    body = rerun(run, failed, jobs)
    manifests = [cast(Cid, action["source"]) for action in cast("Mapping[str, Any]", body["actions"]).values()]
    if body["source"] is not None:
        manifests.append(cast(Cid, body["source"]))
    for manifest in dict.fromkeys(manifests):
        await node.jobs.tree(manifest, [run.submitter])
    await trio.to_thread.run_sync(keep, manifests, node.blobs)
    return body
