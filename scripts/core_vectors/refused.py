"""Events that no honest peer writes, each with the class of its fault, to one who knows the chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nacl.signing import SigningKey

from p2pwf.core.bodies import ROLES
from p2pwf.core.dagcbor import decode, encode
from p2pwf.core.events import MAX_EVENT, MAX_LAMPORT, MAX_PARENTS, MAX_SEQ, MAX_TIME, Event
from p2pwf.core.ids import Cid, blob_cid, block_cid, peer_id_of
from p2pwf.core.sign import Signer
from scripts.core_vectors.bodies import about, finish, job, leg, schedule, submission
from scripts.core_vectors.chain import Chain
from scripts.core_vectors.scene import Scene, seed
from scripts.core_vectors.text import block_json

Case = tuple[str, dict[str, object]]
LINKS = sorted(block_cid(bytes([number])) for number in range(MAX_PARENTS + 1))
PEER = peer_id_of(seed("eve"))
NOBODY = [
    ("that is a name", "eve"),
    ("that is a CID", block_cid(b"eve").text),
    ("with an RSA key", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"),
    ("with a character too many", PEER + "1"),
    ("with a zero before it", "1" + PEER),
]
"""Texts that are no peer id of an Ed25519 key."""


ORDER = 2**252 + 27742317777372353535851937790883648493
"""The order of the base point of Ed25519."""


def unreduced(signature: bytes) -> bytes:
    """The same signature with its scalar one order higher: RFC 8032 refuses it, some libraries take it."""
    return signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")


def fields_of(base: Event) -> dict[str, Any]:
    """The map in an event's block."""
    value = decode(base.signed.block)
    assert isinstance(value, dict)
    return value


def envelope_faults(genesis: Event) -> Iterator[Case]:
    """One field of the envelope changed in an event that is good otherwise."""
    yield "a later version", {"v": 2}
    yield "a version that is a float", {"v": 1.0}
    yield "a field too many", {"extra": None}
    for whose, text in NOBODY:
        yield f"an author {whose}", {"author": text}
    yield "a negative seq", {"seq": -1}
    yield "a seq over its bound", {"seq": MAX_SEQ + 1}
    yield "a seq that is a float", {"seq": 3.0}
    yield "seq 0 with a prev", {"seq": 0}
    yield "no prev and no seq 0", {"prev": None}
    yield "a prev that is text", {"prev": genesis.cid.text}
    yield "lamport 0", {"lamport": 0}
    yield "a lamport over its bound", {"lamport": MAX_LAMPORT + 1}
    yield "a time before 1970", {"time": -1}
    yield "a time over its bound", {"time": MAX_TIME + 1}
    yield "a time that is a float", {"time": 1.5}
    yield "no network", {"net": None}
    yield "a network that is text", {"net": genesis.cid.text}
    yield "an empty type", {"type": ""}
    yield "a type of 257 characters", {"type": "x" * 257}
    yield "a type that is a number", {"type": 1}
    yield "a body that is a list", {"body": []}
    yield "no parents", {"parents": []}
    yield "parents out of order", {"parents": [LINKS[1], LINKS[0]]}
    yield "a parent twice", {"parents": [LINKS[0], LINKS[0]]}
    yield "seventeen parents", {"parents": LINKS}
    yield "a parent that is bytes", {"parents": [b"\x01" * 36]}
    yield "after in an event about no run", {"after": [genesis.cid]}


def membership_faults(genesis: Event) -> Iterator[Case]:
    """Bodies of membership events, each with one fault."""
    add = {"peer": PEER, "roles": ["run"], "name": "eve", "labels": ["linux"], "slots": 1, "tip": None}
    wrong: list[tuple[str, dict[str, object]]] = [
        ("roles out of order", {"roles": ["submit", "run"]}),
        ("a role twice", {"roles": ["run", "run"]}),
        ("no role", {"roles": []}),
        ("a role that nobody knows", {"roles": ["owner"]}),
        ("an empty name", {"name": ""}),
        ("a name of 257 characters", {"name": "x" * 257}),
        ("a name that is bytes", {"name": b"eve"}),
        ("labels out of order", {"labels": ["linux", "gpu"]}),
        ("65 labels", {"labels": sorted(f"l{number:02}" for number in range(65))}),
        ("an empty label", {"labels": [""]}),
        ("4,097 slots", {"slots": 4097}),
        ("negative slots", {"slots": -1}),
        ("slots that are a truth", {"slots": True}),
        ("a tip that is text", {"tip": genesis.cid.text}),
        ("a field too many", {"extra": 1}),
    ]
    for why, change in wrong:
        yield f"member.add: {why}", {"type": "member.add", "body": {**add, **change}}
    for whose, text in NOBODY:
        yield f"member.add: a peer {whose}", {"type": "member.add", "body": {**add, "peer": text}}
    less = {name: value for name, value in add.items() if name != "slots"}
    yield "member.add: a field too few", {"type": "member.add", "body": less}
    yield "member.update: with roles", {"body": {"name": "x", "labels": [], "slots": 1, "roles": ["run"]}}
    removal = {"peer": PEER, "roles": sorted(ROLES), "keep_runs": 0}
    yield "member.remove: keep_runs that is a number", {"type": "member.remove", "body": removal}
    yield "member.fork: one event only", {"type": "member.fork", "body": {"first": genesis.cid, "second": None}}


