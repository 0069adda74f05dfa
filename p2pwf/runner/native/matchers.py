"""Problem matchers that come with the set-up of a tool: errors in its usual output become annotations.

Source: the public documentation of setup-python and setup-node names the outputs that they know: tracebacks of
Python; the TypeScript compiler, and eslint in its formats `compact` and `stylish`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from p2pwf.errors import UsageError
from p2pwf.runner.native.context import NativeContext

PYTHON: Final[Sequence[Mapping[str, Any]]] = (
    {
        "owner": "python",
        "pattern": [
            {"regexp": r'^\s*File "(.+)", line (\d+)', "file": 1, "line": 2},
            {"regexp": r"^\s*raise [\w.]+\(['\"](.*)['\"]\)", "message": 1},
        ],
    },
)
NODE: Final[Sequence[Mapping[str, Any]]] = (
    {
        "owner": "tsc",
        "pattern": [
            {
                "regexp": r"^(\S.*?)\((\d+),(\d+)\): (error|warning) (TS\d+): (.*)$",
                "file": 1,
                "line": 2,
                "column": 3,
                "severity": 4,
                "code": 5,
                "message": 6,
            }
        ],
    },
    {
        "owner": "eslint-compact",
        "pattern": [
            {
                "regexp": r"^(\S.*): line (\d+), col (\d+), (Error|Warning) - (.+) \((.+)\)$",
                "file": 1,
                "line": 2,
                "column": 3,
                "severity": 4,
                "message": 5,
                "code": 6,
            }
        ],
    },
    {
        "owner": "eslint-stylish",
        "pattern": [
            {"regexp": r"^([^\s:]\S*\.\w+)$", "file": 1},
            {
                "regexp": r"^\s+(\d+):(\d+)\s+(error|warning)\s+(.+?)\s\s+(\S+)$",
                "line": 1,
                "column": 2,
                "severity": 3,
                "message": 4,
                "code": 5,
                "loop": True,
            },
        ],
    },
)


def add(context: NativeContext, name: str, matchers: Sequence[Mapping[str, Any]]) -> None:
    """Use these for the steps that follow; where matchers cannot be used, the job does without them."""
    try:
        context.state.matchers.add(f"of setup-{name}", json.dumps({"problemMatcher": matchers}).encode())
    except UsageError as error:
        context.say(f"##[debug]{error.message}")
