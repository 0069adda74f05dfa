"""The locks in scripts/: complete, hashed, and of wheels for every Python and system that we promise."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.install.machine import ROOT

RUN = ["requirements.txt"]
ALL = ["requirements-build.txt", "requirements.txt", "requirements-test.txt"]
# The two packages that are published as source only.
FROM_SOURCE = ["python-baseconv", "varint"]
PLATFORMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]
MACHINES = [(python, *platform) for python in ("3.11", "3.12", "3.13") for platform in PLATFORMS]


def logical_lines(name: str) -> list[str]:
    """The lines of a requirements file, continued ones joined, comments left out."""
    text = (ROOT / "scripts" / name).read_text().replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def entries(name: str) -> list[str]:
    return [line for line in logical_lines(name) if not line.startswith("--")]


def pins(names: list[str], environment: dict[str, str]) -> dict[str, str]:
    """Package to version, of what the locks install on a machine."""
    found: dict[str, str] = {}
    for name in names:
        for line in entries(name):
            requirement = Requirement(line.split(" --hash")[0])
            if requirement.marker is None or requirement.marker.evaluate(environment):
                version = str(requirement.specifier).removeprefix("==")
                assert found.setdefault(canonicalize_name(requirement.name), version) == version
    return found


def environment(python: str, system: str, machine: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
        "extra": "",
    }


def declared() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", ALL)
def test_every_entry_is_one_version_with_hashes(name: str) -> None:
    assert entries(name)
    for line in entries(name):
        assert re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*==[^ ]+ ", line), line
        assert re.search(r" --hash=sha256:[0-9a-f]{64}(\s|$)", line), line
        assert "://" not in line, "an address would tie everybody to one index"


@pytest.mark.parametrize("name", ALL)
def test_only_the_two_packages_without_wheels_may_be_built(name: str) -> None:
    options = [line for line in logical_lines(name) if line.startswith("--")]
    allowed = [f"--no-binary {package}" for package in FROM_SOURCE] if name in RUN else []
    assert options == ["--only-binary :all:", *allowed]


@pytest.mark.parametrize("package", FROM_SOURCE)
def test_what_is_built_needs_no_compiler(package: str) -> None:
    files = importlib.metadata.files(package)
    assert files
    assert not [file for file in files if Path(file).suffix in {".so", ".dylib", ".pyd", ".c", ".pyx"}]


@pytest.mark.parametrize("machine", MACHINES, ids=" ".join)
def test_the_lock_meets_what_the_project_declares(machine: tuple[str, str, str]) -> None:
    project = declared()
    here = environment(*machine)
    locked = pins(ALL, here)
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    for group in project["dependency-groups"].values():
        wanted += [line for line in group if isinstance(line, str)]
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("machine", MACHINES, ids=" ".join)
def test_the_lock_is_closed_under_what_installed_packages_require(machine: tuple[str, str, str]) -> None:
    here = environment(*machine)
    locked = pins(ALL, here)
    for name in locked:
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # locked for another system than this one
        for requirement in map(Requirement, requires):
            if requirement.marker is None or requirement.marker.evaluate(here):
                assert canonicalize_name(requirement.name) in locked, f"{name} needs {requirement}"


def test_fastecdsa_is_one_that_has_wheels() -> None:
    for machine in MACHINES:
        assert int(pins(RUN, environment(*machine))["fastecdsa"].split(".")[0]) >= 4


def test_the_interpreters_that_bootstrap_takes_are_those_that_the_project_declares() -> None:
    assert declared()["project"]["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] < (3, 14)" in (ROOT / "scripts" / "bootstrap").read_text()
