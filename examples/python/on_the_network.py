"""Run workflow files on the network of a running node, side by side, and print their results as they come in.

    p2pwf up --trust-members &
    python on_the_network.py ../p2p_workflows/*.yml

The same methods as the coordinator's, under trio; `p2pwf.connect` gives them without it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import trio

from p2pwf import AsyncClient, P2pwfError, WorkflowStatus, connect_async

LOOK_EVERY = 0.5
"""Seconds between two looks at a run."""


async def follow(client: AsyncClient, file: Path) -> bool:
    """Submit a file and wait for its end; whether it went well."""
    id = await client.submit_workflow(file)
    while True:
        found = await client.get_workflow_status(id)
        assert found is not None
        if WorkflowStatus(found["status"]).is_final:
            break
        await trio.sleep(LOOK_EVERY)
    print(
        json.dumps({"file": file.name, "status": found["status"], "result": found["result"], "error": found["error"]})
    )
    return WorkflowStatus(found["status"]) is WorkflowStatus.COMPLETED


async def main(files: list[Path], data_dir: str | None) -> int:
    client = await connect_async(data_dir)
    outcomes: list[bool] = []

    async def one(file: Path) -> None:
        try:
            outcomes.append(await follow(client, file))
        except P2pwfError as error:
            print(f"{file}: {error} ({error.hint})", file=sys.stderr)
            outcomes.append(False)

    async with trio.open_nursery() as nursery:
        for file in files:
            nursery.start_soon(one, file)
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Run workflow files on the network.")
    arguments.add_argument("files", nargs="+", type=Path, metavar="FILE")
    arguments.add_argument("--data-dir")
    given = arguments.parse_args()
    try:
        raise SystemExit(trio.run(main, given.files, given.data_dir))
    except P2pwfError as error:
        raise SystemExit(f"{error} ({error.hint})") from error
