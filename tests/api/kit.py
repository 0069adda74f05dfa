"""Coordinators on folders, and workflow files to hand in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = """\
name: {name}
on: {{workflow_dispatch: {{inputs: {{level: {{default: "1"}}}}}}, push: {{}}}}
labels: {labels}
jobs:
  build: {{runs-on: ubuntu-latest, steps: [{{run: "true"}}]}}
  test: {{needs: build, runs-on: ubuntu-latest, steps: [{{run: "true"}}]}}
"""


def workflow(folder: Path, name: str = "nightly", labels: str = "p2p-workflow", file: str = "work.yml") -> Path:
    """A workflow file of two jobs."""
    path = folder / file
    path.write_text(TEXT.format(name=name, labels=labels))
    return path


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that runs `script`, its output piped and line-buffered."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
