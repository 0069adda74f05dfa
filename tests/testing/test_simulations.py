"""Whole networks under seeded faults: nothing acknowledged is lost, everyone agrees, everything ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pwf.clock.dag import Dag
from p2pwf.engine.conductor import Conductor
from p2pwf.engine.desk import Desk
from p2pwf.engine.liveness import Liveness
from p2pwf.engine.syncer import Syncer
from p2pwf.runs.tally import LegState, Tally
from p2pwf.testing import SCENARIOS, run_seed

SEEDS = 13
"""Of each of the eight scenarios: more than a hundred histories in every test run; `scripts/sim` plays thousands."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_invariant_is_violated(name: str) -> None:
    for seed in range(SEEDS):
        world, violations = run_seed(name, seed)
        assert not violations, f"replay: scripts/sim --scenario {name} --seed {seed}\n{violations[:3]}"
        assert world.steps > 500


@pytest.mark.parametrize("name", ["storm", "torn"])
def test_a_seed_replays_to_the_same_bytes(name: str) -> None:
    first, _ = run_seed(name, 3)
    again, _ = run_seed(name, 3)
    other, _ = run_seed(name, 4)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def found_by(name: str, seeds: int) -> bool:
    return any(run_seed(name, seed)[1] for seed in range(seeds))


def no_store(self: Desk, *args: object) -> None:
    self._stored.clear()


PLANTED: dict[str, tuple[object, str, Callable[..., object], str]] = {
    "digests are never sent": (Syncer, "tick", lambda self: self.check(), "loss"),
    "a node that restarts takes part at once": (Liveness, "suspended", property(lambda self: False), "torn"),  # type: ignore[dict-item]
    "silence is judged by who hears no beats": (Liveness, "expects_beats", lambda self, *args: True, "crash"),
    "nobody takes over": (Conductor, "_watch", lambda self, *args: None, "crash"),
    "an interrupted attempt is left open": (Conductor, "_close_interrupted", lambda self, *args: None, "crash"),
    "outcomes are taken as they arrive": (Tally, "finish", lambda self, key: next(iter(self.leg(key).finishes), None), "partition"),
    "the newest reassign wins": (LegState, "apply", lambda self, event: _last_wins(self, event), "storm"),
    "nobody else writes the end": (Conductor, "_turn", lambda self, *args: False, "crash"),
    "heads forget what lies aside": (Dag, "heads", lambda self: [list(self._nodes.values())[-1]], "loss"),
}


def _last_wins(state: LegState, event: object) -> None:
    kind = event.type  # type: ignore[attr-defined]
    if kind == "job.reassign":
        state.reassigns[event.attempt] = event  # type: ignore[attr-defined,assignment]
    elif kind == "job.start":
        state.starts[event.attempt] = event  # type: ignore[attr-defined,assignment]
    elif kind == "job.refuse":
        state.refusals.append(event)  # type: ignore[arg-type]
    else:
        state.finishes.append(event)  # type: ignore[arg-type]


@pytest.mark.parametrize("bug", PLANTED)
@pytest.mark.long
def test_the_oracle_is_not_blind(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, name, broken, scenario = PLANTED[bug]
    monkeypatch.setattr(target, name, broken)
    assert found_by(scenario, 200)
