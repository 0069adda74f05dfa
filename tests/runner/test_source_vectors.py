"""The vectors of protocols/vectors/source.json, both ways.

First encoded here from the page's words alone, with none of the package's code; then asked of the package, and laid
out; then the schema; last, the generator must give the file as it is.
"""

from __future__ import annotations

import json
import runpy
from base64 import b32encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from p2pwf.core.ids import Cid, blob_cid, parse_cid
from p2pwf.errors import RemoteError
from p2pwf.runner.checkout import layout
from p2pwf.runner.manifest import LINK, SourceFile, build, parse
from p2pwf.store.blobs import BlobStore

ROOT = Path(__file__).resolve().parents[2]
VECTORS: dict[str, Any] = json.loads((ROOT / "protocols/vectors/source.json").read_text(encoding="utf-8"))
SCHEMA = (ROOT / "protocols/cddl/source.cddl").read_text(encoding="utf-8")
LAX = {"a file with a target", "a link with a CID"}
"""What a closed map refuses, and pycddl 0.6 lets pass: keys of the branch of a choice that was not taken."""
RAW = bytes.fromhex("01551220")


def by_name(vector: dict[str, Any]) -> str:
    return str(vector.get("name") or vector["why"])


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for extra, length in ((24, 1), (25, 2), (26, 4)):
        if number < 256**length:
            return bytes([major << 5 | extra]) + number.to_bytes(length)
    raise ValueError(number)


def text(value: str) -> bytes:
    return head(3, len(value.encode())) + value.encode()


def mapping(fields: dict[str, bytes]) -> bytes:
    ordered = sorted(fields, key=lambda key: (len(key), key))
    return head(5, len(fields)) + b"".join(text(key) + fields[key] for key in ordered)


def size_of(entry: dict[str, str]) -> int:
    return len(bytes.fromhex(entry["content"])) if "content" in entry else len(entry["target"].encode())


def encoded(tree: dict[str, dict[str, str]]) -> bytes:
    entries = []
    for path in sorted(tree, key=str.encode):
        entry = tree[path]
        fields = {"path": text(path), "mode": head(0, int(entry["mode"], 8)), "size": head(0, size_of(entry))}
        if "target" in entry:
            fields["target"] = text(entry["target"])
        else:
            digest = sha256(bytes.fromhex(entry["content"])).digest()
            fields["cid"] = b"\xd8\x2a\x58\x25\x00" + RAW + digest
        entries.append(mapping(fields))
    return mapping({"v": head(0, 1), "files": head(4, len(entries)) + b"".join(entries)})


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=by_name)
def test_the_block_follows_from_the_page(vector: dict[str, Any]) -> None:
    block = encoded(vector["tree"])
    assert block.hex() == vector["block"]
    digest = b32encode(RAW + sha256(block).digest()).decode().rstrip("=").lower()
    assert f"b{digest}" == vector["manifest"]
    assert sum(map(size_of, vector["tree"].values())) == vector["bytes"]


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=by_name)
async def test_a_manifest_is_built_read_and_laid_out(vector: dict[str, Any], tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs", 10**9)
    files = []
    for path, entry in vector["tree"].items():
        mode = int(entry["mode"], 8)
        if mode == LINK:
            files.append(SourceFile(path, mode, size_of(entry), target=entry["target"]))
        else:
            cid = blobs.put_bytes(bytes.fromhex(entry["content"]))
            files.append(SourceFile(path, mode, size_of(entry), cid=cid))
    block = bytes.fromhex(vector["block"])
    assert build(files) == block
    assert set(parse(block).files) == set(files)
    assert blobs.put_bytes(block) == parse_cid(vector["manifest"])

    async def fetch(cid: Cid) -> Path:
        return blobs.path(cid)

    await layout(blob_cid(block), fetch, tmp_path / "out")
    for path, entry in vector["tree"].items():
        laid = tmp_path / "out" / path
        if "target" in entry:
            assert str(laid.readlink()) == str(Path(entry["target"]))
        else:
            assert laid.read_bytes().hex() == entry["content"]
            assert f"{laid.stat().st_mode:07o}" == entry["mode"]
    blobs.close()


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=by_name)
def test_a_manifest_that_breaks_a_rule_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(RemoteError):
        parse(bytes.fromhex(vector["block"]))


def test_the_schema_accepts_what_is_accepted_and_refuses_what_it_can() -> None:
    pycddl = pytest.importorskip("pycddl", reason="no wheel of pycddl for this machine")
    schema = pycddl.Schema(SCHEMA)
    for vector in VECTORS["accepted"]:
        schema.validate_cbor(bytes.fromhex(vector["block"]))
    for vector in VECTORS["refused"]:
        if not vector["cddl"] and vector["why"] not in LAX:
            with pytest.raises((pycddl.ValidationError, ValueError)):
                schema.validate_cbor(bytes.fromhex(vector["block"]))
    assert sum(not vector["cddl"] for vector in VECTORS["refused"]) >= 10


def test_the_generator_gives_the_file_as_it_is() -> None:
    generator = runpy.run_path(str(ROOT / "scripts/vectors_source.py"))
    assert generator["vectors"]() == (ROOT / "protocols/vectors/source.json").read_text(encoding="utf-8")
