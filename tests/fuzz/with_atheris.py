"""Fuzzes by coverage, for as long as you like; not part of the tests. Needs `pip install atheris`.

    PYTHONPATH=. python tests/fuzz/with_atheris.py loader -max_total_time=600 tests/fuzz/findings/loader

The first word is a target of `targets.py`; what follows goes to libFuzzer: options, and the folder of its corpus. Put
what it finds, made small, into `tests/fuzz/findings/TARGET/`, where the tests replay it for ever.
"""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Run one target until libFuzzer ends it."""
    atheris = importlib.import_module("atheris")
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    with atheris.instrument_imports(include=["p2pwf.workflow", "p2pwf.runner.output", "p2pwf.cli.expr"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    if name not in targets:
        raise SystemExit(f"which one? {', '.join(targets)}")
    atheris.Setup(sys.argv, targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
