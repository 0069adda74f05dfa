"""`python -m p2pwf.testing`: plays fault schedules and prints what was violated, with the line that replays it.

Exit code 0 if nothing was violated, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from p2pwf.testing.schedule import SCENARIOS, run_seed


def main() -> int:
    """Play the schedules that the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/sim", description=__doc__)
    parser.add_argument("--scenario", choices=[*SCENARIOS, "all"], default="all", help="which faults (default: all)")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds of each scenario (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="replay this one seed")
    parser.add_argument("--json", action="store_true", help="one JSON line for each scenario")
    given = parser.parse_args()
    seeds = [given.seed] if given.seed is not None else range(given.first, given.first + given.seeds)
    failed = False
    for name in SCENARIOS if given.scenario == "all" else [given.scenario]:
        started, steps, virtual, bad = time.monotonic(), 0, 0.0, []
        digest = ""
        for seed in seeds:
            world, violations = run_seed(name, seed)
            steps += world.steps
            virtual += world.time
            digest = world.fingerprint()
            if violations:
                bad.append(seed)
                for violation in violations[:5]:
                    sys.stderr.write(f"{name}: {violation}\n")
                sys.stderr.write(f"replay: scripts/sim --scenario {name} --seed {seed}\n")
        failed = failed or bool(bad)
        seconds = time.monotonic() - started
        figures = {
            "scenario": name,
            "seeds": len(seeds),
            "violating": bad,
            "steps": steps,
            "simulated_seconds": round(virtual),
            "seconds": round(seconds, 1),
            "speedup": round(virtual / seconds),
            "last_fingerprint": digest[:16],
        }
        if given.json:
            sys.stdout.write(json.dumps(figures) + "\n")
        else:
            verdict = f"{len(bad)} violating" if bad else "ok"
            sys.stdout.write(
                f"{name:10} {len(seeds):6} seeds  {steps:9} steps  {figures['speedup']:5} x real time  {verdict}\n"
            )
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
