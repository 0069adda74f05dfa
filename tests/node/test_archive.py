"""A clock in a file: what is written is taken in, and of a file with any fault nothing is."""

from __future__ import annotations

import json
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from p2pwf.cli.main import run
from p2pwf.core.events import Event, SignedBlock, parse
from p2pwf.core.ids import Cid, parse_cid
from p2pwf.core.sign import Signer
from p2pwf.engine.inputs import JobEnded, PeerDown, Submit, TakeIn
from p2pwf.engine.outputs import Reply
from p2pwf.engine.recovery import RESTORED, restored_value
from p2pwf.errors import P2pwfError
from p2pwf.net.identity import load_or_create
from p2pwf.node import portable, taking
from p2pwf.node.facts import IDENTITY, NETWORK, PEER
from p2pwf.node.loop import stored_event
from p2pwf.runner.manifest import FILE, SourceFile, build
from p2pwf.store import car
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import Commit, EventStore
from tests.engine.kit import Net, of_workflows
from tests.protocols.kit import load, named

ONE = "on: push\njobs:\n  one:\n    runs-on: linux\n    steps: [{run: echo hi}]\n"
LOG, TEXT = b"hi\n" * 100, b"a file of the tree\n"


def folder_of(path: Path, events: list[Event], owner: str | None = None, **meta: bytes) -> Path:
    """The data folder of a node that does not run and knows these events."""
    path.mkdir(mode=0o700)
    peer = Signer(load_or_create(path / IDENTITY)).peer_id
    values: dict[str, bytes | None] = {NETWORK: bytes(events[0].cid), PEER: (owner or peer).encode(), **meta}
    with closing(EventStore.open(path / "events.db")) as store:
        store.commit(Commit(tuple(map(stored_event, events)), values))
    return path


def events_in(folder: Path) -> dict[Cid, bytes]:
    with closing(EventStore.open(folder / "events.db", readonly=True)) as store:
        return {event.cid: event.signature for event in store.load()}


