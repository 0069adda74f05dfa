"""The example workflows on one machine, without a node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pwf.cli.main import run as run_line
from tests import examples
from tests.oneshot.kit import Here


@pytest.mark.parametrize("name", list(examples.OUTPUTS))
def test_an_example_runs_and_leaves_what_it_is_for(here: Here, name: str) -> None:
    flows = examples.copy(here.root)
    ran = here.run("--event", "workflow_dispatch", "--source", str(here.root), file=str(flows / f"{name}.yml"))
    assert set(ran.end["jobs"].values()) == {"success"}
    (last,) = ran.of("job_finished", job=list(ran.end["jobs"])[-1])
    assert last["outputs"] == examples.OUTPUTS[name]
    places = {one["name"]: Path(one["path"]) for one in ran.end["artifacts"]}
    assert len(places) > 3, "each leg of the matrix leaves one as well"
    examples.look(name, places[examples.ARTIFACT[name]])


def test_inputs_and_other_events_change_what_they_are_said_to(here: Here) -> None:
    flows = examples.copy(here.root)
    words = ("--source", str(here.root))
    ran = here.run("--input", "shards=2", "--input", "top=minutes", *words, file=str(flows / "process_dataset.yml"))
    assert [one["name"] for one in ran.of("job_started", job="part")] == ["Lines 1-150", "Lines 151-300"]
    pushed = here.run("--event", "push", "--job", "read", *words, file=str(flows / "generate_code.yml"))
    assert pushed.of("job_finished")[0]["outputs"]["operations"] == "4"


def test_the_check_has_nothing_to_say_of_any_example(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted((examples.ROOT / "examples" / "p2p_workflows").glob("*.yml"))
    assert {file.stem for file in files} == {*examples.OUTPUTS, "demo"}
    assert run_line(["check", "--json", *map(str, files)]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["diagnostics"] for one in told] == [[]] * len(files)
