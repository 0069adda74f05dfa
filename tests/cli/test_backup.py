"""Backup and restore on folders that no node works in: what is in the file, and what is let out of it."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import copy2, copytree

import pytest

from p2pwf.cli.main import run
from p2pwf.core.events import SignedBlock, parse
from p2pwf.core.ids import Cid
from p2pwf.core.sign import Signer
from p2pwf.engine import found
from p2pwf.engine.inputs import Now
from p2pwf.engine.membership import TICKET
from p2pwf.engine.recovery import RESTORED
from p2pwf.net.identity import load, load_or_create
from p2pwf.node import backup as module
from p2pwf.node.facts import IDENTITY, NETWORK, PEER, PSK
from p2pwf.node.loop import stored_event
from p2pwf.store.archive import ArchiveWriter, read_archive
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import Commit, EventStore

Files = dict[str, bytes]
PINNED, CACHED = b"a log\n" * 100, b"of somebody else"


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`node`, the data folder of a node that founded a network and stopped, and `saved`, a backup of it."""
    base = tmp_path_factory.mktemp("templates")
    made = base / "node"
    made.mkdir(mode=0o700)
    signer = Signer(load_or_create(made / IDENTITY))
    about = {"name": "node", "labels": [], "slots": 1}
    genesis = found(signer, Now(0.0, 1), nonce=b"n" * 16, name="net", private=True, founder=about)
    meta: dict[str, bytes | None] = {
        NETWORK: bytes(genesis.cid), PEER: signer.peer_id.encode(), PSK: b"k" * 32, TICKET + "ab": b"open",
    }  # fmt: skip
    with closing(EventStore.open(made / "events.db")) as store:
        store.commit(Commit((stored_event(genesis),), meta))
    with closing(BlobStore(made / "blobs", 1 << 30)) as blobs:
        blobs.pin(blobs.put_bytes(PINNED), "run", None)
        blobs.put_bytes(CACHED)
    (made / "config.toml").write_text('name = "node"\n')
    (made / "work").mkdir()
    (made / "mcp.token").write_text("secret")
    for empty in made.glob("blobs/*/"):
        if not any(empty.iterdir()):
            empty.rmdir()
    assert run(["backup", str(base / "saved"), "--data-dir", str(made)]) == 0
    return base


@pytest.fixture
def folder(templates: Path, tmp_path: Path) -> Path:
    """The data folder of a node that founded a network and stopped."""
    return copytree(templates / "node", tmp_path / "node")


@pytest.fixture
def saved(templates: Path, tmp_path: Path) -> Path:
    """A backup of it."""
    copy2(templates / "saved", tmp_path / "saved")
    return tmp_path / "saved"


def contents(path: Path) -> Files:
    with path.open("rb") as file:
        return {entry.name: b"".join(entry.chunks()) for entry in read_archive(file)}


def rewrite(path: Path, files: Files, *, manifest: Callable[[dict[str, object]], object] = lambda read: read) -> None:
    """Write a backup of these files, with a manifest that fits them, or what is made of that."""
    named = json.loads(files.pop("manifest.json"))
    with path.open("wb") as out:
        named["files"] = {}
        with ArchiveWriter(out) as archive:
            for name, content in files.items():
                one = archive.add(name, len(content), io.BytesIO(content))
                named["files"][name] = [one.size, one.sha256]
            data = json.dumps(manifest(named)).encode()
            archive.add("manifest.json", len(data), io.BytesIO(data))


def meta_of(folder: Path) -> dict[str, bytes]:
    with closing(EventStore.open(folder / "events.db", readonly=True)) as store:
        return store.meta_all()


def restore(path: Path, target: Path, *words: str) -> int:
    return run(["restore", str(path), "--data-dir", str(target), *words])


def test_a_backup_holds_key_events_settings_and_what_is_pinned_and_is_its_owners_alone(
    folder: Path, saved: Path, tmp_path: Path
) -> None:
    assert saved.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"node", "saved"}
    files = contents(saved)
    (blob,) = [name for name in files if name.startswith("blobs/") and name != "blobs/blobs.db"]
    assert files[blob] == PINNED
    assert list(files) == [IDENTITY, "events.db", "config.toml", "blobs/blobs.db", blob, "manifest.json"]
    assert files[IDENTITY] == (folder / IDENTITY).read_bytes()
    with tarfile.open(saved) as seen:
        assert seen.getnames() == list(files)


