"""T42, T43 and their kin: what a job tries in order to get out, at each level, as root and as another user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from p2pwf.isolation import Level
from p2pwf.runner.isolation.system import reachable
from tests.runner.isolation.attempts import ALLOWED, ATTEMPTS, OUT

ROOT = Path(__file__).parents[3]
PACKAGES = next(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
OTHER_USER = 61_050
ALWAYS_SAFE = frozenset(("use an inherited descriptor", "use the kernel's ciphers"))
"""What does not succeed at level none either: nothing is inherited, and few kernels have the ciphers."""


@cache
def run(level: str, folder: Path, user: int | None, *words: str) -> dict[str, str]:
    folder.mkdir(mode=0o755)
    python = sys.executable
    if user is not None:
        os.chown(folder, user, user)
        python = other_python()
    done = subprocess.run(
        [python, "-m", "tests.runner.isolation.attempts", level, str(folder), *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{PACKAGES}", "SECRET": "s3cret", "HOME": str(folder),
             "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        user=user, group=user, extra_groups=None if user is None else [],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["user"] == (os.getuid() if user is None else user)
    said: dict[str, str] = told["said"]
    return said


def other_python() -> str:
    """An interpreter of this version that every user may run."""
    own = Path(f"/usr/bin/python3.{sys.version_info[1]}")
    for python in (Path(sys.executable).resolve(), own):
        if python.exists() and reachable(python.parent):
            return str(python)
    pytest.skip(f"no Python {sys.version_info[0]}.{sys.version_info[1]} here that another user may run")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that other users may pass: pytest's own ones are private."""
    folder = tmp_path_factory.mktemp("attempts")
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.getuid() and str(above) != above.anchor and above.name != "tmp":
            above.chmod(above.stat().st_mode | 0o011)
    return folder


USERS = [pytest.param(None, id="own"), pytest.param(OTHER_USER, id="other")]


def need(user: int | None) -> None:
    if user is not None and os.getuid() != 0:
        pytest.skip("only root can start a process as another user")


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("level", ["process", "sandbox"])
def test_t42_t43_no_attempt_gets_out_of_a_level_that_promises_it(shared: Path, level: str, user: int | None) -> None:
    need(user)
    said = run(level, shared / f"{level}-{user}", user)
    out = {name for name, text in said.items() if OUT in text}
    assert len(said) == len(ATTEMPTS) >= 25
    assert out <= ALLOWED[Level[level]], {name: said[name] for name in out}


@pytest.mark.parametrize("user", USERS)
def test_t42_nothing_is_reached_where_there_is_no_network(shared: Path, user: int | None) -> None:
    need(user)
    said = run("sandbox", shared / f"lonely-{user}", user, "without-network")
    assert not {name for name, text in said.items() if OUT in text}


def test_t42_t43_the_attempts_succeed_without_the_guard(shared: Path) -> None:
    """The twin: each is a real one."""
    said = run("none", shared / "none", None)
    out = {name for name, text in said.items() if OUT in text}
    ours = {"read the key", "read another job's file", "connect to the control socket", "signal the node",
            "read the node's environment", "connect to an abstract socket", "connect to loopback"}  # fmt: skip
    assert ours <= out
    if os.getuid() == 0:
        assert set(said) - out <= ALWAYS_SAFE | {
            "type into a terminal",  # where the kernel itself refuses that (dev.tty.legacy_tiocsti)
            "talk to the machine's host",
            "use io_uring",
            "use the key ring",
            "leave the control group",
        }, {name: said[name] for name in set(said) - out}
