"""T47: what a process that has secrets leaves behind, shows and says: no core file, no trace, no error with one."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pwf.control.client import Client
from p2pwf.errors import P2pwfError
from p2pwf.node.jobs import Jobs, Running
from p2pwf.oneshot.request import RunRequest
from p2pwf.runner.log import FileLog
from p2pwf.runner.processes import Launch
from p2pwf.runner.values import JobResult
from p2pwf.workflow import StepScope
from p2pwf.workflow.templates import Scope
from tests.control.kit import node
from tests.runner.kit import make_request

PLAIN = "open-sesame"
LIMITS = """
import ctypes, resource, sys
if sys.argv[1:]:
    from p2pwf.undumped import undumped
    undumped()
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def limits_of(*words: str) -> list[str]:
    """The soft bound of core files, and whether a process may be dumped, of a process that could leave a core."""
    line = ["sh", "-c", 'ulimit -S -c "$(ulimit -H -c)"; exec "$0" "$@"', sys.executable, "-c", LIMITS, *words]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_t47_a_process_that_has_secrets_leaves_no_core() -> None:
    assert limits_of("guarded") == ["0", "0"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_t47_a_process_leaves_a_core_without_the_guard() -> None:
    assert limits_of()[1] == "1"


def test_t47_no_value_shows_where_objects_are_printed() -> None:
    request = make_request("jobs: {}", secrets={"A": PLAIN})
    assert PLAIN not in repr(attrs.evolve(request, own_secrets={"B": PLAIN}))
    for held in (
        Launch(("sh",), {"A": PLAIN}, Path()),
        Scope({"secrets": {"A": PLAIN}}),
        StepScope(env={"A": PLAIN}),
        RunRequest(file=Path("x.yml"), slots=1, secrets={"A": PLAIN}),
    ):
        assert PLAIN not in repr(held)


async def ended_by_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: bool) -> str | None:
    """What a node records of a job whose runner fails in a way that nobody foresaw."""
    told: list[Any] = []

    async def broken(*_: object) -> JobResult:
        raise ValueError(f"cannot put {PLAIN} anywhere")

    async def tell(ended: Any) -> None:
        told.append(ended)

    class Order:
        attempt = type("Attempt", (), {"run": type("Run", (), {"text": "r"})(), "job": "a"})()
        submission = type("Submission", (), {"author": "p"})()

    class NoBlobs:
        def put_file(self, _: Path) -> None:
            raise P2pwfError("no disk")

    async with trio.open_nursery() as nursery:
        nothing: Any = None
        blobs: Any = NoBlobs()
        runner = Jobs(
            work=tmp_path, blobs=blobs, reach=nothing, report=tell, nursery=nursery, spawner=None, identity=nothing,
            peer=nothing, engine=nothing, gatekeeper=nothing, recall=nothing,
            keeper=nothing,
        )  # fmt: skip
        monkeypatch.setattr(runner, "_run_job", broken)
        running = Running(FileLog(tmp_path / "log"), trio.Event(), 0.0)
        if guarded:
            running.masker.add(PLAIN)
        await runner._run(Order(), running)  # type: ignore[arg-type]
    return str(told[0].error)


async def test_t47_a_bug_is_told_and_logged_without_the_secrets_of_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = await ended_by_a_bug(tmp_path, monkeypatch, guarded=True)
    assert error == "a bug of this peer: ValueError('cannot put *** anywhere')"
    logged = "".join(capsys.readouterr())
    assert "cannot put *** anywhere" in logged
    assert PLAIN not in logged


async def test_t47_a_bug_tells_the_secrets_of_its_job_without_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PLAIN in str(await ended_by_a_bug(tmp_path, monkeypatch, guarded=False))
    assert PLAIN in "".join(capsys.readouterr())


async def test_t47_a_request_that_is_refused_is_refused_without_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    async with node() as (_, folder):
        client = Client(folder)
        bodies: list[dict[str, Any]] = [
            {"name": "A", "value": [PLAIN]},
            {"name": "A", "value": {PLAIN: PLAIN}},
            {"name": "A", "value": PLAIN, "more": PLAIN},
            {"name": "", "value": PLAIN},
            {"name": "A", "value": PLAIN, "environment": [PLAIN]},
            {"name": "A", "value": PLAIN, "submitters": PLAIN},
        ]
        for body in bodies:
            with pytest.raises(P2pwfError) as told:
                await trio.to_thread.run_sync(partial(client.call, "POST", "secrets", body=body))
            assert PLAIN not in json.dumps(told.value.to_json())
    assert PLAIN not in "".join(capsys.readouterr())
