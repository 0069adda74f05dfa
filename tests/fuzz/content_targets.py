"""What comes from a peer as content, as targets: logs, reports, caches, trees, secrets, nodes of a clock, a backup.

Nobody signed it but its owner, who may be anybody: each target takes any bytes and fails only if something else comes
out than a value or the one error that the reader names, or if anything is written outside of where it belongs.
"""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Final, cast

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt
from nacl.public import SealedBox
from nacl.signing import SigningKey

from p2pwf.core.bodies import BOX, SEALED_OVER
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, blob_cid
from p2pwf.core.sign import Signer
from p2pwf.errors import Refused, RemoteError, StorageError
from p2pwf.ledger.node import BadClock, read_block
from p2pwf.node.backup import EVENTS, MANIFEST, blob_name
from p2pwf.node.boxes import BLOCK, NONCE, Place, open_value, seal_value
from p2pwf.node.facts import IDENTITY
from p2pwf.node.loglines import LogLines
from p2pwf.node.restore import check_backup
from p2pwf.node.results import read_report
from p2pwf.runner.log import LogLine
from p2pwf.runner.manifest import parse as parse_manifest
from p2pwf.runner.native.cachefiles import read_index
from p2pwf.runner.report import report as written_report
from p2pwf.runner.treewriter import links_last, write
from p2pwf.runner.values import Annotation, JobResult, StepResult
from p2pwf.store.archive import BLOCK as RECORD
from p2pwf.store.archive import ArchiveWriter
from tests.fuzz.mutations import VECTORS

SEED: Final = b"\4" * 32
SECRET_KEY: Final = b"k" * 32
PLACE: Final = Place(blob_cid(b"network"), None, "TOKEN")
TREES_OF_ONE_FOLDER: Final = 500
"""Then an empty one: links that an earlier tree left must lead no later one out."""


def log(data: bytes) -> None:
    """The lines of a log, cut where the first byte says."""
    cut = data[0] + 1 if data else 1
    lines = LogLines()
    try:
        for start in range(0, len(data), cut):
            for line in lines.feed(data[start : start + cut]):
                assert line.keys() == {"time", "step", "stream", "text"}
                json.dumps(line, allow_nan=False)
    except RemoteError as error:
        assert "\n" not in error.message  # noqa: PT017 - raising is as good as returning here


def report(data: bytes) -> None:
    """What the steps of a job came to."""
    try:
        read = read_report(data)
    except RemoteError:
        return
    json.dumps(read, allow_nan=False)
    assert all(isinstance(one, dict) for name in ("steps", "annotations") for one in read[name])


def cache_index(data: bytes) -> None:
    """What a cache says of its files: every folder in it can be a path."""
    try:
        times, folders = read_index(data)
    except RemoteError:
        return
    assert all(0 <= time * 1_000_000 < 1 << 63 for time in times.values())
    assert all(name.encode() and "\0" not in name for name in folders)


@cache
def _box() -> bytes:
    return SealedBox(SigningKey(SEED).to_curve25519_private_key().public_key).encrypt(SECRET_KEY)


def sealed(data: bytes) -> None:
    """A secret that somebody sealed: the value, the box, or what is in both, of sizes that their events let through."""
    nonce = data[:NONCE].ljust(NONCE, b"\0")
    inside = nonce + encrypt(data.ljust(BLOCK, b"\0"), PLACE.bound(), nonce, SECRET_KEY)
    outside = data.ljust(SEALED_OVER, b"\0")
    for value, box in ((outside, _box()), (inside, _box()), (inside, data[:BOX].ljust(BOX, b"\0"))):
        body = {"environment": PLACE.environment, "name": PLACE.name, "value": value}
        try:
            open_value(SEED, cast(Event, SimpleNamespace(net=PLACE.network, body=body)), [box])
        except Refused as error:
            assert "\n" not in error.message  # noqa: PT017 - as above


class _Ground:
    """A folder that trees are laid out in, beside one that no tree may touch."""

    def __init__(self) -> None:
        self.left = TREES_OF_ONE_FOLDER
        self._folder = TemporaryDirectory(prefix="p2pwf-fuzz-")
        self.top = Path(self._folder.name)
        (self.top / "held").mkdir()
        self.root, self.outside = self.top / "root", self.top / "outside"
        for folder in (self.root, self.outside):
            folder.mkdir()
        (self.outside / "file").write_bytes(b"untouched")
        (self.root / "out").symlink_to(self.outside)
        vectors = json.loads((VECTORS / "source.json").read_text(encoding="utf-8"))["accepted"]
        held = [bytes.fromhex(one["content"]) for case in vectors for one in case["tree"].values() if "content" in one]
        self.held = {blob_cid(content): self._store(content) for content in held}
        self.other = self._store(b"something else")

    def _store(self, content: bytes) -> Path:
        path = self.top / "held" / blob_cid(content).text
        path.write_bytes(content)
        return path

    def is_whole(self) -> bool:
        """Whether nothing happened outside of the root."""
        return (
            sorted(each.name for each in self.top.iterdir()) == ["held", "outside", "root"]
            and [each.name for each in self.outside.iterdir()] == ["file"]
            and (self.outside / "file").read_bytes() == b"untouched"
        )


