"""What earlier versions wrote, and this one wrote when it was new, is read by the code as it is now: disk and wire.

The folders below tests/fixtures/formats are made once for each version, by scripts/formats.py and that version's own
code, and never again: a test here that fails says that somebody's node would not start, or would not be understood.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from p2pwf import P2PWorkflowCoordinator
from p2pwf.cli.main import run
from p2pwf.clock.messages import decode_message
from p2pwf.control.client import Client
from p2pwf.core.events import SignedBlock
from p2pwf.core.ids import Cid, parse_cid
from p2pwf.core.sign import Signer
from p2pwf.engine import Engine, EngineConfig
from p2pwf.engine.inputs import Frame, Now, PeerUp
from p2pwf.engine.outputs import Misbehaved, Output, Send, SendEvents, Store
from p2pwf.errors import NoNode
from p2pwf.net import blob_messages, joins, links, logs
from p2pwf.net.identity import load
from p2pwf.node.facts import IDENTITY, NETWORK
from p2pwf.node.planner import WorkflowPlanner
from p2pwf.node.verify import verify_store
from p2pwf.runs.view import summary
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import EventStore
from tests.e2e.kit import PATIENCE, Node
from tests.protocols.kit import ROOT

FORMATS = sorted(path for path in (ROOT / "tests" / "fixtures" / "formats").iterdir() if path.is_dir())
READERS: dict[tuple[str, str], Callable[[bytes], object]] = {
    ("blob", "request"): blob_messages.decode_request,
    ("blob", "answer"): blob_messages.decode_fetch_answer,
    ("blob", "held"): blob_messages.decode_held,
    ("clock", ""): decode_message,
    ("join", "request"): joins.decode_request,
    ("join", "reply"): joins.decode_reply,
    ("logs", "request"): logs.decode_request,
    ("logs", "head"): logs.decode_head,
    ("transport", "opening"): links.decode_opening,
}
EACH = pytest.mark.parametrize("kept", FORMATS, ids=lambda path: path.name)


def told(kept: Path, name: str = "expected") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((kept / f"{name}.json").read_text())
    return found


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """The data folder that a node of that version left, as it lay on its disk."""
    made = tmp_path / "node"
    copytree(kept / "node", made)
    for path in [made, *made.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return made


@EACH
def test_a_data_folder_is_opened_and_holds_what_it_held(kept: Path, folder: Path) -> None:
    expected = told(kept)
    with closing(EventStore.open(folder / "events.db")) as store:
        assert verify_store(store, parse_cid(expected["network"])) == {
            "ok": True, "events": expected["events"]["one"], "problems": []
        }  # fmt: skip
    with closing(BlobStore(folder / "blobs", 1 << 30)) as blobs:
        held = [path.name for path in (kept / "node" / "blobs").rglob("bafk*")]
        assert len(held) == 5
        for name in held:
            blobs.open(parse_cid(name)).close()
        assert blobs.pinned_bytes("", prefix=True) > 0


@EACH
def test_a_node_starts_on_it_and_shows_what_was_there(kept: Path, folder: Path) -> None:
    expected = told(kept)
    with Node(folder, "--slots", "0") as node:
        node.start()
        client, status = Client(folder), None
        until = time.monotonic() + PATIENCE
        while status is None:
            assert time.monotonic() < until, node.errors()
            try:
                status = client.call("GET", "status")
            except NoNode:
                time.sleep(0.1)
        assert (status["peer_id"], status["network"]) == (expected["one"], expected["network"])
        (row,) = client.call("GET", "runs")
        assert (row["status"], row["result"]["one"]["outputs"]) == ("completed", {"answer": "42"})
        assert expected["said"] in [line["text"] for line in client.stream("runs", row["workflow_id"], "logs")]
        assert client.call("GET", "variables")[0]["value"] == "hello"


def engine_of(folder: Path) -> Engine:
    with closing(EventStore.open(folder / "events.db")) as store:
        config = EngineConfig(os.urandom(16), "test", 0, WorkflowPlanner())
        network = Cid(store.meta_all()[NETWORK])
        engine = Engine(Signer(load(folder / IDENTITY)), network, config, Now(0.0, 1))
        engine.load([SignedBlock(event.block, event.signature) for event in store.load()], {})
    return engine


@EACH
def test_what_another_node_of_that_version_said_is_understood_and_answered(kept: Path, folder: Path) -> None:
    expected = told(kept)
    engine = engine_of(folder)
    outputs: list[Output] = engine.handle(PeerUp(expected["two"]), Now(1.0, 1))
    for number, frame in enumerate(told(kept, "frames")["spoken"]):
        data = bytes.fromhex(frame)
        if decode_message(data) is not None and b"hpresence" not in data:
            outputs += engine.handle(Frame(expected["two"], data), Now(2.0 + number, 1))
    assert not [output for output in outputs if isinstance(output, Misbehaved)]
    stored = [event for output in outputs if isinstance(output, Store) for event in output.events]
    assert len(engine.desk.clock.dag) == expected["events"]["two"] == expected["events"]["one"] + len(stored)
    assert {summary(one)["conclusion"] for one in engine.desk.runs.values()} == {"success"}
    assert any(isinstance(output, (Send, SendEvents)) for output in outputs)


@EACH
def test_the_messages_of_every_protocol_are_read(kept: Path) -> None:
    written = told(kept, "frames")["written"]
    for protocol, messages in written.items():
        for message in messages:
            assert READERS[protocol, message["kind"] if protocol != "clock" else ""](bytes.fromhex(message["block"])), (
                protocol, message["name"]
            )  # fmt: skip


@EACH
def test_a_backup_is_restored_and_an_archive_taken_in(
    kept: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = told(kept)
    restored = str(tmp_path / "restored")
    assert run(["restore", str(kept / "node.backup"), "--same-identity", "--data-dir", restored, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["peer_id"] == expected["one"]
    for data in (restored, str(folder)):
        assert run(["clock", "import", str(kept / "clock.car"), "--data-dir", data, "--json"]) == 0
        taken = json.loads(capsys.readouterr().out)
        assert (taken["events"], taken["new"]) == (
            expected["events"]["two"], expected["events"]["two"] - expected["events"]["one"]
        )  # fmt: skip


@EACH
def test_an_embedded_coordinator_goes_on(kept: Path, tmp_path: Path) -> None:
    copytree(kept / "embedded", tmp_path / "data")
    with P2PWorkflowCoordinator("keeper", tmp_path / "data") as coordinator:
        (row,) = coordinator.list_workflows()
        assert (row["name"], row["status"]) == ("Kept", "assigned")
        assert coordinator.update_workflow_status(row["workflow_id"], "in_progress")
