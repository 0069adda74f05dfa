"""A whole installation from nothing, on a machine without a compiler: slow, and it needs a package index."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from p2pwf import __version__
from tests.install.machine import COMPILERS, path_without, run, whole_tree

pytestmark = pytest.mark.long

# A bound for a hang: a slow line may take minutes.
SECONDS = 280


def interpreter(version: str) -> str | None:
    """An interpreter of that version on this machine, on PATH or where pyenv keeps them."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (f"python{version}", *map(str, kept.glob(f"{version}.*/bin/python3"))):
        try:
            subprocess.run([candidate, "-I", "-c", "import ensurepip, sqlite3, ssl"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_clone_installs_without_a_compiler_and_runs(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    clone = whole_tree(tmp_path / "clone")
    path = path_without(tmp_path / "bin", COMPILERS)
    env = {name: value for name, value in os.environ.items() if name not in {"CC", "CXX", "VIRTUAL_ENV", "PYTHONPATH"}}
    # Without pip's cache, or what was built here before would be taken from there.
    env |= {"PATH": str(path), "P2PWF_PYTHON": python, "PIP_NO_CACHE_DIR": "1"}
    assert not [name for name in ("cc", "gcc", "clang", "g++") if (path / name).exists()]

    installed = run(clone, "scripts/install", "--prefix", str(tmp_path / "prefix"), env=env, seconds=SECONDS)
    assert installed.returncode == 0, installed.stderr
    command = tmp_path / "prefix" / "bin" / "p2pwf"
    assert str(command) in installed.stdout

    version_said = run(tmp_path, str(command), "--version", env=env)
    assert version_said.returncode == 0, version_said.stderr
    assert __version__ in version_said.stdout
    libp2p = run(tmp_path, str(clone / ".venv/bin/python"), "-c", "import fastecdsa.curve, libp2p", env=env)
    assert libp2p.returncode == 0, libp2p.stderr

    stamps = {stamp: stamp.stat().st_mtime_ns for stamp in (clone / ".venv").glob(".p2pwf-*")}
    again = run(clone, "scripts/install", "--prefix", str(tmp_path / "prefix"), env=env, seconds=SECONDS)
    assert again.returncode == 0, again.stderr
    assert stamps == {stamp: stamp.stat().st_mtime_ns for stamp in (clone / ".venv").glob(".p2pwf-*")}
    assert "p2pwf:" not in again.stderr, "a second installation found work to do"

    packages = clone / "scripts" / "requirements.txt"
    packages.write_text(packages.read_text() + "# another state of the lock\n")
    refreshed = run(clone, "scripts/install", "--prefix", str(tmp_path / "prefix"), env=env, seconds=SECONDS)
    assert refreshed.returncode == 0, refreshed.stderr
    assert "p2pwf: installing" in refreshed.stderr