def test_with_its_own_id_all_is_as_it_was_but_that_it_has_to_hear_everyone(
    folder: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "empty"
    target.mkdir()
    assert restore(saved, target, "--same-identity", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["peer_id"] == told["former_peer_id"]
    assert (target.stat().st_mode & 0o777, load(target / IDENTITY)) == (0o700, load(folder / IDENTITY))
    before, after = meta_of(folder), meta_of(target)
    assert after.pop(RESTORED) is not None
    assert after == before
    assert (target / "config.toml").read_text() == 'name = "node"\n'
    with closing(BlobStore(target / "blobs", 1 << 30)) as blobs:
        assert (blobs.statistics()["blobs"], blobs.statistics()["pins"]) == (1, 1)


def test_as_another_peer_it_has_a_key_of_its_own_and_no_tickets(folder: Path, saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    assert restore(saved, target, "--new-identity") == 0
    after = meta_of(target)
    signer = Signer(load(target / IDENTITY))
    assert after == {NETWORK: meta_of(folder)[NETWORK], PEER: signer.peer_id.encode(), PSK: b"k" * 32}
    assert signer.peer_id.encode() != meta_of(folder)[PEER]


def test_nobody_could_let_in_another_peer_in_place_of_the_only_admin(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(saved, tmp_path / "new") == 5
    err = capsys.readouterr().err
    assert "is the only admin that this backup knows" in err
    assert "--same-identity" in err
    assert not (tmp_path / "new").exists()


def test_what_was_committed_last_is_in_it_while_somebody_writes(folder: Path, tmp_path: Path) -> None:
    with closing(EventStore.open(folder / "events.db")) as store:
        store.commit(Commit((), {"late": b"1"}))
        assert (folder / "events.db-wal").stat().st_size
        assert run(["backup", str(tmp_path / "saved"), "--data-dir", str(folder)]) == 0
        store.commit(Commit((), {"later": b"1"}))
    assert restore(tmp_path / "saved", tmp_path / "new", "--same-identity") == 0
    meta = meta_of(tmp_path / "new")
    assert ("late" in meta, "later" in meta) == (True, False)


def test_a_backup_to_stdout_is_the_same_and_nothing_else(
    folder: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["backup", "-", "--data-dir", str(folder), "--no-blobs"]) == 0
    out, err = capfdbinary.readouterr()
    (tmp_path / "piped").write_bytes(out)
    assert list(contents(tmp_path / "piped")) == [IDENTITY, "events.db", "config.toml", "manifest.json"]
    assert err.startswith(b"stdout: 1 events, 0 blobs, ")


def test_a_damaged_blob_is_left_out_and_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = [path for path in (folder / "blobs").glob("*/baf*") if path.read_bytes() == PINNED]
    path.chmod(0o600)
    path.write_bytes(PINNED[:-1] + b"?")
    assert run(["backup", str(tmp_path / "saved"), "--data-dir", str(folder)]) == 0
    assert "left out: 1 blobs" in capsys.readouterr().err
    assert restore(tmp_path / "saved", tmp_path / "new", "--same-identity") == 0


def test_no_backup_is_made_of_what_is_none_or_over_a_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("mine")
    assert run(["backup", str(tmp_path / "taken"), "--data-dir", str(folder)]) == 2
    assert run(["backup", str(tmp_path / "x"), "--data-dir", str(tmp_path)]) == 4
    assert run(["backup", str(tmp_path / "no" / "x"), "--data-dir", str(folder)]) == 6
    (folder / IDENTITY).unlink()
    load_or_create(folder / IDENTITY)
    assert run(["backup", str(tmp_path / "x"), "--data-dir", str(folder)]) == 5
    assert capsys.readouterr().err.count("\nhint: ") == 4
    assert {path.name for path in tmp_path.iterdir()} == {"node", "taken"}
    assert (tmp_path / "taken").read_text() == "mine"


def _trigger(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "scratch.db"
    path.write_bytes(files["events.db"])
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM event; END")
        database.commit()
    files["events.db"] = path.read_bytes()
    path.unlink()


def _forged(files: Files, tmp_path: Path) -> None:
    """An event more, that its author did not sign; all sums are right."""
    path = tmp_path / "scratch.db"
    path.write_bytes(files["events.db"])
    with closing(EventStore.open(path)) as store:
        (genesis,) = store.load()
        other = found(Signer(b"o" * 32), Now(0.0, 1), nonce=b"o" * 16, name="x", private=False, founder={
            "name": "x", "labels": [], "slots": 1
        })  # fmt: skip
        forged = parse(SignedBlock(other.signed.block, genesis.signature))
        store.commit(Commit((stored_event(forged),)))
    files["events.db"] = path.read_bytes()
    path.unlink()


def _put(name: str, content: bytes) -> Callable[[Files, Path], None]:
    return lambda files, _: files.update({name: content})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_put("../out", b"x"), "no place for '../out'"),
        (_put("/etc/out", b"x"), "no place for '/etc/out'"),
        (_put("blobs/00/../../out", b"x"), "no place"),
        (_put("blobs/tmp/x", b"x"), "no place"),
        (_put("control.sock", b"x"), "no place"),
        (_put("config.toml", b"#" * (module.MAX_CONFIG + 1)), "no place for 'config.toml'"),
        (_put(IDENTITY, b"x" * 68), "holds no Ed25519 key"),
        (_put(IDENTITY, b"x" * 69), "no place"),
        (_put("events.db", b"x" * 4096), "damaged"),
        (lambda files, _: files.pop(IDENTITY), "is missing"),
        (lambda files, _: files.update({next(name for name in files if "/baf" in name): b"other"}), "hash to its name"),
        (_trigger, "other tables than ours"),
        (_forged, "event baf"),
    ],
)
def test_a_hostile_backup_writes_nothing(
    change: Callable[[Files, Path], object], said: str, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = contents(saved)
    change(files, tmp_path)
    rewrite(saved, files)
    assert restore(saved, tmp_path / "new", "--same-identity") in {5, 6}
    assert said in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"saved"}


@pytest.mark.parametrize(
    "manifest",
    [
        list,
        lambda read: {**read, "backup": 2},
        lambda read: {**read, "backup": "1"},
        lambda read: {**read, "more": 1},
        lambda read: {**read, "files": {}},
        lambda read: {**read, "files": {**read["files"], "config.toml": [1, "00"]}},
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    manifest: Callable[[dict[str, object]], object], saved: Path, tmp_path: Path
) -> None:
    rewrite(saved, contents(saved), manifest=manifest)
    assert restore(saved, tmp_path / "new", "--same-identity") == 5
    assert not (tmp_path / "new").exists()


def test_an_archive_with_one_name_twice_or_something_after_its_manifest_is_refused(saved: Path, tmp_path: Path) -> None:
    files = contents(saved)
    for names in (["config.toml", *files], [*files, "config.toml"]):
        with saved.open("wb") as out, ArchiveWriter(out) as archive:
            for name in names:
                archive.add(name, len(files[name]), io.BytesIO(files[name]))
        assert restore(saved, tmp_path / "new", "--same-identity") == 5
        assert not (tmp_path / "new").exists()


def test_restore_writes_over_nothing(
    folder: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for target, code in (("full", 5), ("file", 5), ("node", 5), ("file/below", 5)):
        assert restore(saved, tmp_path / target, "--same-identity") == code, target
    assert restore(tmp_path / "missing", tmp_path / "new") == 4
    assert restore(tmp_path, tmp_path / "new") == 5
    assert restore(saved, tmp_path / "new", "--without", "x") == 2
    assert restore(saved, tmp_path / "new", "--same-identity", "--without", "x") == 2
    assert capsys.readouterr().err.count("\nhint: ") == 8
    assert {path.name for path in tmp_path.iterdir()} == {"node", "saved", "file", "full"}


def test_a_bar_is_drawn_on_a_terminal_only(folder: Path, tmp_path: Path) -> None:
    import pty
    import subprocess
    import sys

    line = [sys.executable, "-m", "p2pwf.cli.main", "backup", str(tmp_path / "saved"), "--data-dir", str(folder)]
    ours, theirs = pty.openpty()
    done = subprocess.run(line, stderr=theirs, stdout=subprocess.PIPE, timeout=60, check=True)
    os.close(theirs)
    drawn = os.read(ours, 65536)
    os.close(ours)
    assert b"backing up" in drawn
    assert b"100%" in drawn
    assert b"%" not in done.stdout


def test_the_names_of_blobs_are_theirs_and_no_others() -> None:
    cid = Cid(bytes.fromhex("01551220") + bytes(range(32)))
    assert module.blob_of(module.blob_name(cid)) == cid
    event = Cid(bytes.fromhex("01711220") + bytes(range(32)))
    for name in (f"blobs/01/{cid.text}", f"blobs/{cid.text}", f"blobs/00/{event.text}", f"00/{cid.text}", "blobs/00/x"):
        assert module.blob_of(name) is None, name