def ended_run(folder: Path) -> tuple[Net, Cid]:
    """A network in which one run has ended, whose log and source are blobs of `folder`."""
    net = of_workflows(2)
    with closing(BlobStore(folder, 1 << 30)) as blobs:
        log, text = blobs.put_bytes(LOG), blobs.put_bytes(TEXT)
        tree = blobs.put_bytes(build([SourceFile("a.txt", FILE, len(TEXT), text)]))
        blobs.put_bytes(b"of another run")
    made = net.submit_text(ONE)
    body = {**net.run(made).submission.body, "source": tree}
    body.pop("absent")
    made = net.submit(body)
    net.wait(2)
    for member in net.members:
        for start in list(member.running.values()):
            member.give(JobEnded(start.attempt, "success", "success", log=log))
    net.wait(2)
    assert net.run(made).tally.end is not None
    return net, made


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a command says in JSON: of one that fails its exit code and the error."""
    code = run([*words, "--json"])
    out = capsys.readouterr()
    return json.loads(out.out) if code == 0 else (code, json.loads(out.err)["error"])


def test_what_one_node_writes_another_takes_in_with_the_blobs_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, made = ended_run(tmp_path / "blobs")
    here = folder_of(tmp_path / "here", net.members[0].disk)
    (tmp_path / "blobs").rename(here / "blobs")
    there = folder_of(tmp_path / "there", [net.genesis])
    file = str(tmp_path / "clock.car")
    told = answer(capsys, "clock", "export", file, "--blobs", made.text[:20], "--data-dir", str(here))
    count = len(net.members[0].disk)
    assert (told["events"], told["blobs"], told["left_out"]) == (count, 3, 0)
    assert told["bytes"] == Path(file).stat().st_size
    taken = answer(capsys, "clock", "import", file, "--data-dir", str(there))
    assert taken == {"events": count, "new": count - 1, "blobs": 3}
    assert events_in(there) == events_in(here)
    with closing(BlobStore(there / "blobs", 1 << 30)) as blobs:
        assert blobs.pinned_bytes(taking.PINNED_FOR) >= len(LOG) + len(TEXT)
    # Once more: nothing is new. What was taken in can be written as the same events.
    assert answer(capsys, "clock", "import", file, "--data-dir", str(there))["new"] == 0
    again = answer(capsys, "clock", "export", str(tmp_path / "again"), "--data-dir", str(there))
    assert (again["events"], again["blobs"]) == (count, 0)


def test_a_file_with_any_fault_is_refused_with_a_hint_and_nothing_of_it_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, made = ended_run(tmp_path / "blobs")
    here = folder_of(tmp_path / "here", net.members[0].disk)
    (tmp_path / "blobs").rename(here / "blobs")
    there = folder_of(tmp_path / "there", [net.genesis])
    path = tmp_path / "clock.car"
    answer(capsys, "clock", "export", str(path), "--blobs", made.text, "--data-dir", str(here))
    whole = path.read_bytes()
    every = len(whole) // 60
    faults = [whole[:end] for end in range(0, len(whole), every)]
    faults += [bytes((*whole[:at], whole[at] ^ 4, *whole[at + 1 :])) for at in range(0, len(whole), every)]
    for fault in faults:
        path.write_bytes(fault)
        code, error = answer(capsys, "clock", "import", str(path), "--data-dir", str(there))
        assert (code, bool(error["hint"])) == (5, True)
    assert list(events_in(there)) == [net.genesis.cid]
    assert not (there / "blobs").exists()


def test_what_an_archive_cannot_be_made_or_taken_from_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Net(2)
    here = folder_of(tmp_path / "here", net.members[0].disk)
    file = tmp_path / "clock.car"
    for words, code in (
        (("clock", "export", str(file), "--data-dir", str(tmp_path / "nowhere")), 4),
        (("clock", "export", str(here / "events.db"), "--data-dir", str(here)), 2),
        (("clock", "export", str(file), "--blobs", "bafyreix", "--data-dir", str(here)), 4),
        (("clock", "import", str(file), "--data-dir", str(here)), 4),
        (("clock", "import", str(here), "--data-dir", str(here)), 5),
    ):
        assert answer(capsys, *words)[0] == code, words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]  # not even a part of one


def test_a_node_takes_no_events_of_its_own_that_it_does_not_know_unless_it_was_restored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Net(2)
    here = folder_of(tmp_path / "here", net.members[0].disk)
    answer(capsys, "clock", "export", str(tmp_path / "file"), "--data-dir", str(here))
    founder = net.members[0].peer
    old = folder_of(tmp_path / "old", [net.genesis], owner=founder)
    code, error = answer(capsys, "clock", "import", str(tmp_path / "file"), "--data-dir", str(old))
    assert (code, "--same-identity" in error["hint"]) == (5, True)
    restored = folder_of(tmp_path / "new", [net.genesis], owner=founder, **{RESTORED: restored_value(())})
    assert answer(capsys, "clock", "import", str(tmp_path / "file"), "--data-dir", str(restored))["new"] > 0


def test_a_running_engine_takes_events_in_as_if_a_peer_had_sent_them() -> None:
    net = of_workflows(2)
    first, away = net.members
    net.lose(away)
    known = len(first.disk)
    lone = of_workflows()
    body = {key: value for key, value in lone.run(lone.submit_text(ONE)).submission.body.items() if key != "absent"}
    away.give(PeerDown(first.peer))
    away.give(Submit("submit", body))
    blocks = tuple(event.signed for event in away.disk)
    (reply,) = [output for output in first.give(TakeIn("in", blocks)) if isinstance(output, Reply)]
    assert reply.result == {"new": len(blocks) - known}
    assert first.engine.desk.clock.dag.digest() == away.engine.desk.clock.dag.digest()
    assert {event.cid for event in first.disk} == {event.cid for event in away.disk}
    forged = SignedBlock(blocks[-1].block, bytes(64))
    fresh = Net(1).members[0]
    (reply,) = [output for output in fresh.give(TakeIn("in", (forged,))) if isinstance(output, Reply)]
    assert reply.error is not None


# -- vectors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", load("archive")["accepted"], ids=named)
def test_an_archive_is_read_and_written_as_the_same_bytes(vector: dict[str, Any], tmp_path: Path) -> None:
    signed = [SignedBlock(*(bytes.fromhex(one[key]) for key in ("block", "signature"))) for one in vector["events"]]
    network = parse_cid(vector["network"])
    items = [
        item if isinstance(item, SignedBlock) else (item.cid.text, b"".join(item.chunks()).hex())
        for item in taking.items(BytesIO(bytes.fromhex(vector["archive"])), network)
    ]
    assert items == [*signed, *((one["cid"], one["content"]) for one in vector["blobs"])]
    if not vector["blobs"]:
        out = BytesIO()
        made = vector["made_at"], vector["made_by"]
        portable.export(out, network, signed, (), tmp_path, made_at=made[0], made_by=made[1])
        assert out.getvalue().hex() == vector["archive"]


@pytest.mark.parametrize("vector", load("archive")["refused"], ids=named)
def test_what_is_no_archive_is_refused(vector: dict[str, Any], tmp_path: Path) -> None:
    genesis = load("archive")["accepted"][0]["events"][0]
    event = parse(SignedBlock(bytes.fromhex(genesis["block"]), bytes.fromhex(genesis["signature"])))
    folder = folder_of(tmp_path / "node", [event])
    with closing(EventStore.open(folder / "events.db")) as store, pytest.raises(P2pwfError) as refused:
        taking.check(BytesIO(bytes.fromhex(vector["archive"])), store, folder)
    assert refused.value.hint


def test_lengths_are_leb128() -> None:
    assert [car.varint(number).hex() for number in (0, 127, 128, 300, 2**62)] == [
        "00", "7f", "8001", "ac02", "808080808080808040",
    ]  # fmt: skip
