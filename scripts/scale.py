"""What grows with what: scripts/scale [--minutes N] [--keep]. One JSON line for each network measured.

Networks of engines grow in peers, in events and in open runs, and whole nodes in peers; each size has a process of
its own (`scale_worlds.py`), which is ended after `--minutes`. What was not reached is extrapolated from the last two
sizes by the power law through them, and marked so. `--keep` writes tables and plots into protocols/scale.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "protocols" / "scale.md"
WORLDS = ROOT / "scripts" / "scale_worlds.py"
FURTHER = 10
"""Times the largest size measured, up to which is extrapolated: beyond that a power law says little."""
BAR = 40
"""Characters of the longest bar of a plot."""
LOOK = 0.5
"""Seconds between two looks at how long a network has been growing."""

Row = dict[str, Any]
Shown = Callable[[float], str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/scale", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="for each network at most (default: 30)")
    parser.add_argument("--peers", type=_sizes, default=[10, 30, 100, 300, 1000], help="sizes of networks of engines")
    parser.add_argument("--events", type=int, default=1_000_000, help="up to which a history grows")
    parser.add_argument("--open", type=_sizes, default=[100, 1000, 10_000], help="numbers of open runs")
    parser.add_argument("--nodes", type=_sizes, default=[3, 6, 12], help="sizes of networks of whole nodes")
    parser.add_argument("--keep", action="store_true", help="write the figures into protocols/scale.md")
    given = parser.parse_args()
    started = time.monotonic()
    found: dict[str, list[Row]] = {
        "peers": _each("peers", given.peers, given.minutes),
        "events": _each("events", [given.events], given.minutes),
        "open": _each("open", given.open, given.minutes),
        "nodes": _each("nodes", given.nodes, given.minutes),
    }
    if given.keep:
        _keep(found, given.events, time.monotonic() - started)
    return 0


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",") if size]


def _each(part: str, sizes: Sequence[int], minutes: float) -> list[Row]:
    """Measure a network of each size; those that take too long are left out, and said."""
    rows: list[Row] = []
    for size in sizes:
        got, whole = _measure(part, size, minutes * 60)
        rows += got
        if not whole:
            sys.stdout.write(json.dumps({"part": part, "size": size, "not_reached_in_minutes": minutes}) + "\n")
            break
    return rows


def _measure(part: str, size: int, seconds: float) -> tuple[list[Row], bool]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    words = [sys.executable, str(WORLDS), part, str(size)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until:
            time.sleep(LOOK)
        whole = process.poll() == 0
        process.kill()
        said = process.communicate()[0]
    sys.stdout.write(said)
    sys.stdout.flush()
    return [json.loads(line) for line in said.splitlines()], whole


# -- writing --------------------------------------------------------------------------------------------------------


def _keep(found: dict[str, list[Row]], wanted: int, seconds: float) -> None:
    page = PAGE.read_text(encoding="utf-8")
    told = subprocess.run(
        [shutil.which("git") or "git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    day = time.strftime("%Y-%m-%d", time.gmtime())
    when = (
        f"{day}, commit {told}, Python {platform.python_version()} on {platform.machine()}, {seconds / 60:.0f} minutes."
    )
    texts = {"when": when, **{part: _part(part, rows, wanted) for part, rows in found.items() if rows}}
    for part, text in texts.items():
        marks = rf"(<!-- figures: {part} -->\n).*?(\n<!-- end -->)"
        page, count = re.subn(marks, lambda match, text=text: match[1] + text + match[2], page, flags=re.DOTALL)  # type: ignore[misc]
        if count != 1:
            raise SystemExit(f"error: {PAGE} has no place for the figures of {part}")
    PAGE.write_text(page, encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _bytes(value: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError


COLUMNS: dict[str, tuple[str, Shown]] = {
    "cpu_us_per_event_and_peer": ("CPU of an event at each peer, µs", _number),
    "cpu_us_per_run_and_peer": ("CPU of a submission at each peer, µs", _number),
    "messages_per_event_and_peer": ("messages of an event to each peer", _number),
    "bytes_per_event_and_peer": ("bytes of an event to each peer", _bytes),
    "disk_per_event": ("disk of an event", _bytes),
    "memory_per_event_and_peer": ("memory of an event at each peer", _bytes),
    "memory_per_run_and_peer": ("memory of an open run at each peer", _bytes),
    "memory_per_peer": ("memory of each peer", _bytes),
    "rest_cpu_ms_per_minute_and_peer": ("CPU at rest of each peer, ms a minute", _number),
    "rest_bytes_per_second_and_peer": ("bytes at rest to each peer, a second", _bytes),
    "tasks_per_peer": ("tasks of each peer", _number),
    "start_seconds": ("CPU of a start, s", _number),
    "seconds_to_rest": ("seconds from the last submission to rest", _number),
}
SIZE = {"peers": ("peers", 10_000), "events": ("events", 0), "open": ("runs", 100_000), "nodes": ("peers", 100)}
"""By part, what grows, and up to where it is extrapolated at most (0: to the size that was asked for)."""
PLOTTED = {
    "peers": ("cpu_us_per_event_and_peer", "rest_bytes_per_second_and_peer"),
    "events": ("cpu_us_per_event_and_peer", "start_seconds"),
    "open": ("rest_cpu_ms_per_minute_and_peer",),
    "nodes": ("rest_bytes_per_second_and_peer",),
}


def _part(part: str, rows: Sequence[Row], wanted: int) -> str:
    """The table of a part, and its plots."""
    size, further = SIZE[part]
    names = [name for name in COLUMNS if name in rows[-1]]
    shown: list[tuple[str, Row]] = [(f"{row[size]:,}", row) for row in rows]
    target = min(further or wanted, FURTHER * rows[-1][size])
    if target > rows[-1][size] * 1.1 and len(rows) > 1:
        shown.append((f"*{target:,}*", {name: _extrapolated(rows, size, name, target) for name in names}))
    lines = [f"| {size} | " + " | ".join(COLUMNS[name][0] for name in names) + " |"]
    lines.append("|--:|" + "--:|" * len(names))
    lines += [
        f"| {label} | " + " | ".join(COLUMNS[name][1](row[name]) for name in names) + " |" for label, row in shown
    ]
    for name in PLOTTED[part]:
        lines += ["", "```text", f"{COLUMNS[name][0]}, by {size}", *_bars(name, shown), "```"]
    return "\n".join(lines)


def _extrapolated(rows: Sequence[Row], size: str, name: str, target: float) -> float:
    """By the power law through the last two sizes."""
    (one, first), (other, last) = ((row[size], max(row[name], 1e-9)) for row in rows[-2:])
    power = math.log(last / first) / math.log(other / one)
    return float(last * (target / other) ** power)


def _bars(name: str, shown: Sequence[tuple[str, Row]]) -> list[str]:
    most = max(row[name] for _, row in shown) or 1.0
    label = max(len(label) for label, _ in shown)
    return [
        f"{text:>{label}}  {'#' * max(1, round(BAR * row[name] / most)):<{BAR}}  {COLUMNS[name][1](row[name])}"
        for text, row in shown
    ]


if __name__ == "__main__":
    sys.exit(main())
