"""P14: checking workflow files of the largest size, 256 KiB, of several shapes.

    python scripts/bench/p14_check.py

`ms` is the best of five, in turns, within one process and with nothing kept from the round before; `MiB` is the most
memory that Python held at once, measured apart. `job` is a job as people write it, repeated; the others are as dense as
they can be and still be judged to the end, or end at a bound.
"""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from p2pwf.workflow import parse
from p2pwf.workflow.expr.parser import parse_whole
from p2pwf.workflow.expr.template import split
from p2pwf.workflow.yaml import MAX_BYTES

ROUNDS = 5
HEAD = "on: push\njobs:\n"
STEPS = HEAD + "  a:\n    runs-on: x\n    steps:\n"
JOB = """  build-#:
    name: Build on ${{ matrix.os }}
    if: github.event_name != 'pull_request' || github.repository_owner == 'someone-#'
    runs-on: ${{ matrix.os }}
    strategy:
      fail-fast: false
      matrix:
        os: [ubuntu-latest, macos-latest]
        python: ['3.11', '3.12', '3.13']
    env:
      CACHE_KEY: ${{ runner-key }}-#
    steps:
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0
      - name: Set up Python ${{ matrix.python }}
        uses: actions/setup-python@v5
        with:
          python-version: ${{ matrix.python }}
      - name: Install what is needed
        run: |
          python -m pip install --upgrade pip
          python -m pip install -r requirements.txt
      - id: test
        name: Run the tests
        run: python -m pytest --junitxml=report.xml
        timeout-minutes: 20
      - name: Keep the report
        if: ${{ always() && steps.test.outcome != 'skipped' }}
        uses: actions/upload-artifact@v4
        with:
          name: report-${{ matrix.os }}-${{ matrix.python }}
          path: report.xml
""".replace("${{ runner-key }}", "key")


def full(unit: str, head: str, tail: str = "") -> bytes:
    """A file of full size: `unit` again and again, a number in place of #."""
    parts = [head]
    left = MAX_BYTES - len(head + tail)
    number = 0
    while (part := unit.replace("#", str(number))) and (left := left - len(part)) >= 0:
        parts.append(part)
        number += 1
    return "".join([*parts, tail]).encode()


ONE = "jobs: {a: {runs-on: x, steps: [{run: a}]}}"
VALUES = ", ".join(map(str, range(16)))
MATRIX = f"a: [{VALUES}], b: [{VALUES}], exclude: [{'{a: x},' * 100}]"
FILES = {
    "job": full(JOB, HEAD),
    "list": full("- a\n", ""),
    "steps": full("      - run: a\n", STEPS)[: 196 * 1024] + b"\n",
    "env": full("k#: v,", STEPS + "      - run: a\n        env: {", "}"),
    "expressions": full("      - run: ${{ vars.a# }}\n", STEPS),
    "long expressions": full("      - run: ${{ " + "0 == vars.b || " * 1390 + "# }}\n", STEPS),
    "filters": full(f"  j#: {{runs-on: x, strategy: {{matrix: {{{MATRIX}}}}}, steps: [{{run: a}}]}}\n", HEAD),
    "text": full("a", STEPS + "      - run: "),
    "names of events": full("n#,", "on: [", "]\n" + ONE),
    "keys of on": full("n#: 1,", "on: {", "}\n" + ONE),
    "patterns": full("b#,", "on: {push: {branches: [", "]}}\n" + ONE),
    "unknown keys": full("k#: a\n", ""),
    "wrong expressions": full("      - run: ${{ a# }}\n", STEPS),
    "warnings": full("      - run: ${{ github.head_ref }} ${{ env.A == true }}\n", STEPS),
    "numbers": full("0x1F,", "[", "]"),
    "same keys": full("a: b\n", ""),
    "lenient JSON": full("      - run: ${{ fromJSON('[" + "," * 20_000 + "]') }}\n", STEPS),
}


def judge(data: bytes) -> float:
    """Seconds to check a file, all caches empty."""
    parse_whole.cache_clear()
    split.cache_clear()
    start = time.perf_counter()
    parse(data)
    return time.perf_counter() - start


def main() -> None:
    """Print one JSON object: for each shape its size, verdict, time and memory."""
    best = dict.fromkeys(FILES, float("inf"))
    for _ in range(ROUNDS):
        for name, data in FILES.items():
            best[name] = min(best[name], judge(data))
    rows = {}
    for name, data in FILES.items():
        tracemalloc.start()
        judge(data)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        found = [finding.code for finding in parse(data).diagnostics if finding.severity == "error"]
        verdict = found[0] if found else "checks"
        rows[name] = {
            "bytes": len(data),
            "verdict": verdict,
            "ms": round(best[name] * 1000),
            "MiB": round(memory / 2**20, 1),
        }
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
