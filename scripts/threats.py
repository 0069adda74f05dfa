"""Writes into SECURITY.md which tests hold each attack: those whose names begin with its number.

    python scripts/threats.py            writes the table anew
    python scripts/threats.py --check    exits with 1, and says why, if it is not as it would be written

A test is `test_tNN_…`, or `test_tNN_tMM_…` for several. A twin, which takes the guard away, is `test_tNN_without_…` (or
`…_with_…`, something weaker), or ends in `_without_the_guard`. Reads names only.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "SECURITY.md"
_ROW = re.compile(r"^\| (T\d\d) \| ([^|]+) \|[^|]*\|$", re.MULTILINE)


def numbered() -> dict[str, list[tuple[str, str]]]:
    """By number, the tests that carry it, as (file, function), in the order of files."""
    found: dict[str, list[tuple[str, str]]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            numbers = re.match(r"test((?:_t\d\d)+)_", node.name)
            for number in re.findall(r"t\d\d", numbers[1]) if numbers else ():
                found.setdefault(number.upper(), []).append((file.relative_to(ROOT).as_posix(), node.name))
    return found


def is_twin(name: str) -> bool:
    """Whether a test takes a guard away."""
    return re.match(r"test(_t\d\d)+_with(out)?_", name) is not None or name.endswith("_without_the_guard")


def cell(tests: list[tuple[str, str]]) -> str:
    """What the table says of one attack."""
    holding = [f"`{file}::{name}`" for file, name in tests if not is_twin(name)]
    twins = sum(is_twin(name) for _, name in tests)
    with_twins = f"{twins} twin{'s' if twins > 1 else ''}" if twins else ""
    return "<br>".join([*holding, *([with_twins] if with_twins else [])])


def written(page: str) -> str:
    """The page with its table as it should be."""
    tests = numbered()
    return _ROW.sub(lambda row: f"| {row[1]} | {row[2]} | {cell(tests.get(row[1], []))} |", page)


def main(words: list[str]) -> int:
    page = PAGE.read_text(encoding="utf-8")
    new = written(page)
    if words == ["--check"]:
        if new != page:
            print("SECURITY.md: the table of attacks is not current: python scripts/threats.py", file=sys.stderr)
        return int(new != page)
    PAGE.write_text(new, encoding="utf-8")
    lacking = [number for number, _ in _ROW.findall(new) if number not in numbered()]
    if lacking:
        print(f"no test yet: {', '.join(lacking)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
