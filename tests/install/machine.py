"""Machines that lack something: a copy of the repository, and a PATH without the programs named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHONS: Final = r"python[0-9.]*|pypy.*|uv|uvx"
COMPILERS: Final = r"(.*-)?(cc|gcc|c\+\+|g\+\+|clang|clang\+\+|tcc|rustc|cargo)(-[0-9.]+)?|c[89]9.*"


def path_without(folder: Path, *hidden: str) -> Path:
    """Fill a folder with links to every program on PATH whose name matches none of the patterns: a PATH of its own."""
    folder.mkdir()
    pattern = re.compile("|".join(hidden))
    for place in os.get_exec_path():
        if not os.access(place, os.R_OK):
            continue
        for program in Path(place).iterdir():
            link = folder / program.name
            if not link.is_symlink() and not pattern.fullmatch(program.name) and os.access(program, os.X_OK):
                link.symlink_to(program)
    return folder


def program(folder: Path, name: str, text: str) -> None:
    """Put a bash script of that name in front of whatever the folder had."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
    (folder / name).chmod(0o755)


def scripts_only(folder: Path) -> Path:
    """What bootstrap reads before it installs the first package, in a folder of its own."""
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def whole_tree(folder: Path) -> Path:
    """The working tree as git sees it: what a clone would bring, had everything been committed."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listing.stdout.decode().split("\0")):
        if (ROOT / name).is_file():  # not one that is deleted and not yet committed so
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def run(
    repository: Path, *command: str, env: Mapping[str, str], seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository with just this environment; `seconds` bounds a hang and measures nothing."""
    return subprocess.run(
        command, cwd=repository, env=dict(env), capture_output=True, text=True, timeout=seconds, check=False
    )
