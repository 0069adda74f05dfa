"""What starting costs and says: imports, help, version, and what `up` becomes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from p2pwf.cli import up as up_module
from p2pwf.cli.main import cli, run
from tests.control.kit import OTHER

HEAVY = (
    "libp2p",
    "trio",
    "rich",
    "starlette",
    "hypercorn",
    "attr",
    "attrs",
    "yaml",
    "asyncio",
    "p2pwf.node",
    "p2pwf.net",
)
PEER = f"/ip4/192.0.2.1/tcp/4070/p2p/{OTHER}"


def imported(*arguments: str) -> list[str]:
    """The heavy modules that a command line has imported when it ends."""
    code = (
        "import sys\nfrom p2pwf.cli.main import run\n"
        f"run({list(arguments)!r})\n"
        f"print('|'.join(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [name for name in done.stderr.splitlines()[-1].split("|") if name]


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["workflow", "--help"], ["workflow", "list"], ["workflow", "watch", "x"], ["status"]],
)
def test_a_command_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    where = [] if arguments[-1].startswith("--") else ["--data-dir", str(tmp_path / "none")]
    assert imported(*arguments, *where) == []


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None, name
        found += leaves(inner, (*path, name))
    return found


@pytest.mark.parametrize(
    ("path", "command"), leaves(cli), ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_has_help_and_the_two_common_options(path: tuple[str, ...], command: click.Command) -> None:
    options = {name for parameter in command.params for name in parameter.opts}
    assert {"--json", "--data-dir"} <= options, path
    assert command.help, path
    context = click.Context(command, help_option_names=["-h", "--help"])  # click keeps the first that it makes
    assert command.get_help(context)
    assert all(
        isinstance(one, click.Argument) or (isinstance(one, click.Option) and one.help) for one in command.params
    ), path


def test_help_and_version_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("p2pwf ")
    assert run(["workflow", "submit", "-h"]) == 0
    assert "--no-source" in capsys.readouterr().out
    assert run([]) == 0
    assert "Commands" in capsys.readouterr().out


def settings_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, object]:
    """The settings with which `p2pwf up` would become the node."""
    taken: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *called: taken.append(called))
    assert run(["up", *arguments]) == 0
    ((program, line, environment),) = taken
    assert (program, line) == (sys.executable, [sys.executable, "-m", "p2pwf.control.daemon"])
    told: dict[str, object] = json.loads(environment[up_module.SETTINGS_ENV])
    return told


def test_up_hands_its_flags_to_the_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("P2P_PEER_ID", raising=False)
    told = settings_of(
        monkeypatch, "--data-dir", str(tmp_path), "--name", "n", "--listen", "/ip4/1.2.3.4/tcp/1",
        "--listen", "/ip6/::/tcp/0", "--announce", "/dns4/a.example/tcp/1", "--bootstrap", PEER, "--label", "gpu",
        "--slots", "0", "--trust-members", "--mdns", "--actions", str(tmp_path), "--actions-url", "file:///x", "--json",
        "--executor", "external", "--progress", "plain",
    )  # fmt: skip
    assert told == {
        "data_dir": str(tmp_path), "name": "n", "listen": ["/ip4/1.2.3.4/tcp/1", "/ip6/::/tcp/0"],
        "announce": ["/dns4/a.example/tcp/1"], "bootstrap": [PEER], "join": None, "labels": ["gpu"], "slots": 0,
        "private": False, "trust_members": True, "mdns": True, "json_output": True,
        "actions": str(tmp_path), "actions_url": "file:///x", "executor": "external", "progress": "plain",
        "history_days": 0,
        "isolation_image": None,
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_up_takes_the_file_and_the_environment_below_its_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('name = "file"\nslots = 3\nlabels = ["a"]\n')
    monkeypatch.setenv("P2P_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("P2P_PEER_ID", "environment")
    monkeypatch.setenv("P2PWF_ACTIONS", "mirrors")
    told = settings_of(monkeypatch, "--slots", "5")
    assert (told["name"], told["slots"], told["labels"]) == ("environment", 5, ["a"])
    assert told["actions"] == str(Path("mirrors").absolute())


def test_up_refuses_what_excludes_each_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["up", "--private", "--join", "p2pwf1x", "--data-dir", str(tmp_path / "n")]) == 2
    assert capsys.readouterr().err.startswith("error: --private")
    assert run(["up", "--slots", "-1"]) == 2
    (tmp_path / "config.toml").write_text("slotz = 3\n")
    assert run(["up", "--data-dir", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    "flags",
    [
        ["--name", ""],
        ["--name", "a\nb"],
        ["--name", "x" * 257],
        ["--label", "x" * 257],
        ["--label", "\x1b[2J"],
        ["--listen", "garbage"],
        ["--listen", "/ip4/0.0.0.0/tcp/70000"],
        ["--announce", "/ip4/1.2.3.4"],
        ["--bootstrap", "nonsense"],
        ["--bootstrap", "/ip4/192.0.2.1/tcp/4070"],
        ["--bootstrap", "/ip4/192.0.2.1/tcp/4070/p2p/12D3KooWnobody"],
        ["--join", "p2pwf1zzz"],
        ["--join", ""],
    ],
    ids=" ".join,
)
def test_up_refuses_what_no_node_can_start_with_and_makes_nothing(
    flags: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["up", *flags, "--data-dir", str(tmp_path / "n")]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert list(tmp_path.iterdir()) == []


def test_up_refuses_a_data_folder_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine\n")
    for folder, said in ((file, "is not a folder"), (file / "n", "lies below a file")):
        assert run(["up", "--data-dir", str(folder)]) == 5
        assert capsys.readouterr().err == f"error: {folder} {said}\nhint: use another --data-dir\n"
    assert run(["up", "--data-dir", f"{tmp_path}/{'x' * 300}"]) == 6
    assert capsys.readouterr().err.startswith(f"error: no access to {tmp_path}/xxx")
    assert file.read_text() == "mine\n"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_up_says_where_it_may_not_look(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        assert run(["up", "--data-dir", str(tmp_path / "n")]) == 6
    finally:
        tmp_path.chmod(0o700)
    assert capsys.readouterr().err.startswith(f"error: no access to {tmp_path / 'n'}: ")


@pytest.mark.parametrize("name", ["P2P_DATA_DIR", "--data-dir"])
def test_a_tilde_in_the_data_folder_is_the_home(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if name == "P2P_DATA_DIR":
        monkeypatch.setenv(name, "~/n")
        assert run(["status"]) == 3
    else:
        assert run(["workflow", name, "~/n", "list"]) == 3
    assert capsys.readouterr().err.startswith(f"error: no node runs on {tmp_path / 'n'}\n")


@pytest.mark.parametrize("group", ["workflow", "peer", "clock"])
def test_a_group_alone_shows_what_it_has(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([group]) == 0
    assert "Commands:\n" in capsys.readouterr().out
