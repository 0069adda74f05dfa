"""Reruns and pins on three real nodes."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.kit import p2pwf, three_nodes

WORKFLOW = """\
name: Twice p2p-workflow
on: workflow_dispatch
jobs:
  first:
    runs-on: ubuntu-latest
    outputs: {{word: "${{{{ steps.w.outputs.word }}}}"}}
    steps:
      - id: w
        run: echo "word=$RANDOM$RANDOM" >> "$GITHUB_OUTPUT"; echo x >> {folder}/first
  many:
    needs: first
    strategy: {{matrix: {{n: [1, 2, 3]}}, fail-fast: false}}
    runs-on: ubuntu-latest
    steps:
      - run: echo x >> {folder}/many-${{{{ matrix.n }}}}; test ${{{{ matrix.n }}}} != 2 -o -e {folder}/mended
  last:
    needs: [first, many]
    runs-on: ubuntu-latest
    outputs: {{said: "${{{{ needs.first.outputs.word }}}}"}}
    steps:
      - run: echo done
"""


def times(folder: Path, name: str) -> int:
    return (folder / name).read_text().count("x")


def test_only_what_failed_is_run_again_with_the_outcomes_of_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "twice.yml"
    file.write_text(WORKFLOW.format(folder=tmp_path))
    with three_nodes(tmp_path) as (ada, bob, cyd):
        run = ada.submit(file, "--no-source")
        first = ada.wait_for(run)
        assert first["status"] == "failed"
        (tmp_path / "mended").touch()
        again = bob.ask("workflow", "rerun", run, "--failed")["workflow_id"]
        done = cyd.wait_for(again)
        assert done["status"] == "completed"
        assert [times(tmp_path, name) for name in ("first", "many-1", "many-2", "many-3")] == [1, 1, 2, 1]
        word = first["jobs"][0]["outputs"]["word"]
        assert done["jobs"][0]["outputs"] == {"word": word}
        assert done["jobs"][-1]["outputs"] == {"said": word}
        log = p2pwf("workflow", "logs", again, "--job", "first", data=cyd.folder)
        assert "word=" in log.stdout
        whole = ada.ask("workflow", "rerun", again)["workflow_id"]
        assert ada.wait_for(whole)["status"] == "completed"
        assert [times(tmp_path, name) for name in ("first", "many-1", "many-2", "many-3")] == [2, 2, 3, 2]
        refused = p2pwf("workflow", "rerun", whole, "--failed", data=ada.folder)
        assert refused.returncode == 5
        assert "no job of this run failed" in refused.stderr


def test_a_pinned_run_stays_on_its_peer(tmp_path: Path) -> None:
    file = tmp_path / "twice.yml"
    file.write_text(WORKFLOW.format(folder=tmp_path))
    (tmp_path / "mended").touch()
    with three_nodes(tmp_path) as (ada, bob, _):
        done = ada.wait_for(ada.submit(file, "--no-source", "--peer", bob.folder.name))
        assert done["status"] == "completed"
        assert {job["owner"] for job in done["jobs"]} == {bob.info["peer_id"]}
        nowhere = ada.submit(file, "--no-source", "--label", "Submarine")
        assert ada.status(nowhere)["status"] == "pending"
        assert ada.status(nowhere)["jobs"][0]["waiting"] == "a peer with the labels submarine, ubuntu-latest"
        ada.ask("workflow", "cancel", nowhere)
        assert ada.wait_for(nowhere)["status"] == "cancelled"
        unknown = p2pwf("workflow", "submit", str(file), "--peer", "nobody", data=ada.folder)
        assert (unknown.returncode, "no peer 'nobody'" in unknown.stderr) == (4, True)
