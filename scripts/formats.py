"""Make tests/fixtures/formats/<version>: what this version writes to disk and to the wire, for later ones to read.

    python scripts/formats.py

Two real nodes make a network, run a workflow each (the second one alone), and stop. What they leave is kept: the first
one's data folder, a backup of it, the second one's clock as an archive, what the second one says to the first when they
meet again, an embedded coordinator's folder, and what a person would see. Made once for each version, by its own code;
a folder that is there is never made again. tests/protocols/test_formats.py reads them all.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from p2pwf import P2PWorkflowCoordinator, __version__  # noqa: E402 - from this checkout
from p2pwf.clock.messages import Events, encode_message  # noqa: E402
from p2pwf.core.events import SignedBlock  # noqa: E402
from p2pwf.core.ids import Cid, PeerId  # noqa: E402
from p2pwf.core.sign import Signer  # noqa: E402
from p2pwf.engine import Engine, EngineConfig  # noqa: E402
from p2pwf.engine.desk import chunks  # noqa: E402
from p2pwf.engine.inputs import Frame, Input, Now, PeerUp, Tick  # noqa: E402
from p2pwf.engine.outputs import Publish, Send, SendEvents  # noqa: E402
from p2pwf.net.identity import load  # noqa: E402
from p2pwf.node.planner import WorkflowPlanner  # noqa: E402
from p2pwf.store.events import EventStore  # noqa: E402
from scripts.demo import Node, ask  # noqa: E402

FIXTURES: Final = ROOT / "tests" / "fixtures" / "formats"
KEPT: Final = ("identity.key", "events.db", "blobs")
PATIENCE: Final = 60
ROUNDS: Final = 20
"""Exchanges of frames after which two peers that speak have said all."""
SAID: Final = "it ran"
WORKFLOW: Final = f"""\
name: Kept
on: workflow_dispatch
labels: p2p-workflow
jobs:
  one:
    runs-on: ubuntu-latest
    outputs: {{answer: "${{{{ steps.say.outputs.answer }}}}"}}
    steps:
      - uses: actions/checkout@v4
      - {{id: say, run: 'cat a.txt; echo "{SAID}"; echo answer=42 >> "$GITHUB_OUTPUT"'}}
"""
PROTOCOLS: Final = ("blob", "clock", "join", "logs", "transport")
LARGEST: Final = 4096
"""Bytes of a block of the vectors that is kept: those at a bound are about the bound."""


def main() -> int:
    """Make the folder of this version."""
    target = FIXTURES / __version__
    if target.exists():
        print(f"{target} is there: what a version wrote is never written anew", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="p2pwf-formats-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        _make(Path(scratch), made)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, target)
    print(target)
    return 0


def _make(scratch: Path, made: Path) -> None:
    tree = scratch / "tree"
    tree.mkdir()
    (tree / "a.txt").write_text("a file of the tree\n")
    file = tree / "kept.yml"
    file.write_text(WORKFLOW)
    one, two = _network(scratch, file)
    ask(one, "backup", str(made / "node.backup"))
    ask(two, "clock", "export", str(made / "clock.car"))
    _copy(one, made / "node")
    with P2PWorkflowCoordinator("keeper", made / "embedded") as coordinator:
        coordinator.submit_workflow(file, "Kept")
        coordinator.assign_workflows()
    (made / "embedded" / "embedded.lock").unlink()
    spoken = _conversation(one, two)
    (made / "frames.json").write_text(json.dumps({"spoken": spoken, "written": _written()}, indent=1) + "\n")
    (made / "expected.json").write_text(json.dumps(_expected(one, two), indent=1) + "\n")


def _network(scratch: Path, file: Path) -> tuple[Path, Path]:
    """The folders of two nodes that have stopped: the second one knows a run more."""
    one, two = scratch / "one", scratch / "two"
    nodes: list[Node] = []
    try:
        nodes.append(Node(one, "one", None))
        nodes[0].ready()
        nodes.append(Node(two, "two", str(ask(one, "invite")["ticket"])))
        nodes[1].ready()
        ask(one, "variable", "set", "GREETING", "hello")
        _ended(one, ask(one, "workflow", "submit", str(file), "--source", str(file.parent)))
        until = time.monotonic() + PATIENCE
        while ask(one, "clock", "heads") != ask(two, "clock", "heads") and time.monotonic() < until:
            time.sleep(0.2)
        nodes[0].stop()
        _ended(two, ask(two, "workflow", "submit", str(file), "--source", str(file.parent)))
    finally:
        for node in nodes:
            node.stop()
    return one, two


def _ended(folder: Path, submitted: dict[str, object]) -> None:
    until = time.monotonic() + PATIENCE
    while ask(folder, "workflow", "status", str(submitted["workflow_id"]))["status"] != "completed":
        if time.monotonic() > until:
            raise SystemExit("error: a run did not end")
        time.sleep(0.2)


def _copy(folder: Path, target: Path) -> None:
    """What of a data folder is its node's: no locks, sockets, and folders with nothing in them."""
    target.mkdir()
    for name in KEPT:
        for path in [folder / name, *sorted((folder / name).rglob("*"))]:
            if path.is_file() and not path.name.endswith(("-shm", "-wal")):  # a node that stopped left nothing in them
                copy = target / path.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)


