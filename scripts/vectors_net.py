"""Write protocols/vectors/{transport,blob,logs,join}.json: the messages between peers, for other implementations.

    python scripts/vectors_net.py [--check]

Deterministic: all inputs derive from fixed names by SHA-256. `--check` writes nothing and exits 1 if a file differs.
In the files a link is {"/": CID} and bytes are {"/": {"bytes": hex}}; `block` is a message, `frame` the same as sent.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from p2pwf.core.dagcbor import encode  # noqa: E402 - needs the path above
from p2pwf.core.ids import Cid, blob_cid, block_cid, peer_id_of  # noqa: E402
from p2pwf.net.framing import frame  # noqa: E402

FOLDER = ROOT / "protocols" / "vectors"


def digest(name: str) -> bytes:
    """Fixed bytes for a name."""
    return sha256(f"p2pwf vector {name}".encode()).digest()


PEER = peer_id_of(digest("peer"))
BLOB, OTHER = blob_cid(digest("blob")), blob_cid(digest("other blob"))
RUN, NETWORK = block_cid(digest("run")), block_cid(digest("network"))
BOOT = digest("boot")[:16]

FETCH = {"cid": BLOB, "length": None, "offset": 0, "v": 1, "via": None}
LOG = {"attempt": 1, "from": 0, "job": "build", "leg": 0, "run": RUN, "v": 1, "via": None}
JOIN = {"labels": ["linux", "gpu"], "name": "laptop", "network": NETWORK, "secret": BOOT, "slots": 4, "v": 1}
REPLY = {"network": NETWORK, "reason": "", "status": "admitted", "v": 1}
OPENING = {"boot": BOOT, "link": 1, "v": 1}

ACCEPTED: dict[str, list[tuple[str, str, dict[str, object]]]] = {
    "transport": [
        ("opening", "the first stream", OPENING),
        ("opening", "a later stream and version", {"boot": BOOT, "link": 2**40, "v": 7}),
    ],
    "blob": [
        ("request", "a whole blob", FETCH),
        ("request", "a range", {**FETCH, "length": 100, "offset": 1 << 33}),
        ("request", "through the peer asked", {**FETCH, "via": PEER}),
        ("request", "a later version", {**FETCH, "v": 2}),
        ("request", "to hold", {"hold": [BLOB, OTHER], "v": 1}),
        ("request", "to hold nothing", {"hold": [], "v": 1}),
        ("answer", "the blob follows", {"offset": 5, "size": 1 << 40, "status": "ok", "v": 1}),
        *(("answer", status, {"status": status, "v": 1}) for status in ("absent", "busy", "range", "unreachable")),
        ("held", "both are held", {"held": sorted((BLOB, OTHER)), "v": 1}),
        ("held", "nothing is held", {"held": [], "v": 1}),
    ],
    "logs": [
        ("request", "from the first line", LOG),
        ("request", "a later part of a leg", {**LOG, "attempt": 3, "from": 70_000, "leg": 17}),
        ("request", "through the peer asked", {**LOG, "via": PEER}),
        ("request", "a long job id", {**LOG, "job": "ä" * 256}),
        *(("head", status, {"status": status, "v": 1}) for status in ("ok", "absent", "busy", "unreachable")),
    ],
    "join": [
        ("request", "with a ticket", JOIN),
        ("request", "to wait for an admin", {**JOIN, "network": None, "secret": None}),
        ("request", "at the bounds", {**JOIN, "labels": ["ü" * 64] * 32, "name": "ö" * 64, "slots": 4096}),
        ("request", "that runs no jobs", {**JOIN, "labels": [], "slots": 0}),
        ("reply", "admitted", REPLY),
        ("reply", "pending", {**REPLY, "reason": "an admin has to admit you", "status": "pending"}),
        ("reply", "removed", {**REPLY, "reason": "it was removed from the network", "status": "removed"}),
        ("reply", "refused", {**REPLY, "network": None, "reason": "x" * 500, "status": "refused"}),
    ],
}


def without(message: dict[str, object], key: str) -> dict[str, object]:
    """A message that lacks a field."""
    return {name: value for name, value in message.items() if name != key}


REFUSED: dict[str, list[tuple[str, str, object]]] = {
    "transport": [
        ("opening", "a short boot", {**OPENING, "boot": BOOT[:15]}),
        ("opening", "a negative link", {**OPENING, "link": -1}),
        ("opening", "a field too many", {**OPENING, "more": 1}),
        ("opening", "no version", without(OPENING, "v")),
        ("opening", "no map", [BOOT, 1, 1]),
    ],
    "blob": [
        ("request", "a block, not a blob", {**FETCH, "cid": RUN}),
        ("request", "a CID as text", {**FETCH, "cid": BLOB.text}),
        ("request", "a negative offset", {**FETCH, "offset": -1}),
        ("request", "a negative length", {**FETCH, "length": -1}),
        ("request", "true for an offset", {**FETCH, "offset": True}),
        ("request", "a relay that is no peer", {**FETCH, "via": "somebody"}),
        ("request", "a field too many", {**FETCH, "more": 1}),
        ("request", "no version", without(FETCH, "v")),
        ("request", "no length", without(FETCH, "length")),
        ("request", "to fetch and to hold", {**FETCH, "hold": [BLOB]}),
        ("request", "to hold a block", {"hold": [RUN], "v": 1}),
        ("request", "to hold too many", {"hold": [BLOB] * 1025, "v": 1}),
        ("request", "a list", [BLOB]),
        ("answer", "another status", {"status": "gone", "v": 1}),
        ("answer", "an offset beyond the end", {"offset": 6, "size": 5, "status": "ok", "v": 1}),
        ("answer", "ok without a size", {"offset": 0, "status": "ok", "v": 1}),
        ("answer", "absent with a size", {"offset": 0, "size": 5, "status": "absent", "v": 1}),
        ("held", "a number", {"held": [1], "v": 1}),
    ],
    "logs": [
        ("request", "a blob for a run", {**LOG, "run": BLOB}),
        ("request", "an empty job id", {**LOG, "job": ""}),
        ("request", "a job id of 257 characters", {**LOG, "job": "x" * 257}),
        ("request", "a negative line", {**LOG, "from": -1}),
        ("request", "true for a leg", {**LOG, "leg": True}),
        ("request", "a relay that is no peer", {**LOG, "via": ""}),
        ("request", "a field too many", {**LOG, "more": 1}),
        ("request", "no run", without(LOG, "run")),
        ("head", "another status", {"status": "range", "v": 1}),
        ("head", "a field too many", {"more": 1, "status": "ok", "v": 1}),
    ],
    "join": [
        ("request", "an empty name", {**JOIN, "name": ""}),
        ("request", "a name of 65 characters", {**JOIN, "name": "x" * 65}),
        ("request", "33 labels", {**JOIN, "labels": ["x"] * 33}),
        ("request", "an empty label", {**JOIN, "labels": [""]}),
        ("request", "a label of 65 characters", {**JOIN, "labels": ["x" * 65]}),
        ("request", "a number for a label", {**JOIN, "labels": [1]}),
        ("request", "negative slots", {**JOIN, "slots": -1}),
        ("request", "4097 slots", {**JOIN, "slots": 4097}),
        ("request", "true for slots", {**JOIN, "slots": True}),
        ("request", "a secret of 65 bytes", {**JOIN, "secret": bytes(65)}),
        ("request", "a link for a secret", {**JOIN, "secret": NETWORK}),
        ("request", "a blob for a network", {**JOIN, "network": BLOB}),
        ("request", "a field too many", {**JOIN, "admin": True}),
        ("request", "no version", without(JOIN, "v")),
        ("reply", "another status", {**REPLY, "status": "welcome"}),
        ("reply", "a reason of 501 characters", {**REPLY, "reason": "x" * 501}),
        ("reply", "a blob for a network", {**REPLY, "network": BLOB}),
        ("reply", "no reason", without(REPLY, "reason")),
    ],
}


def plain(value: object) -> object:
    """A value as JSON."""
    match value:
        case Cid():
            return {"/": value.text}
        case bytes():
            return {"/": {"bytes": value.hex()}}
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


def vectors(protocol: str) -> dict[str, object]:
    """The content of one file."""
    found: dict[str, object] = {"protocol": protocol, "version": 1, "accepted": [], "refused": []}
    found["accepted"] = [
        {
            "name": name,
            "kind": kind,
            "message": plain(message),
            "block": encode(message).hex(),
            "frame": frame(encode(message)).hex(),
        }
        for kind, name, message in ACCEPTED[protocol]
    ]
    found["refused"] = [
        {"why": why, "kind": kind, "block": encode(message).hex()} for kind, why, message in REFUSED[protocol]
    ]
    if protocol == "transport":
        author, data = bytes.fromhex("002408011220") + digest("peer"), b"a gossip message"
        number = bytes.fromhex("18a3c5e7f9010203")
        found["gossip_id"] = [
            {
                "author": PEER,
                "from": author.hex(),
                "data": content.hex(),
                "seqno": seqno.hex(),
                "id": sha256(author + sha256(content).digest() + seqno).hexdigest(),
            }
            for content, seqno in ((data, number), (data, bytes(8)), (b"", number))
        ]
        found["lengths"] = [
            {"length": length, "varint": frame(bytes(length))[: -length or None].hex()}
            for length in (0, 1, 127, 128, 300, 16_383, 16_384, 1_048_576)
        ]
        found["refused_lengths"] = ["8000", "ff8000", "8080808080", "ffffffffff01"]
    return found


def main() -> int:
    """Write or check; the exit status."""
    different = False
    for protocol in ACCEPTED:
        target = FOLDER / f"{protocol}.json"
        content = json.dumps(vectors(protocol), indent=1, ensure_ascii=False) + "\n"
        if "--check" in sys.argv[1:]:
            if not target.exists() or target.read_text(encoding="utf-8") != content:
                different = True
                print(f"{target} differs", file=sys.stderr)
        else:
            target.write_text(content, encoding="utf-8")
    return int(different)


if __name__ == "__main__":
    raise SystemExit(main())
