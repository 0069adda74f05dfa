"""Whole networks under seeded faults: nothing acknowledged is lost, everyone agrees, everything ends."""

from __future__ import annotations

import pytest

from p2pwf.engine.conductor import Conductor
from p2pwf.engine.desk import Desk
from p2pwf.engine.groups import Groups
from p2pwf.engine.liveness import Liveness
from p2pwf.engine.outputs import Output, Store
from p2pwf.engine.recovery import Recovery
from p2pwf.engine.sealing import Sealing
from p2pwf.engine.shared import Shared
from p2pwf.engine.syncer import Syncer
from p2pwf.engine.takeover import Takeover
from p2pwf.runs.tally import LegState, RunEvent, Tally
from p2pwf.testing import SCENARIOS, run_seed

SEEDS = 11
"""Of each of the seventeen scenarios: nearly two hundred histories in every test run; `scripts/sim` plays thousands."""


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


def never(*_: object) -> bool:
    return False


def always(*_: object) -> bool:
    return True


def nothing(*_: object) -> None:
    return None


def nobody(*_: object) -> list[object]:
    return []


def as_it_arrives(self: Tally, key: tuple[str, int]) -> object:
    return next(iter(self.leg(key).finishes), None)


def last_wins(self: LegState, event: RunEvent) -> None:
    if event.type == "job.reassign":
        self.reassigns[event.attempt] = event
    else:
        GENUINE_APPLY(self, event)


def store_last(self: Desk) -> list[Output]:
    outputs = GENUINE_DRAIN(self)
    return [*(each for each in outputs if not isinstance(each, Store)), *(e for e in outputs if isinstance(e, Store))]


GENUINE_APPLY = LegState.apply
GENUINE_DRAIN = Desk.drain
PLANTED: dict[str, tuple[object, str, object, str]] = {
    "digests are never sent": (Syncer, "tick", Syncer.check, "loss"),
    "a node that restarts takes part at once": (Liveness, "suspended", property(never), "torn"),
    "silence is judged by who hears no beats": (Liveness, "expects_beats", always, "long"),
    "nobody takes over": (Takeover, "watch", nothing, "gone"),
    "an interrupted attempt is left open": (Takeover, "close_interrupted", nothing, "crash"),
    "outcomes are taken as they arrive": (Tally, "finish", as_it_arrives, "partition"),
    "the newest reassign wins": (LegState, "apply", last_wins, "storm"),
    "nobody else writes the end": (Shared, "_turn", never, "crash"),
    "a run waits for nobody": (Groups, "run_waits", never, "groups"),
    "a job waits for nobody": (Groups, "waits", never, "groups"),
    "a group is taken before it has settled": (Conductor, "_settled", always, "groups"),
    "a restored node writes at once": (Recovery, "_waits_for", nobody, "restored"),
    "a job is started without the box of its secret": (Sealing, "unopened", nobody, "secrets"),
    "nobody seals a secret to who lacks it": (Sealing, "tick", nothing, "secrets"),
    "it is told before it is stored": (Desk, "drain", store_last, "torn"),
}


@pytest.mark.parametrize("bug", PLANTED)
@pytest.mark.long
def test_the_oracle_is_not_blind(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, name, broken, scenario = PLANTED[bug]
    monkeypatch.setattr(target, name, broken)
    assert found_by(scenario, 200)
