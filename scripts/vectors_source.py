"""Write protocols/vectors/source.json: source manifests to accept and to refuse, for other implementations.

    python scripts/vectors_source.py [--check]

Deterministic. `--check` writes nothing and exits 1 if the file differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from p2pwf.core.dagcbor import encode  # noqa: E402 - needs the path above
from p2pwf.core.ids import blob_cid, block_cid  # noqa: E402
from p2pwf.runner.manifest import FILE, LINK, PROGRAM, SourceFile, build, parse  # noqa: E402

TARGET = ROOT / "protocols" / "vectors" / "source.json"
Tree = dict[str, tuple[int, bytes]]

TREES: dict[str, Tree] = {
    "nothing": {},
    "one empty file": {"empty": (FILE, b"")},
    "a workflow and a program": {
        ".github/workflows/ci.yml": (FILE, b"on: push\n"),
        "scripts/build": (PROGRAM, b"#!/bin/sh\necho built\n"),
    },
    "the same content twice": {"a": (FILE, b"same"), "b/a": (FILE, b"same")},
    "links": {"away": (LINK, b"/etc/hosts"), "dangling": (LINK, b"no/where"), "up": (LINK, b"../../x//y/")},
    "sorted by bytes, not by folder or letter": dict.fromkeys(
        ("A", "a0", "a-b", "a.d", "a/b", "b", "\u00fc", "\uffff", "\U0001f600"), (FILE, b"x")
    ),
    "names that are odd and allowed": dict.fromkeys(
        ("...", ".gitignore", "a b", "back\\slash", "line\nfeed", "C:", "-", "~", "git"), (FILE, b"x")
    ),
    "the longest name": {"n" * 255: (FILE, b"x")},
}


def entry(path: object, **changes: object) -> dict[str, object]:
    """A good entry of a file, but for the changes; None takes a field away."""
    whole = {"path": path, "mode": FILE, "size": 1, "cid": blob_cid(b"x")} | changes
    return {name: value for name, value in whole.items() if value is not None}


def link(path: str, target: str, **changes: object) -> dict[str, object]:
    """A good entry of a link, but for the changes."""
    return {"path": path, "mode": LINK, "size": len(target.encode()), "target": target} | changes


def manifest(*entries: object, **changes: object) -> bytes:
    """A block of a manifest, however bad."""
    return encode({"v": 1, "files": list(entries)} | changes)


REFUSED: dict[str, tuple[bytes, bool]] = {
    "no bytes": (b"", False),
    "another version": (manifest(v=2), False),
    "a field too many": (manifest(more=1), False),
    "a field too few": (encode({"v": 1}), False),
    "bytes after the end": (manifest() + b"\x00", True),
    "keys that are not in canonical order": (bytes.fromhex("a26566696c6573806176" + "01"), True),
    "an empty path": (manifest(entry("")), False),
    "an absolute path": (manifest(entry("/a")), True),
    "a path that leaves the tree": (manifest(entry("../a")), True),
    "a path that leaves and comes back": (manifest(entry("a/../b")), True),
    "a name that is a dot": (manifest(entry("./a")), True),
    "an empty name": (manifest(entry("a//b")), True),
    "a NUL": (manifest(entry("a\0b")), True),
    "a name over 255 bytes": (manifest(entry("n" * 256)), True),
    "a repository's settings": (manifest(entry(".git/config")), True),
    "a repository's hooks, in another case": (manifest(entry("a/.Git/hooks/post-checkout")), True),
    "one path twice": (manifest(entry("a"), entry("a")), True),
    "paths out of order": (manifest(entry("b"), entry("a")), True),
    "a path through a link": (manifest(link("a", "/etc"), entry("a/b")), True),
    "a path through a file, others between": (manifest(entry("a"), entry("a-b"), entry("a/b")), True),
    "a folder": (manifest(entry("a", mode=0o040755)), False),
    "a device": (manifest(entry("a", mode=0o020644)), False),
    "set-user-id": (manifest(entry("a", mode=0o104755)), False),
    "a size below zero": (manifest(entry("a", size=-1)), False),
    "more than 256 MiB": (manifest(entry("a", size=2**28), entry("b")), True),
    "a file without a CID": (manifest(entry("a", cid=None)), False),
    "the CID of an event": (manifest(entry("a", cid=block_cid(b"x"))), True),
    "a file with a target": (manifest(entry("a", target="b")), False),
    "a link to nothing": (manifest(link("a", "")), False),
    "a link with a NUL": (manifest(link("a", "b\0c")), True),
    "a link of another size than its target": (manifest(link("a", "b", size=2)), True),
    "a link with a CID": (manifest(link("a", "b", cid=blob_cid(b"x"))), False),
}


def accepted(name: str, tree: Tree) -> dict[str, object]:
    """One vector of a manifest to accept."""
    files = [
        SourceFile(path, mode, len(content), target=content.decode())
        if mode == LINK
        else SourceFile(path, mode, len(content), cid=blob_cid(content))
        for path, (mode, content) in tree.items()
    ]
    block = build(files)
    described = {
        path: {"mode": f"{mode:07o}", "target": content.decode()}
        if mode == LINK
        else {"mode": f"{mode:07o}", "content": content.hex()}
        for path, (mode, content) in tree.items()
    }
    return {
        "name": name,
        "tree": described,
        "block": block.hex(),
        "manifest": blob_cid(block).text,
        "bytes": parse(block).bytes,
    }


def vectors() -> str:
    """The text of the file."""
    content = {
        "protocol": "source",
        "version": 1,
        "accepted": [accepted(name, tree) for name, tree in TREES.items()],
        "refused": [{"why": why, "block": block.hex(), "cddl": cddl} for why, (block, cddl) in REFUSED.items()],
    }
    return json.dumps(content, indent=1) + "\n"


def main() -> int:
    """Write or check the file; returns the exit code."""
    text = vectors()
    if "--check" in sys.argv[1:]:
        return 0 if TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
