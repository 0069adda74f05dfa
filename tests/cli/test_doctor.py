"""`p2pwf doctor`: everything in order is silent, and whatever is not says what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from p2pwf import __version__
from tests.cli.test_commands import cli
from tests.control.kit import OTHER, MemoryApi, node


async def found(folder: Path, code: int = 0, **environment: str) -> dict[str, dict[str, Any]]:
    """What was looked at, by its name."""
    done, out, err = await cli(folder, "doctor", "--json", **environment)
    assert (done, err) == (code, "")
    return {one["check"]: one for one in json.loads(out)}


async def test_without_a_node_it_looks_at_the_machine(tmp_path: Path) -> None:
    told = await found(tmp_path / "none")
    assert told["version"]["state"] == "ok"
    assert told["disk"]["state"] == "ok"
    assert told["git"]["text"].startswith("git version")
    assert (told["node"]["state"], "p2pwf up" in told["node"]["hint"]) == ("note", True)
    assert not (tmp_path / "none").exists()


async def test_programs_that_are_not_there_are_told_with_what_fails_without_them(tmp_path: Path) -> None:
    told = await found(tmp_path, PATH=str(tmp_path))
    assert {name: told[name]["state"] for name in ("git", "bash")} == {"git": "warning", "bash": "warning"}
    assert told["git"]["hint"] == "install git"
    assert "neither docker nor podman" in told["containers"]["text"]


async def test_a_program_that_is_there_and_fails_is_not_counted_on(tmp_path: Path) -> None:
    for name in ("docker", "podman", "git"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    told = await found(tmp_path, PATH=f"{tmp_path}:/bin:/usr/bin")
    assert told["git"]["state"] == "warning"
    assert "does not answer" in told["containers"]["text"]


async def test_a_key_that_others_may_read_is_an_error(tmp_path: Path) -> None:
    key = tmp_path / "identity.key"
    key.write_bytes(b"")
    key.chmod(0o644)
    told = await found(tmp_path, 1)
    assert told["data folder"]["state"] == "error"
    assert told["data folder"]["hint"] == f"chmod 600 {key}"


class Sick(MemoryApi):
    """A node with a status and peers as a test wants them."""

    changes: dict[str, Any]
    peer: dict[str, Any]
    asking: bool

    async def status(self) -> dict[str, Any]:
        return {**await super().status(), **self.changes}

    async def peers(self, pending: bool) -> list[dict[str, Any]]:
        if pending:
            return [self.members[OTHER]] if self.asking else []
        return [row if row["self"] else {**row, "connected": True, "version": __version__, **self.peer}
                for row in await super().peers(False)]  # fmt: skip


WIDE = {"addrs": ["/ip4/192.0.2.1/tcp/4070/p2p/x"]}


@pytest.mark.parametrize(
    ("check", "state", "changes", "peer", "says", "hint"),
    [
        ("node", "ok", WIDE, {}, "alice (0 jobs run) is ready", None),
        ("members", "ok", WIDE, {}, "connected", None),
        ("versions", "ok", WIDE, {}, __version__, None),
        ("clocks", "ok", WIDE, {"clock_ahead": -4_000}, "within seconds", None),
        ("clocks", "warning", WIDE, {"clock_ahead": -90_000}, "bob is 90 s behind", "timedatectl"),
        ("clocks", "ok", WIDE, {"clock_ahead": None}, "nobody known yet", None),
        ("versions", "warning", WIDE, {"version": "0.0.9\x1b[2J"}, "bob has 0.0.9", "bring all to the same"),
        ("members", "error", WIDE, {"connected": False}, "no other member", "firewall"),
        ("addresses", "warning", {}, {}, "loopback only", "--listen"),
        ("addresses", "error", {"addrs": []}, {}, "nowhere", "--listen"),
        ("node", "warning", {"version": "0.0.1"}, {}, "runs p2pwf 0.0.1", "start the node again"),
        ("node", "warning", {"ready": False}, {}, "not ready", "wait"),
        ("node", "note", {"paused": True}, {}, "paused", "node resume"),
        ("node", "error", {"removed": True}, {}, "removed from its network", "peer add"),
        ("node", "error", {"frozen": True}, {}, "records nothing", "log"),
        ("alarm", "error", {"alarms": ["the disk is full"]}, {}, "the disk is full", "log"),
    ],
)
async def test_a_node_and_its_network_are_looked_at(
    check: str, state: str, changes: dict[str, Any], peer: dict[str, Any], says: str, hint: str | None
) -> None:
    api = Sick()
    api.changes, api.peer, api.asking = changes, peer, False
    async with node(api) as (_, folder):
        one = (await found(folder, int(state == "error")))[check]
        assert one["state"] == state
        assert says in one["text"]
        assert "\x1b" not in one["text"]
        assert (hint is None and one["hint"] is None) or (hint is not None and hint in one["hint"])


async def test_who_asks_to_be_admitted_is_told_and_people_read_it_too() -> None:
    api = Sick()
    api.changes, api.peer, api.asking = WIDE, {}, True
    async with node(api) as (_, folder):
        assert (await found(folder))["admission"]["hint"].startswith(f"p2pwf peer add {OTHER}")
        code, out, _ = await cli(folder, "doctor", PATH=os.environ["PATH"])
        assert code == 0
        assert "1 peer asks to be admitted" in out
        assert "0 errors" in out
