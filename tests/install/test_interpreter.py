"""Which Python bootstrap takes, and what it says where there is none. No package is installed here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.install.machine import PYTHONS, path_without, program, run, scripts_only

# Stands in for an interpreter: passes for fitting, and writes down what else it is asked to do.
RECORDER = 'case "$*" in *ensurepip*) exit 0 ;; *) printf "%s %s\\n" "$0" "$*" >>"$RECORD"; exit 9 ;; esac'
WITHOUT_ENSUREPIP = (
    f"""exec {sys.executable} -I -c 'import sys; sys.modules["ensurepip"] = None; exec(sys.argv[1])' "$3" """
)
SHIM = 'echo "pyenv: $(basename "$0"): command not found" >&2; exit 127'


class Machine:
    """A machine on which only the interpreters that a test puts there exist."""

    def __init__(self, folder: Path) -> None:
        self.repository = scripts_only(folder / "repository")
        self.bin = path_without(folder / "bin", PYTHONS)
        self.home = folder / "home"
        self.home.mkdir()
        self.record = folder / "record"
        self.env = {"PATH": str(self.bin), "HOME": str(self.home), "RECORD": str(self.record)}

    def interpreter(self, name: str, text: str) -> None:
        program(self.bin, name, text)

    def bootstrap(self, **env: str) -> subprocess.CompletedProcess[str]:
        return run(self.repository, str(self.bin / "bash"), "-c", ". scripts/bootstrap", env=self.env | env)

    def asked(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def said(result: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """The error and the hint of a bootstrap that gave up: one line each, at the end, nothing on stdout."""
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1, result.stderr
    assert lines[-2].startswith("error: "), result.stderr
    assert lines[-1].startswith("hint: "), result.stderr
    return lines[-2].removeprefix("error: "), lines[-1].removeprefix("hint: ")


def test_the_newest_of_several_interpreters_makes_the_environment(machine: Machine) -> None:
    for name in ("python3", "python3.11", "python3.12"):
        machine.interpreter(name, RECORDER)
    machine.bootstrap()
    assert [line.split()[0] for line in machine.asked()] == [str(machine.bin / "python3.12")]
    assert " -m venv " in machine.asked()[0]


def test_a_shim_that_does_not_run_is_passed_over(machine: Machine) -> None:
    machine.interpreter("python3.13", SHIM)
    machine.interpreter("python3.11", RECORDER)
    machine.bootstrap()
    assert [line.split()[0] for line in machine.asked()] == [str(machine.bin / "python3.11")]


def test_an_interpreter_that_only_pyenv_knows_is_found(machine: Machine) -> None:
    machine.interpreter("python3.13", SHIM)
    place = machine.home / ".pyenv" / "versions" / "3.13.9" / "bin"
    place.mkdir(parents=True)
    program(place, "python3", RECORDER)
    machine.bootstrap()
    assert [line.split()[0] for line in machine.asked()] == [str(place / "python3")]


def test_the_interpreter_named_in_the_environment_is_taken(machine: Machine) -> None:
    machine.interpreter("python3.13", RECORDER)
    machine.interpreter("mine", RECORDER)
    machine.bootstrap(P2PWF_PYTHON=str(machine.bin / "mine"))
    assert [line.split()[0] for line in machine.asked()] == [str(machine.bin / "mine")]


def test_an_interpreter_named_in_the_environment_that_does_not_fit_is_an_error(machine: Machine) -> None:
    machine.interpreter("python3.13", RECORDER)
    error, hint = said(machine.bootstrap(P2PWF_PYTHON="false"))
    assert error.startswith("P2PWF_PYTHON=false is not")
    assert "unset P2PWF_PYTHON" in hint


def test_without_any_python_one_error_says_what_to_install(machine: Machine) -> None:
    (machine.bin / "git").unlink()
    program(machine.bin, "apt-get", "exit 1")
    program(machine.bin, "apt-cache", '[ "$2" = python3.12-venv ]')
    error, hint = said(machine.bootstrap())
    assert error == "no Python 3.11, 3.12 or 3.13 found, and no git"
    assert "apt-get install python3.12 python3.12-venv git" in hint


def test_an_interpreter_without_ensurepip_names_its_own_venv_package(machine: Machine) -> None:
    program(machine.bin, "apt-get", "exit 1")
    machine.interpreter("python3", WITHOUT_ENSUREPIP)
    error, hint = said(machine.bootstrap())
    package = f"python3.{sys.version_info.minor}-venv"
    assert f"{package} is missing" in error
    assert hint.endswith(f"apt-get install {package}")


def test_the_tests_without_git_name_git(machine: Machine) -> None:
    (machine.bin / "git").unlink()
    program(machine.bin, "apt-get", "exit 1")
    machine.interpreter("python3.13", RECORDER)
    error, hint = said(machine.bootstrap(BOOTSTRAP_TOOLS="test"))
    assert error == "the tests need git"
    assert hint.endswith("apt-get install git")
    assert machine.asked() == []


def test_a_lock_whose_holder_is_gone_holds_nobody_up(machine: Machine) -> None:
    machine.interpreter("python3.13", RECORDER)
    ended = subprocess.Popen(["/usr/bin/env", "true"])
    ended.wait()
    (machine.repository / ".venv.lock").mkdir()
    (machine.repository / ".venv.lock" / "pid").write_text(f"{ended.pid}\n")
    machine.bootstrap()
    assert len(machine.asked()) == 1
    assert not (machine.repository / ".venv.lock").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_repository_of_somebody_else_is_an_error_that_says_so(machine: Machine) -> None:
    machine.interpreter("python3.13", RECORDER)
    machine.repository.chmod(0o555)
    try:
        error, _ = said(machine.bootstrap())
    finally:
        machine.repository.chmod(0o755)
    assert "is not writable" in error