_grounds: list[_Ground] = []


def unpack(data: bytes) -> None:
    """A tree, laid out where earlier ones, and a link to the outside, stand already."""
    try:
        tree = parse_manifest(data)
    except RemoteError:
        return
    if not _grounds or not _grounds[0].left:
        _grounds[:] = [_Ground()]
    ground = _grounds[0]
    ground.left -= 1
    held: dict[Cid, Path] = {file.cid: ground.held.get(file.cid, ground.other) for file in tree.files if file.cid}
    with suppress(StorageError):  # contents of another hash, or a name that this disk does not take
        write(ground.root, links_last(tree.files), held)
    assert ground.is_whole()


def ledger_node(data: bytes) -> None:
    """A node of another coordinator's clock."""
    try:
        node = read_block(data)
    except BadClock:
        return
    assert node.is_genuine()
    assert node.block() == data


def backup(data: bytes) -> None:
    """A backup: as it is, and as the inside of one, with sums of headers that are right."""
    for given in (data, gzip.compress(_summed(data), 1)):
        try:
            check_backup(BytesIO(given), lambda _done: None)
        except Refused as error:
            assert "\n" not in error.message  # noqa: PT017 - as above


def _summed(archive: bytes) -> bytes:
    blocks = [archive[start : start + RECORD] for start in range(0, len(archive), RECORD)]
    for number, block in enumerate(blocks):
        if len(block) == RECORD and block[257:262] == b"ustar":
            total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
            blocks[number] = block[:148] + b"%06o\0 " % total + block[156:]
    return b"".join(blocks)


@cache
def contents(name: str) -> tuple[bytes, ...]:
    """What the inputs of a target are made of."""
    match name:
        case "log":
            lines = (LogLine(1, 0, "system", "begun"), LogLine(1 << 40, 3, "stdout", 'x "y" \ud800 \u00e9 \x1b[1m'))
            return (b"".join(line.to_json().encode("utf-8", "replace") + b"\n" for line in lines),)
        case "report":
            steps = (
                StepResult(
                    number=1,
                    id="a",
                    name="Run a",
                    outcome="failure",
                    conclusion="success",
                    started_ms=1,
                    completed_ms=2,
                    summary="# summary",
                ),
                StepResult(number=2, id="", name="b", outcome="skipped", conclusion="skipped"),
            )
            place = {"line": 3, "end_line": 4, "column": 5, "end_column": 6}
            told = (
                Annotation(level="error", message="it broke", step=1, title="title", file="src/a.py", **place),
                Annotation(level="notice", message="n", step=0),
            )
            result = JobResult(outcome="success", conclusion="success", steps=steps, annotations=told)
            return written_report(result), written_report(JobResult(outcome="failure", conclusion="failure"))
        case "cache_index":
            folders = ["workspace/empty", "home/.cache/x", "root/opt", "tools"]
            index = {"v": 1, "times": {"workspace/a": 1_700_000_000_000, "home/b": 0}, "folders": folders}
            return json.dumps(index).encode(), b'{"v": 1, "times": {}, "folders": ["workspace/\\ud800"]}'
        case "sealed":
            value, boxes = seal_value(b"s3cret", PLACE, [Signer(SEED).peer_id])
            return value, *boxes.values(), b"\x80" + bytes(255), bytes(256)
        case "ledger_node":
            cases = json.loads((VECTORS / "embedded.json").read_text(encoding="utf-8"))
            nodes = [node for case in cases["cases"] for node in case["nodes"]] + cases["refused"]
            return tuple(bytes.fromhex(node["block"]) for node in nodes if "block" in node)
        case _:
            return (_backup(),)


def _backup() -> bytes:
    """The inside of one: files that are there, and the manifest that names them."""
    out, files = BytesIO(), {}
    given = {IDENTITY: bytes(32), EVENTS: b"SQLite format 3\0" + bytes(700), blob_name(blob_cid(b"log")): b"log"}
    with ArchiveWriter(out) as archive:
        for name, content in given.items():
            made = archive.add(name, len(content), BytesIO(content))
            files[name] = [made.size, made.sha256]
        about: dict[str, Any] = {"backup": 1, "made_by": "p2pwf", "made_at": 1, "peer_id": Signer(SEED).peer_id}
        manifest = json.dumps({**about, "network": PLACE.network.text, "files": files}).encode()
        archive.add(MANIFEST, len(manifest), BytesIO(manifest))
    return gzip.decompress(out.getvalue())[:19_000]
