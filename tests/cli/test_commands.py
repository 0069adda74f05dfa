"""Commands as a user starts them: processes that talk to a real server over a real socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pwf.cli.main import run
from tests.control.kit import ME, OTHER, MemoryApi, node


async def cli(folder: Path | None, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of one command line, with stdout as a pipe."""
    given = [] if folder is None else ["--data-dir", str(folder)]
    done = await trio.run_process(
        [sys.executable, "-m", "p2pwf.cli.main", *arguments, *given],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def here(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """The same in this process, in a thread: for long tables of cases."""

    def ask() -> tuple[int, str, str]:
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            code = run([*arguments, "--data-dir", str(folder)])
        return code, out.getvalue(), err.getvalue()

    return await trio.to_thread.run_sync(ask)


async def answer(folder: Path, *arguments: str) -> Any:
    """The one JSON value that a command prints."""
    code, out, err = await here(folder, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def workflow(folder: Path) -> str:
    file = folder / "a.yml"
    file.write_text("jobs:\n")
    return str(file)


async def submitted(folder: Path) -> str:
    made = await answer(folder, "workflow", "submit", workflow(folder))
    assert made == {"workflow_id": made["workflow_id"], "status": "assigned", "copies": 2}
    return str(made["workflow_id"])


async def test_a_submission_carries_every_option() -> None:
    async with node() as (api, folder):
        (folder / "event.json").write_text('{"ref": "x"}')
        (folder / "in.json").write_text('{"a": 1, "b": 2}')
        code, out, err = await cli(
            folder, "workflow", "submit", workflow(folder), "--name", "n", "--priority", "1", "--event", "push",
            "--event-file", str(folder / "event.json"), "--inputs", f"@{folder / 'in.json'}", "--input", "b=x=y",
            "--source", str(folder), "--force",
        )  # fmt: skip
        assert code == 0
        assert out.splitlines()[1] == "bafyreirun00000000"
        assert err == "left out of the source: .env\n"
        request = api.requests[0]
        assert (request.name, request.priority, request.event, request.force) == ("n", 1.0, "push", True)
        assert (request.payload, request.inputs) == ({"ref": "x"}, {"a": 1, "b": "x=y"})
        assert request.source_dir == str(folder)


@pytest.mark.parametrize(("conclusion", "code"), [("success", 0), ("failure", 1), ("cancelled", 1)])
async def test_wait_and_watch_exit_with_the_conclusion(conclusion: str, code: int) -> None:
    async with node() as (api, folder):
        results: dict[str, tuple[int, str, str]] = {}

        async def start(name: str, *arguments: str) -> None:
            results[name] = await cli(folder, *arguments)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, "wait", "workflow", "submit", workflow(folder), "--wait", "--json")
            await api.until_streams(1)
            run = next(iter(api.runs))
            nursery.start_soon(start, "watch", "workflow", "watch", run)
            await api.until_streams(2)
            api.end(run, conclusion)
        assert (results["wait"][0], results["watch"][0]) == (code, code), results
        final = json.loads(results["wait"][1])
        assert (final["workflow_id"], final["conclusion"]) == (run, conclusion)
        lines = results["watch"][1].splitlines()
        assert f"{conclusion} on alice in 1.5s" in "\n".join(lines)
        assert f"{final['status']} in 1.5s" in lines[-1]


async def test_lists_are_whole_in_json_and_short_for_people() -> None:
    async with node() as (_, folder):
        run = await submitted(folder)
        (listed,) = await answer(folder, "workflow", "list", "--status", "assigned")
        assert listed["workflow_id"] == run
        assert "jobs" not in listed
        assert await answer(folder, "workflow", "list", "--peer-id", OTHER) == []
        code, out, _ = await cli(folder, "workflow", "list")
        assert code == 0
        assert f"…{run[-8:]}" in out
        assert run not in out
        assert "alice" in out
        code, out, _ = await cli(folder, "workflow", "status", f"…{run[-8:]}")
        assert code == 0
        assert run in out
        assert "m (2)" in out


async def test_cancel_and_update() -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        assert (await answer(folder, "workflow", "update", run, "--priority", "0.5"))["priority"] == 0.5
        code, _, err = await cli(folder, "workflow", "update", run, "completed")
        assert code == 5
        assert err.startswith("error: the status follows")
        assert await answer(folder, "workflow", "cancel", run) == {"workflow_id": run}
        assert api.runs[run]["status"] == "cancelled"
        assert await answer(folder, "workflow", "assign") == []


async def test_peers_and_tickets() -> None:
    async with node() as (api, folder):
        assert [one["peer_id"] for one in await answer(folder, "peer", "list")] == [ME, OTHER]
        api.members[OTHER].update(connected=True, offences=3)
        assert "connected, 3 offences" in (await cli(folder, "peer", "list"))[1]
        api.members[OTHER].update(connected=False, offences=20, banned_for=42.0)
        assert "banned for 42" in (await cli(folder, "peer", "list"))[1]
        assert await answer(folder, "peer", "add", "new") == {
            "peer_id": "new",
            "roles": ["run", "submit"],
            "name": None,
        }
        assert (await answer(folder, "peer", "remove", "new", "--keep-runs"))["removed"] is True
        made = await answer(folder, "invite", "--ttl", "90s", "--roles", "run")
        assert made["roles"] == ["run"]
        assert made["expires"] % 1_000_000 == 90_000
        code, out, err = await cli(folder, "invite")
        assert (code, out) == (0, "p2pwf1abc\n")
        assert "good once" in err
        assert "warning" not in err
        code, out, err = await cli(folder, "invite", "--roles", "run,admin", "--qr")
        assert (code, out.endswith("\np2pwf1abc\n")) == (0, True)
        assert set("\u2580\u2584\u2588") <= set(out)
        assert "warning: this ticket names loopback addresses only" in err
        assert "hint: let the node listen" in err
        assert (await cli(folder, "invite", "--ttl", "soon"))[0] == 2
        assert (await cli(folder, "peer", "add", "x", "--roles", "king"))[0] == 2
        assert "nobody" in (await cli(folder, "peer", "list", "--pending"))[1]


async def test_the_clock_and_the_node() -> None:
    async with node() as (_, folder):
        assert (await answer(folder, "clock", "heads"))[0]["cid"] == "bafyhead"
        code, out, err = await cli(folder, "clock", "log", "--raw")
        assert code == 5
        assert [json.loads(line)["block"] for line in out.splitlines()] == ["AA==", "AA=="]
        assert err.startswith("error: event 2")
        code, out, _ = await cli(folder, "clock", "verify")
        assert code == 1
        assert "signature is wrong" in out
        assert (await answer(folder, "stats"))["store"] == {"commits": 3}
        assert (await answer(folder, "status"))["peer_id"] == ME
        assert "1 connected, 2 members" in (await cli(folder, "status"))[1]


async def test_explain_shows_the_order_and_who_was_passed_over() -> None:
    async with node() as (_, folder):
        run = await submitted(folder)
        assert (await answer(folder, "explain", run, "build"))["owner"] == ME
        _, out, _ = await cli(folder, "explain", run, "build")
        bob, alice = out.splitlines()[-2:]
        assert bob.split() == ["1", "120", "bob", f"…{OTHER[-8:]}", "no", "slot", "free"]
        assert alice.split() == ["2", "130", "alice", f"…{ME[-8:]}", "owner"]
        code, _, err = await cli(folder, "explain", run, "m")
        assert (code, err.splitlines()[1]) == (2, "hint: name one of m#0, m#1")


async def test_log_lines_of_several_jobs_are_told_apart_and_cannot_act_on_a_terminal() -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        api.log("\x1b[32mgreen\x1b[0m \x1b]0;title\x07\x1b[2Jgone\r!")
        api.log("two", job="m")
        _, out, _ = await cli(folder, "workflow", "logs", run)
        assert out == "build  green gone!\nm      two\n"
        _, out, _ = await cli(folder, "workflow", "logs", run, "--job", "m", "-f")
        assert out == "m      two\n", "m has several legs"
        _, out, _ = await cli(folder, "workflow", "logs", run, "--job", "m#0")
        assert out == "two\n"
        _, out, _ = await cli(folder, "workflow", "logs", run, "--json")
        assert json.loads(out.splitlines()[0])["text"].startswith("\x1b[32mgreen")


async def test_the_two_common_options_go_anywhere() -> None:
    async with node() as (_, folder):
        for line in (
            ["--json", "--data-dir", str(folder), "workflow", "list"],
            ["workflow", "--json", f"--data-dir={folder}", "list"],
            ["workflow", "list", "--data-dir", str(folder), "--json"],
        ):
            assert await cli(None, *line) == (0, "[]\n", "")
        assert await cli(None, "workflow", "list", "--json", P2P_DATA_DIR=str(folder)) == (0, "[]\n", "")


async def test_an_invalid_workflow_shows_every_finding_with_its_place() -> None:
    async with node() as (_, folder):
        (folder / "b.yml").write_text("nothing\n")
        code, out, err = await cli(folder, "workflow", "submit", str(folder / "b.yml"))
        assert (code, out) == (2, "")
        assert err.splitlines() == [
            "error: a.yml:4:3: bad 4 (and 1 more)",
            "  a.yml:4:3: error: bad 4",
            "  a.yml:7:3: error: bad 7",
            "hint: mend it",
        ]
        code, out, err = await cli(folder, "workflow", "submit", str(folder / "b.yml"), "--json")
        assert (code, out) == (2, "")
        assert [one["line"] for one in json.loads(err)["error"]["diagnostics"]] == [4, 7]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["workflow", "status", "nonesuch"], 4),
        (["workflow", "submit", "/nonexistent/x.yml"], 2),
        (["workflow", "submit", "x", "--inputs", "[]"], 2),
        (["workflow", "submit", "x", "--inputs", "{"], 2),
        (["workflow", "submit", "x", "--input", "novalue"], 2),
        (["workflow", "submit", "x", "--event-file", "/nonexistent"], 2),
        (["workflow", "submit", "x", "--source", "y", "--no-source"], 2),
        (["workflow", "update", "x", "--result", "{"], 2),
        (["workflow", "list", "--status", "odd"], 2),
        (["workflow", "list", "--bogus"], 2),
        (["workflow", "sumbit"], 2),
        (["workflow", "status"], 2),
        (["peer", "remove", "nobody"], 4),
        (["nonesuch"], 2),
    ],
)
async def test_what_is_wrong_is_one_error_a_hint_and_its_code(arguments: list[str], code: int) -> None:
    async with node() as (api, folder):
        got, out, err = await here(folder, *arguments)
        assert (got, out) == (code, "")
        error, hint = err.splitlines()
        assert error.startswith("error: ")
        assert hint.startswith("hint: ")
        got, out, err = await here(folder, *arguments, "--json")
        assert (got, out) == (code, "")
        told = json.loads(err)["error"]
        assert (told["message"], told["hint"]) == (error[7:], hint[6:])
        assert api.runs == {}


