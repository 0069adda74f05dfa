"""`python -m p2pwf.testing`: plays fault schedules and prints what was violated, with the line that replays it.

`--full` plays them on networks of whole nodes, libp2p included. A failing schedule is shrunk (`--no-shrink`: not), and
printed as one line of JSON, which `--plan FILE` plays again. `--mutants` plants bugs, one after the other, and says by
which seed each was caught. Exit code 0 if nothing was violated, and every planted bug caught; 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from p2pwf.testing.level import Level, engines, measure, nodes
from p2pwf.testing.mutants import hunt, mutants_of
from p2pwf.testing.oracle import Violation
from p2pwf.testing.plan import Plan
from p2pwf.testing.scenarios import SCENARIOS
from p2pwf.testing.shrink import shrink

SHOWN = 5
"""Violations that are printed of one history."""


def main() -> int:
    """Play the schedules that the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/sim", description=__doc__)
    parser.add_argument("--full", action="store_true", help="whole nodes with their libp2p, not engines alone")
    parser.add_argument("--scenario", default="all", help="which faults (default: all): " + ", ".join(SCENARIOS))
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds of each scenario (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="replay this one seed")
    parser.add_argument("--plan", metavar="FILE", help="play a schedule that was printed")
    parser.add_argument("--no-shrink", action="store_true", help="leave failing schedules as they are")
    parser.add_argument("--mutants", action="store_true", help="plant bugs, and see each caught within --seeds seeds")
    parser.add_argument("--only", metavar="TEXT", default="", help="with --mutants: those whose names hold this")
    parser.add_argument("--json", action="store_true", help="one JSON line for each scenario")
    given = parser.parse_args()
    level = nodes() if given.full else engines()
    if given.plan is not None:
        return _replay(level, Plan.from_json(Path(given.plan).read_text()))
    if given.mutants:
        return _mutants(level, given.only, given.seeds, given.json)
    if given.scenario not in ("all", *level.scenarios):
        parser.error(f"no scenario {given.scenario}: there are {', '.join(level.scenarios)}")
    seeds = [given.seed] if given.seed is not None else range(given.first, given.first + given.seeds)
    names = list(level.scenarios) if given.scenario == "all" else [given.scenario]
    failed = [name for name in names if not _scenario(level, name, seeds, given.json, not given.no_shrink)]
    return 1 if failed else 0


def _replay(level: Level, plan: Plan) -> int:
    _, violations = level.play(plan)
    for violation in violations[:SHOWN]:
        sys.stderr.write(f"{plan.scenario}: {violation}\n")
    sys.stdout.write(f"{len(violations)} violations\n")
    return 1 if violations else 0


def _scenario(level: Level, name: str, seeds: Iterable[int], as_json: bool, smaller: bool) -> bool:
    """Play seeds of a scenario and print its figures; whether nothing was violated."""
    shrunk = not smaller

    def failed(plan: Plan, violations: list[Violation]) -> None:
        nonlocal shrunk
        for violation in violations[:SHOWN]:
            sys.stderr.write(f"{name}: {violation}\n")
        sys.stderr.write(f"replay: scripts/sim {level.flag}--scenario {name} --seed {plan.seed}\n")
        if not shrunk:  # what else fails is most likely the same
            shrunk = True
            sys.stderr.write(f"shrunk: {shrink(plan, violations, level.tries, level.play).to_json()}\n")

    found = measure(level, name, seeds, failed)
    if as_json:
        sys.stdout.write(found.to_json() + "\n")
    else:
        verdict = f"{len(found.violating)} violating" if found.violating else "ok"
        speed = f"{found.virtual / max(found.seconds, 0.001):5.0f} x real time"
        sys.stdout.write(f"{name:12} {found.seeds:6} seeds  {found.steps:9} steps  {speed}  {verdict}\n")
    sys.stdout.flush()
    return not found.violating


def _mutants(level: Level, only: str, seeds: int, as_json: bool) -> int:
    missed = 0
    for mutant in mutants_of(level):
        if only not in mutant.name:
            continue
        caught = hunt(mutant, seeds, level)
        missed += caught is None
        if as_json:
            sys.stdout.write(json.dumps({"mutant": mutant.name, "scenario": mutant.scenario, "caught": caught}) + "\n")
        else:
            verdict = "NOT CAUGHT" if caught is None else f"caught by seed {caught[0]}: {caught[1]}"
            sys.stdout.write(f"{mutant.name:60} {mutant.scenario:12} {verdict}\n")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