def plan_faults() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Plans, each with one fault."""
    yield "a plan without jobs", []
    yield "a job twice", [job("a"), job("a")]
    yield "a need that is no job", [job("a", "b")]
    yield "a job that needs itself", [job("a", "a")]
    yield "needs in a circle", [job("a", "c"), job("b", "a"), job("c", "b")]
    yield "a job with an empty list of legs", [{**job("a"), "legs": []}]
    yield "a job with 257 legs", [job("a", legs=[leg("a")] * 257)]
    yield "a leg whose labels are out of order", [job("a", legs=[leg("a", ["b", "a"])])]
    yield "a leg without a name", [job("a", legs=[leg("")])]
    yield "a leg whose matrix is a list", [job("a", legs=[{**leg("a"), "matrix": []}])]
    yield "17 jobs whose legs are not known, of 256 each", [{**job(f"a{n:02}"), "legs": None} for n in range(17)]
    yield "a job with a negative max_parallel", [{**job("a"), "max_parallel": -1}]
    yield "a job with a field too many", [{**job("a"), "if": "always()"}]


def setting_faults() -> Iterator[Case]:
    """Bodies of secrets and variables, each with one fault."""
    token: dict[str, object] = {"name": "TOKEN", "environment": None, "value": bytes(296)}
    token |= {"boxes": {PEER: bytes(80)}, "submitters": []}
    variable: dict[str, object] = {"name": "REGION", "environment": None, "value": "x"}
    one = {"secret": LINKS[0], "peer": PEER, "box": bytes(80)}
    bodies: list[tuple[str, str, dict[str, object]]] = [
        ("secret.set", "a name in lower case", {**token, "name": "token"}),
        ("secret.set", "a name that is GitHub's", {**token, "name": "GITHUB_TOKEN"}),
        ("secret.set", "a name that begins with a digit", {**token, "name": "1TOKEN"}),
        ("secret.set", "an empty environment", {**token, "environment": ""}),
        ("secret.set", "a value that is text", {**token, "value": "x"}),
        ("secret.set", "a value that cannot be sealed", {**token, "value": bytes(295)}),
        ("secret.set", "a value over its bound", {**token, "value": bytes(49_449)}),
        ("secret.set", "sealed to nobody", {**token, "boxes": {}}),
        ("secret.set", "a box for nobody", {**token, "boxes": {"eve": bytes(80)}}),
        ("secret.set", "a box of 81 bytes", {**token, "boxes": {PEER: bytes(81)}}),
        ("secret.set", "a submitter twice", {**token, "submitters": [PEER, PEER]}),
        ("secret.seal", "no boxes", {"boxes": []}),
        ("secret.seal", "1,025 boxes", {"boxes": [one] * 1025}),
        ("secret.seal", "a box of no secret", {"boxes": [{**one, "secret": None}]}),
        ("secret.remove", "a value", token),
        ("var.set", "a value that is a number", {**variable, "value": 1}),
        ("var.set", "a value over its bound", {**variable, "value": "x" * 49_153}),
        ("var.remove", "a name with a dash", {"name": "RE-GION", "environment": None}),
    ]
    for kind, why, body in bodies:
        yield f"{kind}: {why}", {"type": kind, "body": body}


def run_faults(run: Cid) -> Iterator[Case]:
    """Bodies of events about runs, each with one fault."""
    for why, jobs in plan_faults():
        yield f"run.submit: {why}", {"type": "run.submit", "body": submission(*jobs)}
    wrong: list[tuple[str, dict[str, object]]] = [
        ("a priority that is text", {"priority": "3"}),
        ("tags out of order", {"tags": ["b", "a"]}),
        ("an absent peer that is a name", {"absent": ["eve"]}),
        ("an empty key", {"key": ""}),
        ("an empty workflow", {"workflow": ""}),
        ("a payload that is a list", {"payload": []}),
        ("pins out of order", {"pins": ["b", "a"]}),
        ("a rerun that names no run", {"rerun": {"run": None, "attempt": 2, "expands": [], "carries": []}}),
        (
            "an outcome carried over without its end",
            {"rerun": {"run": run, "attempt": 2, "expands": [], "carries": [{"job": "a"}]}},
        ),
        ("a tick without a cron", {"schedule": {"schedule": run, "tick": 1, "cron": None}}),
        ("a source that is text", {"source": blob_cid(b"manifest").text}),
    ]
    for why, change in wrong:
        yield f"run.submit: {why}", {"type": "run.submit", "body": submission(job("a"), **change)}
    yield "run.submit: with after", {"type": "run.submit", "body": submission(job("a")), "after": [run]}
    yield "schedule.add: that is never due", {"type": "schedule.add", "body": schedule(crons=[])}
    yield "schedule.add: a plan", {"type": "schedule.add", "body": schedule(plan={"jobs": [job("a")]})}
    yield "schedule.remove: no schedule", {"type": "schedule.remove", "body": {"schedule": None}}
    yield from setting_faults()
    start = {**about(run), "uses": []}
    expand: dict[str, object] = {
        "run": run,
        "job": "later",
        "uses": [],
        "legs": [],
        "conclusion": "skipped",
        "error": None,
    }
    bodies: list[tuple[str, str, dict[str, object]]] = [
        ("job.start", "attempt 0", {**start, "attempt": 0}),
        ("job.start", "attempt 9", {**start, "attempt": 9}),
        ("job.start", "leg 4,097", {**start, "leg": 4097}),
        ("job.start", "uses that are text", {**start, "uses": [run.text]}),
        ("job.finish", "a conclusion that nobody knows", finish(run, conclusion="neutral")),
        ("job.finish", "an output that is a number", finish(run, outputs={"n": 1})),
        ("job.finish", "no outcome", {key: value for key, value in finish(run).items() if key != "outcome"}),
        ("job.expand", "concluded as a success", {**expand, "conclusion": "success"}),
        ("job.expand", "257 legs", {**expand, "conclusion": None, "legs": [leg("a")] * 257}),
        ("job.refuse", "no reason", about(run)),
        ("job.reassign", "no owner", {**about(run), "owner": None, "absent": [], "reason": ""}),
        ("job.reassign", "absent twice", {**about(run), "owner": PEER, "absent": [PEER, PEER], "reason": ""}),
        ("job.lost", "a reason", {**about(run), "reason": "x"}),
        ("run.end", "no conclusion", {"run": run, "conclusion": None, "finishes": []}),
        ("run.cancel", "a run that is text", {"run": run.text}),
        ("run.priority", "a priority that is a truth", {"run": run, "priority": True}),
        ("run.note", "a field too many", {"run": run, "note": "x"}),
    ]
    for kind, why, body in bodies:
        yield f"{kind}: {why}", {"type": kind, "body": body, "after": [run]}
    yield "job.start: without after", {"type": "job.start", "body": start, "after": []}


def genesis_faults() -> Iterator[Case]:
    """A genesis event with one fault."""
    body = fields_of(Scene().genesis)["body"]
    yield "net.genesis: with parents", {"parents": [LINKS[0]]}
    yield "net.genesis: with a network", {"net": LINKS[0]}
    yield "net.genesis: with after", {"after": [LINKS[0]]}
    yield "net.genesis: a nonce of 15 bytes", {"body": {**body, "nonce": bytes(15)}}
    yield "net.genesis: a founder with roles", {"body": {**body, "founder": {**body["founder"], "roles": ["run"]}}}


def refused_events(chain: Chain) -> list[dict[str, object]]:
    """All refused events; every block is signed by its author unless that is the fault."""
    ann = chain.people[0]
    chain.scene.share(*chain.people)
    good = chain.scene.rename(ann, "new")
    fields = fields_of(good)
    found: list[dict[str, object]] = []

    def refuse(kind: str, why: str, block: bytes, signer: Signer = ann.signer) -> None:
        found.append({"class": kind, "why": why, "block": block.hex(), "signature": signer.sign(block).hex()})

    def form(cases: Iterator[Case], base: Mapping[str, object] = fields) -> None:
        for why, changes in cases:
            refuse("form", why, encode({**base, **changes}))

    form(envelope_faults(chain.scene.genesis))
    refuse("form", "a field too few", encode({key: value for key, value in fields.items() if key != "time"}))
    refuse("form", "a list", encode(list(fields.values())))
    refuse("form", "bytes after the event", good.signed.block + b"\x00")
    unordered = good.signed.block.replace(b"\x61v\x01", b"", 1) + b"\x61v\x01"
    refuse("form", "v at the end of the map", unordered)
    form(membership_faults(chain.scene.genesis))
    form(run_faults(chain.run))
    form(genesis_faults(), fields_of(chain.scene.genesis))
    short = {**block_json(good), "signature": good.signed.signature[:63].hex()}
    found.append({"class": "form", "why": "a signature of 63 bytes", **short})
    assert len(good.signed.block) < MAX_EVENT
    found += _out_of_place(chain, good)
    return found


def _out_of_place(chain: Chain, good: Event) -> list[dict[str, object]]:
    """Events of good form that do not fit the chain."""
    scene = chain.scene
    ann, bob, cat, dan = chain.people
    eve = scene.author("eve")
    found: list[dict[str, object]] = []

    def refuse(kind: str, why: str, event: Event) -> None:
        found.append({"class": kind, "why": why, **block_json(event)})
        for one in scene.authors.values():
            one.known.pop(event.cid, None)

    refuse("signature", "signed by another member", good)
    found[-1]["signature"] = bob.signer.sign(good.signed.block).hex()
    refuse("signature", "signed without the domain", good)
    found[-1]["signature"] = bytes(SigningKey(seed("ann")).sign(good.signed.block).signature).hex()
    refuse("signature", "a signature whose scalar is not reduced", good)
    found[-1]["signature"] = unreduced(good.signed.signature).hex()
    refuse("signature", "the signature of another event of its author", good)
    found[-1]["signature"] = chain.scene.genesis.signed.signature.hex()
    refuse("missing", "a parent that nobody has", scene.rename(ann, "x", parents=[LINKS[0]], lamport=99))
    refuse("missing", "a prev that nobody has", scene.rename(ann, "x", prev=LINKS[0]))
    refuse("network", "another network's", scene.rename(ann, "x", net=LINKS[0]))
    refuse("network", "another genesis", Scene("bob").genesis)
    last = max((event for event in ann.known.values() if event.author == ann.peer), key=lambda event: event.seq)
    refuse("prev", "a seq that was passed over", scene.rename(ann, "x", seq=last.seq + 2))
    refuse("prev", "a prev of another author", scene.rename(ann, "x", prev=chain.gone.cid, seq=chain.gone.seq + 1))
    refuse("lamport", "a lamport too high", scene.rename(ann, "x", lamport=1000))
    refuse("lamport", "a lamport too low", scene.rename(ann, "x", lamport=2))
    first, second = (event for name, event in chain.named if name.endswith(("half of a fork", "other half")))
    low, high = sorted((first.cid, second.cid))
    for why, one, other in (
        ("the halves in the wrong order", high, low),
        ("one event twice", low, low),
        ("two events of two authors", *sorted((first.cid, chain.scene.genesis.cid))),
        ("two events of one chain", *sorted(event.cid for event in (last, scene.events[last.prev or last.cid]))),
    ):
        body = {"first": one, "second": other}
        refuse("fork", f"no proof of a fork: {why}", scene.write(ann, "member.fork", body, tip=last))
    scene.show(ann.known.values(), eve)
    refuse("role", "a stranger", scene.rename(eve, "eve"))
    refuse("role", "a stranger writes what nobody knows", scene.write(eve, "later.idea", {}))
    refuse("role", "a member that is no admin admits", scene.add(bob, eve))
    refuse("role", "a member that is no admin removes another", scene.remove(bob, cat))
    refuse("role", "a former admin admits", scene.add(cat, eve))
    refuse("role", "a member that may not submit submits", _submission_by_dan(scene, first))
    refuse("role", "a forked author goes on", scene.rename(dan, "dan"))
    gone = chain.gone
    elsewhere = scene.events[gone.prev or gone.cid]
    refuse("tip", "readmitted, and goes on from elsewhere", scene.rename(bob, "x", prev=elsewhere.cid, seq=gone.seq))
    return found


def _submission_by_dan(scene: Scene, before: Event) -> Event:
    """What dan, who has the role run only, would submit before its fork was known."""
    dan = scene.author("dan")
    body = submission(job("a"))
    return scene.write(dan, "run.submit", body, tip=before, parents=[before.cid], lamport=before.lamport + 1)
