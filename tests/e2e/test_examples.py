"""The example workflows on three real nodes: outputs and artifacts are the same ones as on one machine."""

from __future__ import annotations

from pathlib import Path

from tests import examples
from tests.e2e.kit import three_nodes


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
            artifact, out = examples.ARTIFACT[name], tmp_path / f"left by {name}"
            written = node.ask("workflow", "artifacts", run, "--name", artifact, "--download", str(out))
            assert [one["name"] for one in written][-1] == artifact
            examples.look(name, out / artifact)
        assert len(owners) == 3