async def test_without_a_node_nothing_is_made(tmp_path: Path) -> None:
    for line in (["status"], ["workflow", "list"], ["invite"], ["workflow", "submit", "x.yml"], ["clock", "log"]):
        code, out, err = await cli(tmp_path / "none", *line)
        assert (code, out) == (3, "")
        assert err == f"error: no node runs on {tmp_path / 'none'}\nhint: start one with `p2pwf up`\n"
    assert list(await trio.Path(tmp_path).iterdir()) == []


async def test_a_reader_that_leaves_is_no_error() -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        for number in range(20_000):
            api.log(f"line {number}")
        line = [sys.executable, "-m", "p2pwf.cli.main", "workflow", "logs", run, "--data-dir", str(folder)]
        process = await trio.lowlevel.open_process(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.receive_some(10)
        await process.stdout.aclose()
        said = b"".join([part async for part in process.stderr])
        assert (await process.wait(), said) == (141, b"")


async def test_an_interrupt_ends_a_watch_quietly() -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        line = [sys.executable, "-m", "p2pwf.cli.main", "workflow", "watch", run, "--data-dir", str(folder)]
        process = await trio.lowlevel.open_process(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.receive_some(10)
        process.send_signal(signal.SIGINT)
        said = b"".join([part async for part in process.stderr])
        assert (await process.wait(), said) == (130, b"")
        await api.until_streams(0)


async def test_who_stops_waiting_is_told_that_the_run_goes_on_and_how_to_see_it() -> None:
    async with node() as (api, folder):
        (folder / "w.yml").write_text("jobs:\n")
        words = ["workflow", "submit", str(folder / "w.yml"), "--wait", "--data-dir", str(folder)]
        line = [sys.executable, "-m", "p2pwf.cli.main", *words]
        process = await trio.lowlevel.open_process(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stderr is not None
        await api.until_streams(1)
        process.send_signal(signal.SIGINT)
        said = b"".join([part async for part in process.stderr]).decode()
        (run,) = api.runs
        assert await process.wait() == 130
        assert said.splitlines()[-1] == f"the run goes on: p2pwf workflow watch {run[-8:]}, or cancel"
        assert api.runs[run]["status"] == "assigned"


async def test_a_bug_in_the_node_is_70() -> None:
    async with node() as (api, folder):
        api.members[ME].pop("name")
        code, _, err = await cli(folder, "peer", "list")
        assert code == 70
        assert err.splitlines()[0] == "error: KeyError: 'name'"
        assert "report" in err.splitlines()[1]


def test_the_api_of_the_kit_is_whole() -> None:
    from p2pwf.control.api import ControlApi

    assert [name for name in vars(ControlApi) if not name.startswith("_") and not hasattr(MemoryApi, name)] == []


def test_an_interrupt_that_python_drops_is_not_lost(tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
from p2pwf.cli import main

class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            pass  # it is raised here

def stay(_):
    Dropped()
    time.sleep(60)

main._invoke = stay
main.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (130, b"")