def _conversation(one: Path, two: Path) -> list[str]:
    """The frames, in hex, that the second node sends to the first on the clock stream when they meet again."""
    peers = {folder: Signer(load(folder / "identity.key")).peer_id for folder in (one, two)}
    engines, stores = {}, {}
    for folder in (one, two):
        stores[folder] = store = EventStore.open(folder / "events.db")
        config = EngineConfig(b"fixture" + bytes(9), __version__, 0, WorkflowPlanner())
        engine = Engine(Signer(load(folder / "identity.key")), _network_of(store), config, Now(0.0, _wall()))
        engine.load([SignedBlock(event.block, event.signature) for event in store.load()], {})
        engines[folder] = engine
    said: list[str] = []
    clock = 100.0
    waiting: list[tuple[Path, Input]] = [(one, PeerUp(peers[two])), (two, PeerUp(peers[one])), (two, Tick())]
    for _ in range(ROUNDS):
        batch, waiting = waiting, []
        clock += 1.0
        for folder, given in batch:
            other = two if folder == one else one
            for frame in _frames(engines[folder], stores[folder], peers[other], given, Now(clock, _wall())):
                if folder == two:
                    said.append(frame.hex())
                waiting.append((other, Frame(peers[folder], frame)))
    for store in stores.values():
        store.close()
    return said


def _frames(engine: Engine, store: EventStore, to: PeerId, given: Input, now: Now) -> list[bytes]:
    frames = []
    for output in engine.handle(given, now):
        if isinstance(output, Send) and output.peer == to:
            frames.append(encode_message(output.message))
        elif isinstance(output, SendEvents) and output.peer == to:
            found = [SignedBlock(event.block, event.signature) for event in store.get(output.ids) if event is not None]
            frames.extend(encode_message(Events(chunk)) for chunk in chunks(found))
        elif isinstance(output, Publish):
            frames.append(encode_message(output.message))
    return frames


def _network_of(store: EventStore) -> Cid:
    return Cid(store.meta_all()["network"])


def _wall() -> int:
    return time.time_ns() // 1_000_000


def _written() -> dict[str, list[dict[str, str]]]:
    """Of each protocol the messages of the vectors, without what is about a bound."""
    found: dict[str, list[dict[str, str]]] = {}
    for name in PROTOCOLS:
        vectors: Any = json.loads((ROOT / "protocols" / "vectors" / f"{name}.json").read_text())
        found[name] = [
            {"name": one["name"], "kind": one.get("kind", ""), "block": one["block"]}
            for one in vectors["accepted"]
            if len(one["block"]) <= 2 * LARGEST
        ]
    return found


def _expected(one: Path, two: Path) -> dict[str, Any]:
    """What later versions have to find."""
    counts = {}
    for name, folder in (("one", one), ("two", two)):
        store = EventStore.open(folder / "events.db")
        counts[name] = store.count()
        network = _network_of(store)
        store.close()
    key = Signer(load(one / "identity.key")).peer_id
    other = Signer(load(two / "identity.key")).peer_id
    return {"version": __version__, "network": network.text, "one": key, "two": other, "events": counts, "said": SAID}


if __name__ == "__main__":
    os.umask(0o077)
    raise SystemExit(main())
