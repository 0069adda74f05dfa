"""`p2pwf secret` and `p2pwf variable` against a real server: where a value comes from, and where it never shows."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from tests.cli.test_commands import answer, here
from tests.control.kit import ME, OTHER, node

VALUE = "open-sesame"


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """What the next command reads from stdin."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))


async def test_a_value_comes_from_stdin_less_one_line_break_or_from_a_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pwf.cli.secret.undumped", lambda: None)  # of this process, which is the tests'
    file = tmp_path / "key.pem"
    file.write_bytes(b"line\r\nline\n")
    async with node() as (api, folder):
        for data, words, value in (
            (b"open-sesame\n", (), VALUE),
            (b"open-sesame\r\n", ("--env", "prod"), VALUE),
            (b"two\n\n", (), "two\n"),
            (b"", ("--value-file", str(file), "-e", "prod", "--submitter", "bob"), "line\r\nline\n"),
        ):
            given(monkeypatch, data)
            code, out, err = await here(folder, "secret", "set", "Token", *words)
            assert (code, err) == (0, "")
            assert out.endswith("is sealed to 2 peers\n")
            assert api.sealed[-1][1] == value
        assert [row["environment"] for row, _ in api.sealed] == [None, "prod", None, "prod"]
        assert api.sealed[-1][0]["submitters"] == ["bob"]


async def test_a_value_that_cannot_be_is_refused_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pwf.cli.secret.undumped", lambda: None)
    async with node() as (api, folder):
        for data, words in (
            (b"", ()),
            (b"open-sesame\xff", ()),
            (b"open-sesame" * 100_000, ()),
            (b"", ("--value-file", str(tmp_path / "none"))),
        ):
            given(monkeypatch, data)
            code, out, err = await here(folder, "secret", "set", "TOKEN", *words)
            assert (code, out) == (2, "")
            assert VALUE not in err
            assert "hint:" in err
        assert api.sealed == []


def typed(folder: Path) -> tuple[int, bytes]:
    """Set a secret on a terminal; the exit code, and all that the terminal has shown."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "p2pwf.cli.main", "secret", "set", "TOKEN", "--data-dir", str(folder)]
    with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as command:
        os.close(theirs)
        timer = threading.Timer(60, command.kill)
        timer.start()
        shown = b""
        with suppress(OSError):  # so Linux tells the end of it
            while b"Value of TOKEN: " not in shown:
                shown += os.read(ours, 1024)
            os.write(ours, VALUE.encode() + b"\n")
            while data := os.read(ours, 1024):
                shown += data
        code = command.wait()
        timer.cancel()
    os.close(ours)
    return code, shown


async def test_t47_on_a_terminal_a_value_is_asked_for_and_not_shown() -> None:
    async with node() as (api, folder):
        code, shown = await trio.to_thread.run_sync(typed, folder)
        assert code == 0
        assert api.sealed[0][1] == VALUE
        assert b"TOKEN is sealed to 2 peers" in shown
        assert VALUE.encode() not in shown


async def test_secrets_are_listed_without_values_and_removed() -> None:
    async with node() as (api, folder):
        assert (await here(folder, "secret", "list"))[1] == "no secrets\n"
        await api.secret_set("TOKEN", VALUE, None, [])
        await api.secret_set("TOKEN", VALUE, "prod", [OTHER])
        api.sealed[0][0].update(rotate=["12D3KooWGone"], lacking=[ME])
        _, out, _ = await here(folder, "secret", "list")
        assert "TOKEN" in out
        assert "prod" in out
        assert "could open it, and left: set it to another value" in out
        assert "not sealed to alice yet" in out
        assert VALUE not in out
        assert VALUE not in str(await answer(folder, "secret", "list"))
        code, out, _ = await here(folder, "secret", "remove", "token", "--environment", "prod")
        assert (code, out) == (0, "TOKEN in prod is removed\n")
        code, _, err = await here(folder, "secret", "remove", "token", "--environment", "prod")
        assert (code, "p2pwf secret list" in err) == (4, True)


async def test_variables_are_set_listed_and_removed_by_either_name_of_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with node() as (_, folder):
        assert (await here(folder, "variable", "list"))[1] == "no variables\n"
        assert (await here(folder, "variable", "set", "region", "eu-west"))[1] == "REGION = eu-west\n"
        given(monkeypatch, b"two\nlines\n")
        code, _, _ = await here(folder, "var", "set", "NOTICE", "--env", "prod")
        assert code == 0
        rows = await answer(folder, "variable", "list")
        assert [(row["name"], row["environment"], row["value"]) for row in rows] == [
            ("REGION", None, "eu-west"),
            ("NOTICE", "prod", "two\nlines"),
        ]
        assert "eu-west" in (await here(folder, "var", "list"))[1]
        assert (await here(folder, "var", "remove", "region"))[1] == "REGION is removed\n"
        code, _, err = await here(folder, "var", "sett", "x", "y")
        assert (code, "variable set" in err) == (2, True)
