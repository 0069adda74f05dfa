"""Whole networks under seeded faults: nothing acknowledged is lost, everyone agrees, everything ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pwf.runs import Run
from p2pwf.testing import SCENARIOS, run_seed
from p2pwf.testing.draw import draw
from p2pwf.testing.mutants import MUTANTS, Mutant, hunt
from p2pwf.testing.plan import Plan
from p2pwf.testing.player import play
from p2pwf.testing.shrink import shrink

FOLDER = Path(__file__).parent / "plans"
PLANS = sorted(FOLDER.glob("*.json"))
"""Shrunk histories that found a mistake."""
SEEDS = 6
"""Of each scenario: more than a hundred histories in every test run; `scripts/sim` plays thousands."""
LARGE = 1
"""Of those of dozens of nodes, of many minutes or of months."""
QUICK = (
    "signatures are not checked",
    "events are judged by the roster of now",
    "it is told before it is stored",
    "outcomes are taken as they arrive",
    "needs are not waited for",
    "all digests are equal",
)
"""Planted bugs that one or two seeds catch: of the others `scripts/sim --mutants` sees."""
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_invariant_is_violated(name: str) -> None:
    for seed in range(LARGE if name in ("large", "busy", "months") else SEEDS):
        world, violations = run_seed(name, seed)
        assert not violations, f"replay: scripts/sim --scenario {name} --seed {seed}\n{violations[:3]}"
        assert world.steps > 500


@pytest.mark.parametrize("name", ["storm", "torn", "hurricane", "hostile"])
def test_a_seed_replays_to_the_same_bytes(name: str) -> None:
    first, _ = run_seed(name, 3)
    again, _ = run_seed(name, 3)
    other, _ = run_seed(name, 4)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_a_seed_gives_the_same_bytes_in_another_process_with_other_hashes() -> None:
    code = "from p2pwf.testing import run_seed; print(run_seed('hurricane', 2)[0].fingerprint())"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            timeout=120,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(said) == 1


def test_a_plan_reads_back_as_it_was_written_and_plays_the_same(tmp_path: Path) -> None:
    plan = draw("hurricane", 5)
    assert Plan.from_json(plan.to_json()) == plan
    assert play(Plan.from_json(plan.to_json()))[0].fingerprint() == play(plan)[0].fingerprint()


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_what_failed_once_does_not_fail_again(path: Path) -> None:
    _, violations = play(Plan.from_json(path.read_text()))
    assert not violations


def test_an_attempt_begins_twice_where_void_starts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "was_begun", lambda *_: False)
    plan = Plan.from_json((FOLDER / "a_cut_voids_what_starts_stood_on.json").read_text())
    assert {violation.invariant for violation in play(plan)[1]} == {"I5"}


def test_a_failing_history_is_shrunk_to_what_it_takes() -> None:
    with BY_NAME["nobody submits a tick"].planted():
        plan = draw("ticks", 0)
        _, violations = play(plan)
        assert violations
        small = shrink(plan, violations)
        assert play(small)[1]
    assert [action.kind for action in small.actions] == ["schedule"]
    assert not play(small)[1]


@pytest.mark.parametrize("mutant", [BY_NAME[name] for name in QUICK], ids=str)
def test_a_planted_bug_is_caught(mutant: Mutant) -> None:
    assert hunt(mutant, 10) is not None


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
@pytest.mark.long
def test_every_planted_bug_is_caught(mutant: Mutant) -> None:
    assert hunt(mutant, 1000) is not None
