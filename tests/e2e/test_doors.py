"""Joining, and being kept out: tickets, bootstrap, private networks, and the ways to get it wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.e2e.kit import Node, p2pwf


def test_a_peer_without_a_ticket_waits_until_an_admin_admits_it(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one, Node(tmp_path / "two") as two:
        one.start().ready()
        two.start("--bootstrap", one.info["addrs"][0])
        while not (pending := one.ask("peer", "list", "--pending")):
            assert two.process is not None
            assert two.process.poll() is None, two.errors()
        assert pending[0]["name"] == "two"
        one.ask("peer", "add", pending[0]["peer_id"])
        two.ready()
        assert {peer["name"] for peer in two.ask("peer", "list")} == {"one", "two"}


def test_a_peer_admitted_before_it_was_seen_comes_in_at_once(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one, Node(tmp_path / "two") as two:
        one.start().ready()
        two.start().ready()
        own = two.info["peer_id"]
        two.stop()
        for name in ("events.db", "events.db-wal", "events.db-shm"):
            (two.folder / name).unlink(missing_ok=True)
        one.ask("peer", "add", own)
        two.start("--bootstrap", one.info["addrs"][0]).ready()
        assert two.info["peer_id"] == own
        assert two.info["network"] == one.info["network"]


def test_t04_a_ticket_lets_in_one_peer_and_no_second(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one, Node(tmp_path / "two") as two, Node(tmp_path / "three") as three:
        one.start().ready()
        ticket = one.ticket()
        two.start("--join", ticket).ready()
        refused = p2pwf("up", "--join", ticket, "--listen", "/ip4/127.0.0.1/tcp/0", data=three.folder)
        assert refused.returncode == 5
        assert "used already" in refused.stderr
        assert "hint:" in refused.stderr


def test_t03_an_expired_or_mangled_ticket_says_so(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one:
        one.start().ready()
        ticket = one.ticket("--ttl", "1s")
        while True:
            answer = p2pwf("up", "--join", ticket, "--listen", "/ip4/127.0.0.1/tcp/0", data=tmp_path / "late")
            if "expired" in answer.stderr:
                break
            raise AssertionError(answer.stderr)
        assert answer.returncode == 5
        assert not (tmp_path / "late").exists()
        mangled = p2pwf("up", "--join", ticket[:-9], data=tmp_path / "mangled")
        assert mangled.returncode == 2
        assert mangled.stderr.startswith("error: that is not a p2pwf ticket")


def test_t01_a_private_network_is_joined_by_ticket(tmp_path: Path) -> None:
    with Node(tmp_path / "one", "--private") as one, Node(tmp_path / "two") as two, Node(tmp_path / "three") as three:
        one.start().ready()
        two.start("--join", one.ticket()).ready()
        assert {peer["name"] for peer in two.ask("peer", "list")} == {"one", "two"}
        assert one.ask("status")["private"] is True
        three.start("--bootstrap", one.info["addrs"][0])  # without the key it reaches nothing
        assert one.ask("peer", "list", "--pending") == []


def test_t50_a_second_node_on_one_data_folder_is_refused(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one:
        one.start().ready()
        again = p2pwf("up", "--listen", "/ip4/127.0.0.1/tcp/0", data=one.folder)
        assert again.returncode == 5
        assert "error:" in again.stderr
        assert "hint:" in again.stderr
        assert one.ask("status")["ready"] is True


def test_a_port_in_use_is_an_error_when_asked_for(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one:
        one.start().ready()
        taken = one.info["addrs"][0].split("/p2p/")[0]
        answer = p2pwf("up", "--listen", taken, data=tmp_path / "two")
        assert answer.returncode == 6
        assert taken.rsplit("/", 1)[1] in answer.stderr
        assert "Traceback" not in answer.stderr
        assert not (tmp_path / "two").exists()


def test_commands_without_a_node_say_how_to_start_one_and_make_nothing(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for words in (["status"], ["workflow", "list"], ["peer", "list"], ["clock", "heads"]):
        answer = p2pwf(*words, data=nowhere)
        assert answer.returncode == 3
        assert "p2pwf up" in answer.stderr
    assert not nowhere.exists()


def test_bad_submissions_change_nothing(tmp_path: Path) -> None:
    good = "labels: p2p-workflow\non: workflow_dispatch\njobs: {a: {runs-on: x, steps: [{run: a}]}}\n"
    cases = {
        "broken.yml": ("on: [\n", 2, "broken.yml:"),
        "empty.yml": ("", 2, "empty.yml:"),
        "huge.yml": ("#" * 10_000_000, 2, "too large"),
        "untagged.yml": (good.replace("labels: p2p-workflow\n", ""), 5, "--force"),
        "circle.yml": (good.replace("runs-on: x", "needs: a, runs-on: x"), 2, "circle.yml:"),
        "image.yml": (good.replace("runs-on: x", "snapshot: mine, runs-on: x"), 2, "custom images"),
    }
    with Node(tmp_path / "one") as one:
        one.start().ready()
        before = one.ask("clock", "heads")
        for name, (text, code, says) in cases.items():
            file = tmp_path / "w" / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            answer = p2pwf("workflow", "submit", str(file), "--no-source", data=one.folder)
            assert (answer.returncode, says in answer.stderr) == (code, True), (name, answer.stderr)
            assert "error:" in answer.stderr
        pipe = tmp_path / "pipe.yml"
        os.mkfifo(pipe)
        waiting = p2pwf("workflow", "submit", str(pipe), data=one.folder)
        assert (waiting.returncode, "not a plain file" in waiting.stderr) == (2, True), waiting.stderr
        gone = p2pwf("workflow", "submit", str(tmp_path / "gone.yml"), data=one.folder)
        assert gone.returncode == 2
        for words in (["status", "bafyreigone"], ["cancel", "bafyreigone"], ["logs", "bafyreigone"]):
            assert p2pwf("workflow", *words, data=one.folder).returncode == 4
        assert one.ask("clock", "heads") == before
        assert one.stop() == 0


def test_the_ready_line_is_one_line_of_json(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one:
        one.start().ready()
        assert set(one.info) == {"peer_id", "name", "addrs", "network", "control"}
        assert one.stop() == 0
        text = json.dumps(one.info)
        assert "\n" not in text
