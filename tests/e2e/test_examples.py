"""The example workflows on three real nodes: outputs and artifacts are the same ones as on one machine."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import trio

from p2pwf.core.dagcbor import decode
from p2pwf.core.ids import Cid, parse_cid
from p2pwf.runner.checkout import layout
from tests import examples
from tests.e2e.kit import Node, p2pwf, three_nodes


def artifacts_of(node: Node, run: str) -> dict[str, Cid]:
    """The artifacts that the jobs of a run left, as a node's clock has them: name and manifest."""
    found: dict[str, Cid] = {}
    for line in p2pwf("clock", "log", "--raw", data=node.folder).stdout.splitlines():
        event = decode(base64.b64decode(json.loads(line)["block"]))
        assert isinstance(event, dict)
        body = event["body"]
        assert isinstance(body, dict)
        if event["type"] == "job.finish" and body["run"] == parse_cid(run):
            found |= {one["name"]: one["link"] for one in body["artifacts"]}  # type: ignore[union-attr,index,call-overload,misc]
    return found


def lay_out(nodes: Sequence[Node], artifact: Cid, folder: Path) -> Path:
    """An artifact as files, from the blobs that these nodes hold."""

    async def fetch(cid: Cid) -> Path:
        return next(path for node in nodes for path in (node.folder / "blobs").glob(f"*/{cid.text}"))

    trio.run(layout, artifact, fetch, folder)
    return folder


def test_the_examples_run_on_three_nodes_and_leave_what_they_are_for(tmp_path: Path) -> None:
    flows = examples.copy(tmp_path / "work")
    with three_nodes(tmp_path) as nodes:
        runs = {
            name: node.submit(flows / f"{name}.yml", "--event", "workflow_dispatch", "--source", str(tmp_path / "work"))
            for node, name in zip(nodes, examples.OUTPUTS, strict=True)
        }
        owners: set[str] = set()
        for (name, run), node in zip(runs.items(), [*nodes[1:], nodes[0]], strict=True):
            done = node.wait_for(run)
            assert done["status"] == "completed", done
            assert done["jobs"][-1]["outputs"] == examples.OUTPUTS[name]
            owners |= {job["owner"] for job in done["jobs"]}
            last = artifacts_of(node, run)[examples.ARTIFACT[name]]
            examples.look(name, lay_out(nodes, last, tmp_path / name))
        assert len(owners) == 3
