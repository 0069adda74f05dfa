"""`p2pwf help`, `completion` and `config show`: what the command line says of itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import trio

from p2pwf.cli.main import cli as root
from p2pwf.cli.main import run
from tests.cli.test_commands import cli, submitted
from tests.control.kit import OTHER, node


def commands(command: click.Command, path: str = "p2pwf") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")


def test_the_whole_reference_has_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "--all"]) == 0
    text = capsys.readouterr().out
    assert run(["help", "--all", "--json"]) == 0
    told = {one["command"]: one["help"] for one in json.loads(capsys.readouterr().out)}
    every = dict(commands(root))
    assert list(told) == list(every)
    for path, command in every.items():
        assert f"# {path}\n\n{told[path]}" in text
        assert command.help, path
        for parameter in command.params:
            assert all(name in told[path] for name in parameter.opts if name.startswith("--")), (path, parameter)


def test_every_command_takes_json_and_a_data_folder_and_says_what_each_option_does() -> None:
    for path, command in commands(root):
        names = {name for parameter in command.params for name in parameter.opts}
        assert {"--json", "--data-dir"} <= names, path
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (path, parameter.name)


def examples(command: click.Command) -> Iterator[list[str]]:
    """The command lines that a help text shows, without what is said beside them."""
    for line in (command.help or "").splitlines():
        if line.strip().startswith("p2pwf ") and line.startswith("  "):
            words = re.split(r"\s{2,}|  ?&& | \| | [<>] ", line.strip())[0]
            yield shlex.split(words)


def test_the_examples_in_the_help_texts_are_command_lines_that_there_are() -> None:
    count = 0
    for path, command in commands(root):
        for words in examples(command):
            count += 1
            with root.make_context("p2pwf", words[1:], resilient_parsing=True) as context:
                found: click.Command = root
                rest = words[1:]
                while isinstance(found, click.Group):
                    _, below, rest = found.resolve_command(context, rest)
                    assert below is not None
                    found = below
                found.make_context(words[-1], rest, resilient_parsing=True)
                known = {name for parameter in found.params for name in parameter.opts}
                assert {word for word in rest if word.startswith("--")} <= known, (path, words)
    assert count > 40


def test_every_command_teaches_by_example() -> None:
    for path, command in commands(root):
        if not isinstance(command, click.Group):
            assert list(examples(command)), path


def test_the_help_of_one_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "workflow", "submit"]) == 0
    by_name = capsys.readouterr().out
    with pytest.raises(SystemExit):
        root.main(["workflow", "submit", "--help"], prog_name="p2pwf")
    assert by_name == capsys.readouterr().out
    assert run(["help", "workflow", "submti"]) == 2
    assert "did you mean `p2pwf workflow submit`?" in capsys.readouterr().err
    assert run(["help", "status", "x"]) == 2
    assert "no commands below it" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_taught(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert f"_P2PWF_COMPLETE={shell}_complete" in capsys.readouterr().out


def completed(*words: str) -> list[str]:
    """What bash would offer for the last word."""
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    environment = {**os.environ, "_P2PWF_COMPLETE": "bash_complete", **asked}
    line = [sys.executable, "-m", "p2pwf.cli.main"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


async def test_commands_runs_and_peers_are_completed() -> None:
    async with node() as (_, folder):
        run_id = await submitted(folder)

        async def ask(*words: str) -> list[str]:
            return await trio.to_thread.run_sync(completed, "p2pwf", "--data-dir", str(folder), *words)

        assert await ask("workflow", "st") == ["plain,status"]
        assert await ask("workflow", "status", run_id[:3]) == [f"plain,{run_id}"]
        assert await ask("workflow", "status", "x") == []
        assert await ask("peer", "ping", "b") == ["plain,bob"]
        assert await ask("workflow", "submit", "--peer", "") == ["plain,alice", "plain,bob"]
        assert await ask("check", "ci") == ["file,ci"]
    assert completed("p2pwf", "--data-dir", str(folder), "workflow", "status", "") == []


@pytest.mark.parametrize(
    "name", ["$(touch /pwned)", "a b", "`id`", "x;id", "b\nfile,x", "\x1b[2J", "--help", "~", "*", "a'b"]
)
async def test_a_name_that_a_shell_would_act_on_is_not_put_into_a_command_line(name: str) -> None:
    async with node() as (api, folder):
        api.members[OTHER]["name"] = name
        words = ("p2pwf", "--data-dir", str(folder), "peer", "ping", "")
        assert await trio.to_thread.run_sync(completed, *words) == ["plain,alice", f"plain,{OTHER}"]


async def test_settings_are_shown_with_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('name = "file"\nlabels = ["gpu", "big"]\nslots = 0\n')
    code, out, err = await cli(tmp_path, "config", "show", "--origin", "--json", P2P_PEER_ID="me")
    assert (code, err) == (0, "")
    told = json.loads(out)
    file = str(tmp_path / "config.toml")
    assert told["data_dir"] == {"value": str(tmp_path), "origin": "--data-dir"}
    assert told["name"] == {"value": "me", "origin": "P2P_PEER_ID"}
    assert told["labels"] == {"value": ["gpu", "big"], "origin": file}
    assert told["slots"] == {"value": 0, "origin": file}
    assert told["mdns"] == {"value": False, "origin": "default"}
    code, out, _ = await cli(None, "config", "show", "--json", P2P_DATA_DIR=str(tmp_path))
    assert json.loads(out)["name"] == "file"
    code, out, _ = await cli(None, "config", "show", "--origin", P2P_DATA_DIR=str(tmp_path))
    assert "P2P_DATA_DIR" in out
    assert "gpu, big" in out
    (tmp_path / "config.toml").write_text("nmae = 1\n")
    code, _, err = await cli(tmp_path, "config", "show")
    assert (code, "unknown setting 'nmae'" in err) == (2, True)
