"""Plays thousands of fault schedules on all cores, and with `--keep` writes the figures into protocols/reliability.md.

    scripts/reliability --schedules 10000 --full 200 --mutants 1000 --keep

Each part can be left out (0), and then keeps the figures that it has in the page. One JSON line for each scenario and
each planted bug. `--minutes` bounds each part: what was not begun by then is left out, and the figures say how much was
played. Exit code 1 if an invariant was violated, or a planted bug was not caught.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from p2pwf.testing.level import Figures, Level, engines, measure, nodes  # noqa: E402 - after the path
from p2pwf.testing.mutants import hunt, mutants_of  # noqa: E402

PAGE = ROOT / "protocols" / "reliability.md"
CHUNK = {False: 25, True: 2}
"""Schedules that a process is given at a time, of engines and of whole nodes: a quarter of a minute or so."""
LARGE = 10
"""Of the scenario with dozens of nodes there are so many times fewer schedules."""
HUNTED_IN = 100
"""Schedules of whole nodes at most in which a bug that was planted in one has to be caught: each takes seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/reliability", description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=1000, help="of engines, over all scenarios (default: 1000)")
    parser.add_argument("--full", type=int, default=0, help="of whole nodes, over all scenarios (default: 0)")
    parser.add_argument("--mutants", type=int, default=0, help="seeds within which planted bugs must be caught")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--minutes", type=float, default=60.0, help="of each part at most (default: 60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    parser.add_argument("--keep", action="store_true", help="write the figures into protocols/reliability.md")
    given = parser.parse_args()
    good = True
    for full, count in ((False, given.schedules), (True, given.full)):
        if count:
            started = time.monotonic()
            found = play(full, count, given.first, given.minutes * 60, given.jobs)
            good = good and not any(one.violating for one in found)
            if given.keep:
                keep("nodes" if full else "engines", schedule_table(found, time.monotonic() - started, given.jobs))
    if given.mutants:
        started = time.monotonic()
        caught = [*plant(False, given.mutants, given.jobs), *plant(True, min(given.mutants, HUNTED_IN), given.jobs)]
        good = good and all(how is not None for _, _, how in caught)
        if given.keep:
            keep("planted", mutant_table(caught, given.mutants, time.monotonic() - started))
    return 0 if good else 1


# -- playing --------------------------------------------------------------------------------------------------------


def level_of(full: bool) -> Level:
    return nodes() if full else engines()


def _chunk(full: bool, name: str, first: int, count: int) -> Figures:
    return measure(level_of(full), name, range(first, first + count))


def _hunt(full: bool, index: int, seeds: int) -> tuple[int, str] | None:
    level = level_of(full)
    return hunt(mutants_of(level)[index], seeds, level)


def play(full: bool, count: int, first: int, seconds: float, jobs: int) -> list[Figures]:
    """So many schedules, spread over the scenarios of a level; the figures of each, in their order."""
    names = list(level_of(full).scenarios)
    weights = {name: 1 if name == "large" else LARGE for name in names}
    each = {name: -(-count * weights[name] // sum(weights.values())) for name in names}
    size = CHUNK[full]
    chunks = [
        (name, first + start, min(size, each[name] - start))
        for start in range(0, max(each.values()), size)
        for name in names
        if start < each[name]
    ]
    found = {name: Figures(scenario=name) for name in names}
    until = time.monotonic() + seconds
    with ProcessPoolExecutor(jobs) as pool:
        waiting: set[Future[Figures]] = set()
        left = iter(chunks)
        while True:
            while len(waiting) < jobs and time.monotonic() < until and (chunk := next(left, None)) is not None:
                waiting.add(pool.submit(_chunk, full, *chunk))
            if not waiting:
                break
            done = next(as_completed(waiting))
            waiting.remove(done)
            figures = done.result()
            found[figures.scenario] = found[figures.scenario].and_of(figures)
            for seed in figures.violating:
                flag = "--full " if full else ""
                sys.stderr.write(f"replay: scripts/sim {flag}--scenario {figures.scenario} --seed {seed}\n")
    for figures in found.values():
        sys.stdout.write(figures.to_json() + "\n")
    sys.stdout.flush()
    return list(found.values())


Caught = tuple[str, str, tuple[int, str] | None]
"""The name of a planted bug, its scenario, and the first seed that caught it with the invariant that it violated."""


def plant(full: bool, seeds: int, jobs: int) -> Iterator[Caught]:
    """Plant each bug of a level, and see by which seed it is caught."""
    mutants = mutants_of(level_of(full))
    with ProcessPoolExecutor(jobs) as pool:
        hunts = [pool.submit(_hunt, full, index, seeds) for index in range(len(mutants))]
        for mutant, found in zip(mutants, hunts, strict=True):
            how = found.result()
            sys.stdout.write(json.dumps({"mutant": mutant.name, "scenario": mutant.scenario, "caught": how}) + "\n")
            sys.stdout.flush()
            yield mutant.name, mutant.scenario, how


# -- writing --------------------------------------------------------------------------------------------------------


def measured(seconds: float, jobs: int) -> str:
    """When, on what."""
    told = [shutil.which("git") or "git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    commit = subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{day}, commit {commit}, Python {platform.python_version()}, {jobs} processes, {seconds / 60:.0f} minutes."


def schedule_table(found: Sequence[Figures], seconds: float, jobs: int) -> str:
    lines = [
        measured(seconds, jobs),
        "",
        "| scenario | schedules | steps | simulated hours | violations |",
        "|---|--:|--:|--:|--:|",
    ]
    total = Figures(scenario="all")
    for one in found:
        total = total.and_of(one)
        lines.append(_row(one))
    return "\n".join([*lines, _row(total)])


def _row(one: Figures) -> str:
    name = f"**{one.scenario}**" if one.scenario == "all" else one.scenario
    return f"| {name} | {one.seeds:,} | {one.steps:,} | {one.virtual / 3600:,.1f} | {len(one.violating)} |"


def mutant_table(caught: Sequence[Caught], seeds: int, seconds: float) -> str:
    good = sum(how is not None for _, _, how in caught)
    lines = [
        measured(seconds, os.cpu_count() or 1),
        f"{good} of {len(caught)} caught, within {seeds:,} seeds ({HUNTED_IN} of whole nodes).",
        "",
        "| planted bug | scenario | caught by seed | by |",
        "|---|---|--:|---|",
    ]
    for name, scenario, how in caught:
        seed, by = ("none", "") if how is None else (str(how[0]), how[1] if len(how[1]) <= 5 else "an exception")
        lines.append(f"| {name} | {scenario} | {seed} | {by} |")
    return "\n".join(lines)


def keep(section: str, text: str) -> None:
    """Put figures in the place of those that the page has."""
    page = PAGE.read_text(encoding="utf-8")
    marks = rf"(<!-- figures: {section} -->\n).*?(\n<!-- end -->)"
    page, count = re.subn(marks, lambda found: found[1] + text + found[2], page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"error: {PAGE} has no place for the figures of {section}")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
