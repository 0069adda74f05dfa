"""The fuzzing behind scripts/fuzz: seeded inputs made of test vectors and of workflow files.

N inputs for each target that a peer can reach, a tenth of that for the others. What breaks a promise is kept in
tests/fuzz/findings, where the tests replay it. Prints one JSON line: of each target the inputs, inputs a second, and
what was found; ends with 1 if something was. The same --seed makes the same inputs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fuzz.content_targets import contents  # noqa: E402 - from this checkout
from tests.fuzz.file_targets import CORPORA  # noqa: E402
from tests.fuzz.mutations import mutated  # noqa: E402
from tests.fuzz.peer_targets import PEER_TARGETS, corpus  # noqa: E402
from tests.fuzz.targets import TARGETS  # noqa: E402

FINDINGS: Final = ROOT / "tests" / "fuzz" / "findings"
MAX_FINDINGS: Final = 5
"""Of one target and process: the first few say what is wrong."""
FILES: Final = tuple(path.read_bytes() for path in sorted((ROOT / "tests/workflow/data").glob("*/*.yml")))
LINES: Final = tuple(
    text.encode()
    for text in (
        *(
            "a == b && contains(a.b, 'x')",
            "format('{0} {1}', toJSON(b), fromJSON('[1]'))",
            "github.event.commits.*.message",
        ),
        *("x=1\ny<<EOF\nz\nEOF\n", "::set-output name=x::y", "::add-mask::s3cret", "::stop-commands::t\n::t::"),
        *("##[group]x", "::error file=a,line=2::m%0A", "on: push\njobs: {a: {runs-on: x, steps: [{run: x}]}}"),
    )
)


def target_of(name: str) -> tuple[Callable[[bytes], None], tuple[bytes, ...]]:
    """A target, and what its inputs are made of."""
    if name in PEER_TARGETS:
        check, of = PEER_TARGETS[name]
        return check, corpus(of)
    if name in CORPORA:
        return TARGETS[name], CORPORA[name]
    return TARGETS[name], {"loader": FILES, "backup": contents("backup")}.get(name, LINES)


def fuzz(work: tuple[str, int, int]) -> tuple[str, int, float, list[str]]:
    """Give a target so many inputs; (its name, inputs, seconds, findings)."""
    name, inputs, seed = work
    check, made_of = target_of(name)
    chance = Random(f"{name} {seed}")
    findings: list[str] = []
    began = time.monotonic()
    for done in range(inputs):
        data = mutated(chance, made_of)
        try:
            check(data)
        except Exception as error:  # noqa: BLE001 - every exception is a finding
            path = FINDINGS / name / sha256(data).hexdigest()[:16]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            findings.append(f"{path.relative_to(ROOT)}: {type(error).__name__}: {error}"[:300])
            if len(findings) >= MAX_FINDINGS:
                return name, done + 1, time.monotonic() - began, findings
    return name, inputs, time.monotonic() - began, findings


def main() -> None:
    """Fuzz, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for each target that a peer can reach")
    parser.add_argument("--only", default="", help="targets, separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2, help="at a time")
    asked = parser.parse_args()
    parts = asked.processes
    names = [name for name in asked.only.split(",") if name] or [*PEER_TARGETS, *TARGETS]
    work = []
    for name in names:
        inputs = asked.inputs if name in PEER_TARGETS else asked.inputs // 10
        work += [(name, (inputs + part) // parts, parts * asked.seed + part) for part in range(parts)]
    figures: dict[str, dict[str, Any]] = {}
    with get_context("spawn").Pool(parts) as pool:
        for name, inputs, seconds, findings in pool.imap_unordered(fuzz, work):
            line = figures.setdefault(name, {"inputs": 0, "seconds": 0.0, "findings": []})
            line["inputs"] += inputs
            line["seconds"] = round(line["seconds"] + seconds, 1)
            line["findings"] += findings
            print(json.dumps({name: line}), file=sys.stderr, flush=True)
    found = sum(len(line["findings"]) for line in figures.values())
    print(
        json.dumps({"inputs": sum(line["inputs"] for line in figures.values()), "findings": found, "targets": figures})
    )
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
