"""Another implementation in the network: a js-libp2p peer (scripts/interop) and a real node, checking each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from platformdirs import user_cache_path

from tests.e2e.kit import PATIENCE, Node, p2pwf, workflow

SOURCES = Path(__file__).parents[2] / "scripts" / "interop"
INSTALL_SECONDS = 300
"""For npm to fetch about 120 packages, once for each lock."""
OLDEST_NODE = 20
WORK = """
name: seen from outside
labels: [p2p-workflow]
on: workflow_dispatch
jobs:
  first:
    runs-on: ubuntu-latest
    steps:
      - run: echo first
  second:
    needs: first
    runs-on: ubuntu-latest
    steps:
      - run: echo second
"""


def _has_node() -> bool:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return False
    found = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    major = found.stdout.strip().removeprefix("v").split(".")[0]
    return major.isdigit() and int(major) >= OLDEST_NODE


pytestmark = pytest.mark.skipif(not _has_node(), reason=f"no node ≥ {OLDEST_NODE} with npm here")


def installed_modules() -> Path:
    """The packages of the lock, outside of the repository: installed once for each lock, then found again."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    home = user_cache_path("p2pwf") / "interop" / sha256(lock).hexdigest()[:16]
    if not home.exists():
        fresh = home.with_name(f"{home.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(SOURCES / name, fresh)
        line = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(
            line,
            cwd=fresh,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"npm ci: {done.stdout}\n{done.stderr}"
        try:
            fresh.rename(home)  # in one piece: a folder of that name is always a whole installation
        except OSError:
            shutil.rmtree(fresh)  # another run was first
    return home / "node_modules"


class JsPeer:
    """One process of peer.mjs; it ends by itself, and is killed with the block at the latest."""

    def __init__(self, folder: Path, node: Node, *options: str) -> None:
        self.node = node
        self.errors = folder / "js.err"
        address, network = node.info["addrs"][0], node.info["network"]
        line = ["node", "--import", "./polyfill.mjs", "peer.mjs", "--node", address, "--network", network]
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*line, "--timeout", str(PATIENCE), *options],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.watchdog = threading.Timer(PATIENCE + 10, self.process.kill)
        self.watchdog.start()

    def reach(self, step: str) -> dict[str, Any]:
        """The facts of the next step, which has to be this one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"no {step}: {self.errors.read_text()}\n{self.node.errors()}"
        facts: dict[str, Any] = json.loads(line)
        assert facts.pop("step") == step
        return facts

    def admitted(self) -> str:
        """Have the node admit the peer before it has ever seen it, and let it go on; its peer id."""
        assert self.process.stdin is not None
        own = str(self.reach("identity")["peer_id"])
        self.node.ask("peer", "add", own, "--roles", "submit")
        self.process.stdin.write("admitted\n")
        self.process.stdin.flush()
        return own

    def ends_well(self) -> bool:
        return self.process.wait(PATIENCE) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watchdog.cancel()
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node") / "one", "--slots", "2") as started:
        yield started.start().ready()
        assert started.stop() == 0


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A folder that the peer runs in: its sources beside the packages of the lock."""
    folder = tmp_path / "peer"
    folder.mkdir()
    for path in SOURCES.glob("*.mjs"):
        shutil.copy(path, folder)
    (folder / "node_modules").symlink_to(installed_modules(), target_is_directory=True)
    return folder


def source_of(folder: Path) -> tuple[Path, dict[str, str]]:
    """A workflow file in a small tree, and what each file of the tree hashes to."""
    file = workflow(folder, WORK)
    (folder / "data.txt").write_text("what the jobs read\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "bytes.bin").write_bytes(bytes(range(256)) * 300)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return file, {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def logged(node: Node) -> dict[str, dict[str, Any]]:
    """The node's clock by event id."""
    done = p2pwf("clock", "log", data=node.folder)
    assert done.returncode == 0, done.stderr
    return {event["cid"]: event for event in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("side", ["opener", "waiter"])
def test_a_js_peer_reads_a_submission_and_fetches_its_source(
    node: Node, script: Path, tmp_path: Path, side: str
) -> None:
    file, content = source_of(tmp_path / "tree")
    with JsPeer(script, node, "--side", side) as peer:
        own = peer.admitted()
        assert (own < node.info["peer_id"]) == (side == "opener")
        joined = peer.reach("joined")
        assert joined["genesis"] == "net.genesis"

        run = node.submit(file)
        verified = peer.reach("verified")
        assert peer.ends_well()

    assert verified["run"] == run
    assert verified["author"] == node.info["peer_id"]
    assert verified["type"] == "run.submit"
    assert verified["jobs"] == 2
    assert verified["files"] == content
    assert (verified["range"], verified["absent"]) == ("ok", "absent")
    clock = logged(node)
    assert verified["source"] == clock[run]["body"]["source"]["/"]
    assert set(verified["heads"]) <= set(clock)

    written = clock[joined["event"]]
    assert (written["author"], written["type"], written["seq"]) == (own, "member.update", 0)
    assert {one["name"] for one in node.ask("peer", "list") if one["peer_id"] == own} == {f"js {side}"}


def test_a_node_survives_a_member_that_breaks_every_rule(node: Node, script: Path, tmp_path: Path) -> None:
    file, _ = source_of(tmp_path / "tree")
    before = node.ask("stats")
    with JsPeer(script, node, "--hostile") as peer:
        own = peer.admitted()
        peer.reach("joined")
        first = node.submit(file)
        peer.reach("verified")  # it has fetched a blob, and agreed on the clock, after all it did
        assert peer.ends_well()

    def struck(stats: dict[str, Any]) -> tuple[int, int]:
        counts = stats["net"]["counts"]
        return counts.get("strike_reported", 0), counts.get("strike_gossip_frame", 0)

    deadline = time.monotonic() + PATIENCE
    while struck(after := node.ask("stats")) != (3, 2) and time.monotonic() < deadline:
        pass  # gossip waits its turn
    assert struck(before) == (0, 0)
    assert struck(after) == (3, 2)  # junk, a malformed message, a forged event; two broken streams
    assert after["invalid_events"] == 1
    assert not [one for one in node.ask("peer", "list") if one["peer_id"] == own and "admin" in one["roles"]]
    for run in (first, node.submit(file)):
        assert node.wait_for(run)["status"] == "completed"
