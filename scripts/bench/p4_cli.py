"""P4: a cold `p2pwf workflow list --json` against a node, beside an empty click program, and beside python itself.

Every command starts a new interpreter; rounds are interleaved and medians compared, because the machine's speed
changes from minute to minute. The node is an empty control API in this process, so that its own work is not measured.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import trio

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from p2pwf.control.server import serve_control  # noqa: E402 - after the path
from tests.control.kit import MemoryApi  # noqa: E402 - as above

ROUNDS = 40
EMPTY = "import click\n@click.command()\ndef main(): pass\nmain()"


def serve(folder: Path, up: threading.Event, stop: list[trio.CancelScope]) -> None:
    """Serve an API without runs until the scope in `stop` is cancelled."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            stop.append(nursery.cancel_scope)
            await nursery.start(serve_control, MemoryApi(), folder)
            up.set()

    trio.run(main)


def cold(arguments: list[str], environment: dict[str, str]) -> float:
    """Milliseconds from the start of a process to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Print one JSON line: medians in ms."""
    with tempfile.TemporaryDirectory(prefix="p2pwf-") as folder:
        environment = {**os.environ, "P2P_DATA_DIR": folder, "PYTHONPATH": str(ROOT)}
        up, stop = threading.Event(), list[trio.CancelScope]()
        server = threading.Thread(target=serve, args=(Path(folder), up, stop), daemon=True)
        server.start()
        up.wait()
        lines = {
            "ours": ["-c", "from p2pwf.cli.main import main; main()", "workflow", "list", "--json"],
            "reference": ["-c", EMPTY],
            "python": ["-c", "pass"],
        }
        times: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(ROUNDS):
            for name, line in lines.items():
                times[name].append(cold(line, environment))
        medians = {name: round(statistics.median(values), 1) for name, values in times.items()}
    row = {
        "name": "P4 cold CLI command beside an empty click program",
        **medians,
        "ratio": round(medians["ours"] / medians["reference"], 2),
        "unit": "ms",
        "n": ROUNDS,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
