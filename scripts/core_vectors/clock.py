"""Vectors of the frames between members, and of what a digest, a frontier and a difference are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from p2pwf.clock import Accepted, Clock
from p2pwf.clock.messages import MAX_ADDRESSES, TAG_LENGTH
from p2pwf.clock.sync import Frontier, frontier, lacking
from p2pwf.core.dagcbor import encode
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, block_cid, peer_id_of
from p2pwf.net.framing import frame
from scripts.core_vectors.scene import Scene, admitted, seed
from scripts.core_vectors.text import to_json

BOOT = seed("boot")[:16]
NETWORK, RUN = block_cid(b"network"), block_cid(b"run")
PEERS = [peer_id_of(seed(name)) for name in ("ann", "bob")]
TAG = seed("tag")[:TAG_LENGTH]
MADDR = "/ip4/192.0.2.1/tcp/4070"
HELLO: dict[str, object] = {
    "t": "hello",
    "net": NETWORK,
    "boot": BOOT,
    "digest": seed("heads"),
    "frontier": {PEERS[0]: [[0, TAG]], PEERS[1]: [[7, TAG], [7, seed("other tag")[:TAG_LENGTH]]]},
    "reply": True,
    "version": "0.1.0",
    "caps": [],
}
BEAT: dict[str, object] = {"t": "beat", "held": [[RUN, "build", 0, 1], [RUN, "test", 17, 8]]}
PRESENCE: dict[str, object] = {
    "t": "presence",
    "boot": BOOT,
    "addrs": [f"{MADDR}/p2p/{PEERS[0]}"],
    "version": "0.1.0",
    "load": 1,
    "slots": 8,
}
PEERS_TOLD: dict[str, object] = {"t": "peers", "peers": {PEERS[0]: [f"{MADDR}/p2p/{PEERS[0]}"], PEERS[1]: []}}


def messages(events: list[Event]) -> list[tuple[str, str, dict[str, object]]]:
    """(where, name, map) of every kind of message: on the stream, on the topic, or on both."""
    signed = {
        "blocks": [event.signed.block for event in events],
        "sigs": b"".join(event.signed.signature for event in events),
    }
    return [
        ("stream", "hello, and the other side is to say its own", HELLO),
        ("stream", "hello in answer, of a peer without events", {**HELLO, "frontier": {}, "reply": False}),
        ("stream", "hello with capabilities", {**HELLO, "caps": ["a", "b"]}),
        ("stream", "hello with a boot of 8 bytes", {**HELLO, "boot": BOOT[:8]}),
        ("stream", "hello with the time", {**HELLO, "time": 1_700_000_000_000}),
        ("stream", "digest", {"t": "digest", "digest": seed("heads")}),
        ("both", "no events", {"t": "events", "blocks": [], "sigs": b""}),
        ("both", "events", {"t": "events", **signed}),
        ("stream", "want", {"t": "want", "ids": [NETWORK, RUN]}),
        ("stream", "a receipt", {"t": "stored", "ids": [RUN]}),
        ("stream", "beat", BEAT),
        ("stream", "beat of who holds nothing", {"t": "beat", "held": []}),
        ("stream", "probe", {"t": "probe", "asked": [[RUN, "build", 0, 1]]}),
        ("stream", "peers", PEERS_TOLD),
        ("stream", "pruned", {"t": "pruned", "block": events[0].signed.block, "sig": events[0].signed.signature}),
        ("topic", "presence", PRESENCE),
        ("topic", "presence of a peer that cannot be dialled", {**PRESENCE, "addrs": [], "load": 0, "slots": 0}),
    ]


def faults() -> Iterator[tuple[str, bytes]]:
    """Frames that no honest peer sends."""
    yield "no bytes", b""
    yield "a list", encode(["digest", seed("heads")])
    yield "no t", encode({"digest": seed("heads")})
    yield "a t that is a number", encode({"t": 1})
    yield "not canonical", b"\xbf" + encode({"t": "later"})[1:] + b"\xff"
    yield "bytes after the map", encode({"t": "later"}) + b"\x00"
    tip = [0, TAG]
    wrong: list[tuple[str, dict[str, object], dict[str, object]]] = [
        ("hello: a time that is text", HELLO, {"time": "now"}),
        ("hello: no version", HELLO, {"version": None}),
        ("hello: a network that is text", HELLO, {"net": NETWORK.text}),
        ("hello: a boot of 7 bytes", HELLO, {"boot": BOOT[:7]}),
        ("hello: a boot of 33 bytes", HELLO, {"boot": bytes(33)}),
        ("hello: a digest of 31 bytes", HELLO, {"digest": bytes(31)}),
        ("hello: reply that is a number", HELLO, {"reply": 1}),
        ("hello: a tag of 7 bytes", HELLO, {"frontier": {PEERS[0]: [[0, TAG[:7]]]}}),
        ("hello: a negative seq", HELLO, {"frontier": {PEERS[0]: [[-1, TAG]]}}),
        ("hello: seventeen tips", HELLO, {"frontier": {PEERS[0]: [tip] * 17}}),
        ("hello: a tip of three", HELLO, {"frontier": {PEERS[0]: [[*tip, 0]]}}),
        ("hello: an author of 257 characters", HELLO, {"frontier": {"x" * 257: [tip]}}),
        ("hello: sixty-five capabilities", HELLO, {"caps": ["x"] * 65}),
        ("digest: 33 bytes", {"t": "digest"}, {"digest": bytes(33)}),
        ("digest: none", {"t": "digest"}, {}),
        ("events: a signature of 63 bytes", {"t": "events"}, {"blocks": [b"x"], "sigs": bytes(63)}),
        ("events: no signature", {"t": "events"}, {"blocks": [b"x"], "sigs": b""}),
        ("events: no signatures", {"t": "events"}, {"blocks": []}),
        ("events: two signatures of one block", {"t": "events"}, {"blocks": [b"x"], "sigs": bytes(128)}),
        ("events: an empty block", {"t": "events"}, {"blocks": [b""], "sigs": bytes(64)}),
        ("events: pairs", {"t": "events"}, {"events": [[b"x", bytes(64)]]}),
        ("want: an id that is bytes", {"t": "want"}, {"ids": [bytes(RUN)]}),
        ("want: an id that is text", {"t": "want"}, {"ids": [RUN.text]}),
        ("stored: a map", {"t": "stored"}, {"ids": {}}),
        ("beat: an attempt of three", {"t": "beat"}, {"held": [[RUN, "build", 0]]}),
        ("beat: attempt 9", {"t": "beat"}, {"held": [[RUN, "build", 0, 9]]}),
        ("beat: leg 4,097", {"t": "beat"}, {"held": [[RUN, "build", 4097, 1]]}),
        ("beat: a run that is text", {"t": "beat"}, {"held": [[RUN.text, "build", 0, 1]]}),
        ("probe: a job of 257 characters", {"t": "probe"}, {"asked": [[RUN, "x" * 257, 0, 1]]}),
        ("presence: seventeen addresses", PRESENCE, {"addrs": [MADDR] * (MAX_ADDRESSES + 1)}),
        ("presence: an address of 257 characters", PRESENCE, {"addrs": ["/" * 257]}),
        ("presence: a negative load", PRESENCE, {"load": -1}),
        ("presence: 65,537 slots", PRESENCE, {"slots": 65537}),
        ("pruned: a signature of 63 bytes", {"t": "pruned"}, {"block": b"x", "sig": bytes(63)}),
        ("pruned: no signature", {"t": "pruned"}, {"block": b"x"}),
        ("peers: a list", {"t": "peers"}, {"peers": [MADDR]}),
        ("peers: an address that is bytes", {"t": "peers"}, {"peers": {PEERS[0]: [b"/"]}}),
    ]
    for why, base, changes in wrong:
        yield why, encode({**base, **changes})


def message_vectors(events: list[Event]) -> dict[str, object]:
    """Frames that are read, passed over, and refused."""
    accepted = []
    for where, name, message in messages(events):
        block = encode(message)
        accepted.append(
            {
                "name": name,
                "on": where,
                "message": to_json(cast(Any, message)),
                "block": block.hex(),
                "frame": frame(block).hex(),
            }
        )
    known = {**BEAT, "later": [1, 2, 3]}
    return {
        "accepted": accepted,
        "extended": [
            {
                "name": "a field that nobody knows",
                "block": encode(known).hex(),
                "same_as": "beat",
            }
        ],
        "ignored": [
            {"why": "a kind that nobody knows", "block": encode({"t": "later", "any": [1]}).hex()},
            {"why": "a kind without a name", "block": encode({"t": ""}).hex()},
        ],
        "refused": [{"why": why, "block": block.hex()} for why, block in faults()],
    }


# -- sync -------------------------------------------------------------------------------------------------------


def clock_of(network: Cid, events: Iterable[Event]) -> Clock:
    """A clock that has accepted these events."""
    clock = Clock(network)
    for event in sorted(events, key=lambda event: event.order):
        assert isinstance(clock.accept(event), Accepted), event.type
    return clock


def lines(front: Frontier) -> dict[str, list[dict[str, object]]]:
    """A frontier as vectors spell it."""
    return {peer: [{"seq": seq, "tag": mark.hex()} for seq, mark in tips] for peer, tips in sorted(front.items())}


def sync_scenes() -> Iterator[tuple[str, Scene, list[Event], list[Event]]]:
    """(title, scene, what one peer has, what the other has)."""
    scene, (ann, bob, cat) = admitted(3)
    common = list(ann.known.values())
    yield "both have the same", scene, common, common
    for name in ("one", "two", "three"):
        scene.rename(bob, name)
    yield "one side is behind on one chain", scene, list(bob.known.values()), common
    for name in ("four", "five"):
        scene.rename(cat, name)
    yield "each side has what the other lacks", scene, list(bob.known.values()), list(cat.known.values())
    yield "a peer that has nothing", scene, list(bob.known.values()), []
    newcomer = scene.author("dan")
    scene.add(ann, newcomer)
    scene.share(ann, newcomer)
    scene.rename(newcomer, "dan")
    yield "an author that the other side has never heard", scene, list(newcomer.known.values()), common
    yield from _forked_scenes()


def _forked_scenes() -> Iterator[tuple[str, Scene, list[Event], list[Event]]]:
    scene, (ann, bob, _) = admitted(3)
    for number in range(12):
        scene.rename(bob, f"b{number}")
    copy = scene.author("bob", " twice")
    copy.known.update(bob.known)
    left, right = scene.rename(bob, "left"), scene.rename(copy, "right")
    yield "an author that forked, one branch on each side", scene, list(bob.known.values()), list(copy.known.values())
    scene.show([left, right], ann)
    both = list(ann.known.values())
    yield "both branches here, one of them there", scene, both, list(copy.known.values())
    scene, (ann, bob, _) = admitted(3)
    before = list(ann.known.values())
    cut = scene.remove(ann, bob)
    void = scene.rename(bob, "void")
    everything = [*before, cut, void]
    yield "what a cut made void is not sent", scene, everything, before
    scene, (ann, bob, cat) = admitted(3)
    scene.add(ann, bob, "admin")
    scene.share(ann, bob, cat)
    before = list(ann.known.values())
    deed, end = scene.remove(bob, cat), scene.remove(ann, bob)
    yield "a cut is, whatever became of its author", scene, [*before, deed, end], [*before, end]


def sync_vectors() -> list[dict[str, object]]:
    """What each side says that it has, and what this implementation then sends."""
    found: list[dict[str, object]] = []
    for title, scene, here, there in sync_scenes():
        network = scene.genesis.cid
        ours, theirs = clock_of(network, here), clock_of(network, there)
        found.append(
            {
                "title": title,
                "network": network.text,
                "events": [
                    {
                        "cid": event.cid.text,
                        "block": event.signed.block.hex(),
                        "signature": event.signed.signature.hex(),
                        "here": event in here,
                        "there": event in there,
                    }
                    for event in sorted({*here, *there}, key=lambda event: event.order)
                ],
                "here": side(ours, theirs),
                "there": side(theirs, ours),
            }
        )
    return found


def side(own: Clock, other: Clock) -> dict[str, object]:
    """What one side says, and what it sends once it has heard the other's hello."""
    return {
        "heads": [node.cid.text for node in own.dag.heads()],
        "digest": own.dag.digest().hex(),
        "frontier": lines(frontier(own.dag)),
        "sends": [node.cid.text for node in lacking(own.dag, frontier(other.dag))],
    }


def clock_vectors() -> dict[str, object]:
    """All vectors of the stream and the topic."""
    scene, _ = admitted(2)
    events = sorted(scene.events.values(), key=lambda event: event.order)
    return {"protocol": "clock", "version": 2, **message_vectors(events), "sync": sync_vectors()}
