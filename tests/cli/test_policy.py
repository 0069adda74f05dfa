"""`p2pwf policy`: what this machine runs for whom, asked without a node and with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from p2pwf.cli.main import run
from tests.cli.test_commands import here
from tests.control.kit import OTHER, node
from tests.kit import signer

ANN = signer(1).peer_id
FILE = """\
name: ci
on: [push, workflow_dispatch]
jobs:
  lint: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}
  test:
    strategy: {matrix: {on: [linux, gpu]}}
    runs-on: ['self-hosted', '${{ matrix.on }}']
    steps: [{run: 'true'}]
  ship: {needs: test, uses: ./.github/workflows/ship.yml, secrets: inherit}
"""
SHIP = """\
on: {workflow_call: {secrets: {TOKEN: {required: true}}}}
jobs:
  push: {runs-on: linux, steps: [{run: 'push', env: {T: '${{ secrets.TOKEN }}'}}]}
"""
RULES = f"""\
[policy.names]
ann = "{ANN}"
[[policy.rule]]
from = ["own"]
[[policy.rule]]
from = ["ann"]
labels = ["linux"]
secrets = []
isolation = "none"
"""


def written(folder: Path) -> str:
    """A repository with a workflow, and a data folder with a policy; the path of the workflow."""
    folder.joinpath("config.toml").write_text(RULES)
    flows = folder / "here" / ".github" / "workflows"
    flows.mkdir(parents=True)
    (flows / "ship.yml").write_text(SHIP)
    (flows / "ci.yml").write_text(FILE)
    return str(flows / "ci.yml")


def asked(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code = run(["policy", *words, "--json", "--data-dir", str(folder)])
    return code, json.loads(capsys.readouterr().out)


def test_the_rules_are_shown_with_where_they_come_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = asked(capsys, tmp_path, "show")
    assert (code, told["origin"], told["names"]) == (0, "default", {})
    assert [(one["from"], one["isolation"]) for one in told["rules"]] == [(["own"], "none"), (["members"], "process")]
    assert "none" in told["available"]
    written(tmp_path)
    code, told = asked(capsys, tmp_path, "show")
    assert (told["origin"], told["names"]) == (str(tmp_path / "config.toml"), {"ann": [ANN]})
    assert told["rules"][1]["labels"] == ["linux"]
    assert run(["policy", "show", "--data-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"ann is {ANN}" in text
    assert "what fits none is refused" in text


def test_each_job_is_judged_with_its_labels_and_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path)
    code, told = asked(capsys, tmp_path, "check", file)
    assert (code, told["allowed"], told["submitter"]) == (0, True, "own")
    code, told = asked(capsys, tmp_path, "check", file, "--submitter", "ann")
    assert (code, told["allowed"], told["submitter"]) == (5, False, ANN)
    found = {(one["job"], tuple(one["labels"])): one for one in told["jobs"]}
    assert {key: one["allowed"] for key, one in found.items()} == {
        ("lint", ("ubuntu-latest",)): True,
        ("test", ("linux", "self-hosted")): True,
        ("test", ("gpu", "self-hosted")): False,
        ("ship/push", ("linux",)): False,
    }
    assert "rule 2: not the label gpu" in found["test", ("gpu", "self-hosted")]["reason"]
    assert "rule 2: not the secret TOKEN" in found["ship/push", ("linux",)]["reason"]
    code, told = asked(capsys, tmp_path, "check", file, "--submitter", signer(2).peer_id)
    assert (code, {one["allowed"] for one in told["jobs"]}) == (5, {False})
    assert run(["policy", "check", file, "--submitter", "ann", "--label", "huge", "--data-dir", str(tmp_path)]) == 5
    assert "not the label huge" in capsys.readouterr().out


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path)
    for words, message in {
        ("check", file, "--submitter", "carla"): "not a peer id",
        ("check", str(tmp_path / "none.yml")): "cannot be read",
        ("check", str(tmp_path / "config.toml")): "config.toml",
    }.items():
        assert run(["policy", *words, "--data-dir", str(tmp_path)]) == 2, words
        assert message in capsys.readouterr().err
    (tmp_path / "config.toml").write_text('[[policy.rule]]\nfrom = ["nobody"]\n')
    assert run(["policy", "show", "--data-dir", str(tmp_path)]) == 2
    assert f"{tmp_path / 'config.toml'}:2: policy rule 1" in capsys.readouterr().err


async def test_a_node_that_runs_knows_members_by_name_and_role(tmp_path: Path) -> None:
    async with node() as (_, folder):
        (folder / "config.toml").write_text('[[policy.rule]]\nfrom = ["role:run"]\nisolation = "none"\n')
        file = folder / "a.yml"
        file.write_text("on: push\njobs: {a: {runs-on: linux, steps: [{run: 'true'}]}}\n")
        code, out, err = await here(folder, "policy", "check", str(file), "--submitter", "bob", "--json")
        assert (code, err, json.loads(out)["submitter"]) == (0, "", OTHER)
        code, _, _ = await here(folder, "policy", "check", str(file), "--submitter", signer(9).peer_id)
        assert code == 5, "whom it does not know is taken to have the role submit"
