"""What a user can get wrong, and what can go wrong around a node: one error, a hint, a code, and nothing changed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from p2pwf.core.tickets import parse_ticket
from tests.e2e.kit import PATIENCE, Node, p2pwf, workflow
from tests.install.machine import path_without

LISTEN = ("--listen", "/ip4/127.0.0.1/tcp/0")
WORK = "labels: p2p-workflow\non: workflow_dispatch\njobs: {a: {runs-on: linux, steps: [{run: echo hi}]}}\n"


def refused(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    """It ended with that code, and said no more than one error and a hint."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert [word for word in says if word not in done.stderr] == [], done.stderr


def contents(folder: Path) -> dict[str, str]:
    """What the files of a folder hold, but for what SQLite lays beside them to read them."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file() and not path.name.endswith(("-wal", "-shm")) and path.name != "lock"
    }


def test_a_first_start_that_fails_leaves_nothing_and_uses_no_ticket_up(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one, Node(tmp_path / "two") as two:
        one.start().ready()
        good = parse_ticket(ticket := one.ticket())
        wrong = attrs.evolve(good, secret=bytes(len(good.secret))).to_text()
        taken = one.info["addrs"][0].split("/p2p/")[0]
        before = one.ask("clock", "heads")
        refused(p2pwf("up", *LISTEN, "--join", wrong, data=two.folder), 5, "not admitted", "p2pwf invite")
        assert not two.folder.exists()
        two.folder.mkdir(mode=0o700)
        (two.folder / "config.toml").write_text("slots = 1\n")
        told = p2pwf("up", "--listen", taken, "--join", ticket, data=two.folder)
        refused(told, 6, f"cannot listen on {taken}: the port is in use")
        assert [path.name for path in two.folder.iterdir()] == ["config.toml"]
        assert one.ask("clock", "heads") == before
        assert two.start("--join", ticket).ready().info["network"] == one.info["network"]


def test_a_data_folder_that_is_damaged_or_lost_its_key_stays_as_it_is(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one:
        one.start().ready()
        assert one.stop() == 0
    database = one.folder / "events.db"
    whole = database.read_bytes()
    database.write_bytes(whole[:4096] + b"\xff" * 4096 + whole[8192:])
    before = contents(one.folder)
    refused(p2pwf("up", *LISTEN, data=one.folder), 6, f"{database} is damaged", "put a backup in its place")
    assert contents(one.folder) == before
    database.write_bytes(whole)
    (one.folder / "identity.key").unlink()
    refused(p2pwf("up", *LISTEN, data=one.folder), 5, "identity.key is missing", "restore it")
    assert not (one.folder / "identity.key").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a limit can be set for another process only there")
def test_a_full_disk_is_told_to_whoever_submits_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    import resource

    file = workflow(tmp_path / "w", WORK)
    with Node(tmp_path / "one", "--slots", "0") as one:
        one.start().ready()
        before = one.ask("clock", "heads")
        assert one.process is not None
        # Any user may set it, and the store fails to write as it does on a full disk.
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        told = p2pwf("workflow", "submit", str(file), "--no-source", data=one.folder)
        refused(told, 6, f"{one.folder}/events.db")
        assert one.process.wait(PATIENCE) == 6
        one.kill()  # gone already: what is left of it is closed
        assert one.errors().splitlines()[-1].startswith('{"error": {"code": "storage"')
        one.start().ready()
        assert one.ask("clock", "heads") == before
        assert one.ask("workflow", "list") == []


def test_a_repository_of_somebody_else_is_refused_with_three_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workflow(tmp_path / "w", WORK)
    subprocess.run(["git", "init", "-q", str(file.parent)], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as git's own tests do
    with Node(tmp_path / "one", "--slots", "0") as one:
        one.start().ready()
        before = one.ask("clock", "heads")
        told = p2pwf("workflow", "submit", str(file), data=one.folder)
        refused(told, 5, str(file.parent), "belongs to another user", "safe.directory", "--source", "--no-source")
        folder = p2pwf("workflow", "submit", str(file.parent), "--no-source", data=one.folder)
        refused(folder, 2, f"{file.parent} is not a plain file")
        assert one.ask("clock", "heads") == before
        assert one.submit(file, "--no-source")


def test_without_git_the_folder_of_the_file_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = workflow(tmp_path / "w", WORK.replace("steps: [", "steps: [{uses: actions/checkout@v4}, {run: cat note}, "))
    (file.parent / "note").write_text("taken along")
    subprocess.run(["git", "init", "-q", str(file.parent)], check=True)
    monkeypatch.setenv("PATH", str(path_without(tmp_path / "bin", "git")))
    with Node(tmp_path / "one") as one:
        one.start().ready()
        run = one.submit(file)
        assert one.wait_for(run)["status"] == "completed"
        assert "taken along" in p2pwf("workflow", "logs", run, data=one.folder).stdout
