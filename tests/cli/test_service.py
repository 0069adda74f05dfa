"""The systemd unit: what it says, where it goes, what systemd is asked for."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from shutil import which

import pytest

from p2pwf.cli import service as module
from p2pwf.cli.main import run
from p2pwf.cli.unit import check_reach, unit_text
from p2pwf.errors import Refused, UsageError

ODD = 'a "$x%h\\ b'


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the unit of this user lies, in a home of its own, on a machine that no systemd runs."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("P2P_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(module, "BOOTED", tmp_path / "none")
    return tmp_path / "config/systemd/user/p2pwf.service"


def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> Path:
    """A systemd as far as a command can tell: a systemctl that writes down what it is asked for."""
    asked = tmp_path / "asked"
    program = tmp_path / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(asked))}\necho no bus >&2\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(module, "BOOTED", tmp_path)
    return asked


def test_installed_without_systemd_it_says_what_to_do(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "install", "--user", "--now", "--", "--name", ODD, "--slots", "2"]) == 0
    out = capsys.readouterr().out
    assert f"wrote {unit}\n" in out
    assert "  systemctl --user enable p2pwf.service\n  systemctl --user restart --no-block p2pwf.service\n" in out
    text = unit.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert line.endswith(f' up --data-dir {unit.parents[3] / "data"} --name "a \\"$$x%%h\\\\ b" --slots 2')
    reload = line.partition(" up ")[0].replace("ExecStart=", "ExecReload=")
    assert f"\n{reload} policy reload --data-dir {unit.parents[3] / 'data'}\n" in text
    for said in ("Type=notify", "Restart=on-failure", "RestartPreventExitStatus=2 5", "TimeoutStartSec=infinity"):
        assert f"\n{said}\n" in text
    assert run(["service", "show", "--user", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"unit": str(unit), "text": text, "enabled": None, "active": None}
    assert run(["service", "uninstall", "--user"]) == 0
    assert not unit.exists()
    for words in (["show"], ["uninstall"]):
        assert run(["service", *words, "--user"]) == 4


def test_systemd_is_asked_to_enable_it_and_to_start_it_only_if_told_to(
    unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = systemd(tmp_path, monkeypatch)
    assert run(["service", "install", "--user", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["started"] is False
    assert run(["service", "install", "--user", "--now"]) == 0  # what is ours may be written anew
    assert run(["service", "uninstall", "--user"]) == 0
    assert asked.read_text().splitlines() == [
        "--user daemon-reload", "--user enable p2pwf.service",
        "--user daemon-reload", "--user enable p2pwf.service", "--user restart --no-block p2pwf.service",
        "--user disable --now p2pwf.service", "--user daemon-reload",
    ]  # fmt: skip


def test_a_systemd_that_fails_is_told(
    unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd(tmp_path, monkeypatch, code=1)
    assert run(["service", "install", "--user"]) == 6
    assert capsys.readouterr().err.startswith("error: `systemctl --user daemon-reload` failed: no bus\nhint: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--slots", "many"], "many"),
        (["--listen", "nonsense"], "nonsense"),
        (["--join", "p2pwf1x"], "a ticket is good once"),
        (["--data-dir", "/x"], "before the --"),
        (["--name", "two\nlines"], "not a name"),
        (["--name", "n" * 65], "at most 64 characters"),
        (["--label", "l" * 65], "at most 64 characters"),
        (["--label", "a b\x1b[2J"], "not a label"),
        ([word for number in range(31) for word in ("--label", f"l{number}")], "give at most 30"),
    ],
)
def test_options_that_no_service_can_have_are_refused_and_nothing_is_written(
    words: list[str], said: str, unit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["service", "install", "--user", "--", *words]) == 2
    assert said in capsys.readouterr().err
    assert not unit.exists()


def test_a_unit_of_somebody_else_stays(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/mine\n")
    for words in ("install", "uninstall", "show"):
        assert run(["service", words, "--user"]) == 5
        assert "was not written by p2pwf" in capsys.readouterr().err
    assert unit.read_text() == "[Service]\nExecStart=/mine\n"


def test_a_system_service_has_a_user_and_a_state_folder_of_its_own(tmp_path: Path) -> None:
    text = unit_text(True, Path("/var/lib/p2pwf-ci"), ("--slots", "2"))
    for said in ("DynamicUser=yes", "StateDirectory=p2pwf-ci", "Environment=HOME=%S/p2pwf-ci", "ProtectHome=yes"):
        assert f"\n{said}\n" in text
    with pytest.raises(UsageError, match="keeps its data in /var/lib"):
        unit_text(True, tmp_path, ())
    with pytest.raises(UsageError, match="too long"):
        unit_text(False, tmp_path / ("x" * 100), ())
    program = tmp_path / "bin/python"
    program.parent.mkdir(mode=0o700)
    program.touch(0o755)
    with pytest.raises(Refused, match="closed to it"):
        check_reach(program)
    check_reach(Path("/bin/sh").resolve())


@pytest.mark.skipif(which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("system", [True, False])
def test_systemd_understands_the_unit(system: bool, tmp_path: Path) -> None:
    path = tmp_path / "p2pwf.service"
    path.write_text(unit_text(system, Path("/var/lib/p2pwf"), ("--name", ODD), ("/bin/true",)))
    where = [] if system else ["--user"]
    runtime = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        ["systemd-analyze", *where, "verify", str(path)], capture_output=True, text=True, timeout=60, check=False,
        env=runtime,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
