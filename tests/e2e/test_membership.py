"""How a node gets into a network and whom commands mean by a peer, on real nodes; what a start refuses or leaves."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest
import trio

from p2pwf.core.ids import PeerId
from p2pwf.core.sign import Signer
from p2pwf.net.identity import load_or_create
from tests.e2e.kit import COMMAND, PATIENCE, Node, p2pwf, workflow

ONE = "labels: p2p-workflow\non: workflow_dispatch\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo it ran}]}}\n"


def key_of(folder: Path) -> PeerId:
    """Make the key of a node that was never started; its peer id."""
    folder.mkdir(mode=0o700)
    return Signer(load_or_create(folder / "identity.key")).peer_id


def test_a_peer_that_was_never_seen_is_admitted_by_its_id_and_joins_without_a_ticket(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one, Node(tmp_path / "two", "--slots", "3", "--label", "gpu") as two:
        one.start().ready()
        peer = key_of(two.folder)
        assert one.ask("peer", "add", peer)["peer_id"] == peer
        two.start("--bootstrap", one.info["addrs"][0]).ready()
        assert two.info["peer_id"] == peer
        assert "waiting" not in two.errors()
        run = two.submit(workflow(tmp_path / "w", ONE), "--no-source")
        assert one.wait_for(run)["conclusion"] == "success"
        (row,) = [each for each in one.ask("peer", "list") if each["peer_id"] == peer]
        assert (row["name"], row["slots"], "gpu" in row["labels"], row["connected"]) == ("two", 3, True, True)


async def test_who_waits_to_be_admitted_is_told_whom_to_ask_and_nothing_else(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one, Node(tmp_path / "two") as two:
        one.start().ready()
        peer = key_of(two.folder)
        two.start("--bootstrap", one.info["addrs"][0])
        with trio.fail_after(PATIENCE):
            while not one.ask("peer", "list", "--pending"):
                await trio.sleep(0.1)
            # Some questions long: an idle connection of a stranger is closed about when the next one is due.
            while one.ask("stats")["net"]["counts"]["join_asked"] < 5:
                await trio.sleep(0.2)
        said = two.errors()
        assert said.count(f"ask an admin to run `p2pwf peer add {peer}`") == 1
        assert len(said.splitlines()) == 1, said
        one.ask("peer", "add", peer[-8:])
        two.ready()
        assert one.ask("peer", "list", "--pending") == []


def test_peers_are_meant_by_the_end_of_their_id_where_that_is_one(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one:
        one.start().ready()
        peers: list[PeerId] = []
        while len({peer[-1] for peer in peers}) == len(peers):
            peers.append(Signer(load_or_create(tmp_path / f"key{len(peers)}")).peer_id)
        for peer in peers:
            one.ask("peer", "add", peer, "--name", "same")
        done = p2pwf("peer", "remove", "same", data=one.folder)
        assert done.returncode == 2
        assert all(peer in done.stderr for peer in peers[:8])
        done = p2pwf("peer", "remove", "zzzz", data=one.folder)
        assert (done.returncode, "no peer 'zzzz'" in done.stderr) == (4, True)
        done = p2pwf("peer", "remove", peers[0][-3:], data=one.folder)
        assert done.returncode == 4  # too little to go by
        assert one.ask("peer", "remove", peers[0][-9:])["peer_id"] == peers[0]
        assert peers[0] not in [each["peer_id"] for each in one.ask("peer", "list")]
        assert one.ask("peer", "add", peers[0][-9:])["peer_id"] == peers[0]  # it is known still
        assert p2pwf("peer", "add", "zzzz", data=one.folder).returncode == 2


def test_another_key_beside_the_events_of_a_node_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    with Node(tmp_path / "one") as one:
        one.start().ready()
        peer = one.info["peer_id"]
        one.stop()
        key = one.folder / "identity.key"
        own = key.read_bytes()
        events = (one.folder / "events.db").read_bytes()
        key.unlink()
        other = Signer(load_or_create(key)).peer_id
        done = p2pwf("up", data=one.folder)
        assert done.returncode == 5
        assert f"{key} is the key of {other}" in done.stderr
        assert peer in done.stderr
        assert "--data-dir" in done.stderr
        assert (one.folder / "events.db").read_bytes() == events
        key.write_bytes(own)
        assert one.start().ready().info["peer_id"] == peer
        assert one.stop() == 0


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("room", [0, 40, 4096])
def test_a_full_disk_at_the_first_start_leaves_nothing(tmp_path: Path, made: bool, room: int) -> None:
    folder = tmp_path / "n"
    if made:
        folder.mkdir(mode=0o700)
    done = subprocess.run(
        [*COMMAND, "up", "--data-dir", str(folder), "--listen", "/ip4/127.0.0.1/tcp/0"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        check=False,
    )
    assert done.returncode == 6, done
    assert done.stderr.startswith("error: ")
    assert folder.exists() == made
    assert not made or list(folder.iterdir()) == []


def test_force_takes_a_file_without_a_tag_and_each_time_it_is_another_run(tmp_path: Path) -> None:
    file = workflow(tmp_path / "w", ONE.replace("labels: p2p-workflow\n", ""))
    with Node(tmp_path / "one") as one:
        one.start().ready()
        done = p2pwf("workflow", "submit", str(file), "--no-source", data=one.folder)
        assert (done.returncode, "--force" in done.stderr) == (5, True)
        runs = [one.submit(file, "--no-source", "--force") for _ in range(2)]
        assert [one.wait_for(run)["conclusion"] for run in runs] == ["success"] * 2
        assert sorted(each["workflow_id"] for each in one.ask("workflow", "list")) == sorted(set(runs))
        assert len(set(runs)) == 2
