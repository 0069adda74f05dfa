"""Cut the power of the real store some thousand times: scripts/power_cuts [--cuts N]. One JSON line of figures.

Each program of tests/store/test_power_cut.py is recorded under strace, several times with other seeds, and what a disk
may be left with is opened by the real store. Exit code 1 if anything that was acknowledged was lost, or called damaged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.store.powercut import has_strace  # noqa: E402 - after the path
from tests.store.test_power_cut import PROGRAMS, play  # noqa: E402 - as above

EACH = 250
"""Cuts of one recording."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/power_cuts", description=__doc__)
    parser.add_argument("--cuts", type=int, default=10_000)
    given = parser.parse_args()
    if not has_strace():
        sys.stderr.write("error: strace is not there, or may not trace\nhint: apt-get install strace\n")
        return 2
    started, done, lost = time.monotonic(), 0, []
    seed = 0
    while done < given.cuts:
        name = list(PROGRAMS)[seed % len(PROGRAMS)]
        trials = min(EACH, given.cuts - done)
        with tempfile.TemporaryDirectory(prefix="p2pwf-") as folder:
            try:
                play(Path(folder), *PROGRAMS[name], trials=trials, seed=seed)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                lost.append(f"{name}, seed {seed}: {error!r}"[:300])
        done += trials
        seed += 1
    figures = {"cuts": done, "lost": len(lost), "first": lost[:3], "seconds": round(time.monotonic() - started)}
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
