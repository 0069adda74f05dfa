"""Vectors of membership: sets of events, and who is a member then, what was cut, what is void.

What is expected is written by hand beside each case; the implementation has to agree before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from p2pwf.clock import Accepted, Clock, Invalid
from p2pwf.core.events import Event
from scripts.core_vectors.scene import Author, Scene, admitted
from scripts.core_vectors.text import block_json

ALL = "admin run submit"
PLAIN = "run submit"


@attrs.frozen
class Case:
    """`members`: roles by name. `void`: accepted, and without effect. `idle`: cuts that took no effect. `refused`:
    with the class of the reason; they come after all others."""

    title: str
    scene: Scene
    members: Mapping[str, str]
    void: Sequence[Event] = ()
    idle: Sequence[Event] = ()
    refused: Sequence[tuple[str, Event]] = ()


def plain_cases() -> Iterator[Case]:
    """Admissions and updates."""
    yield Case("a founder alone is admin and may do all", Scene(), {"ann": ALL})
    scene, (ann, bob) = admitted(2)
    scene.rename(bob, "workshop")
    yield Case("a member changes its name", scene, {"ann": ALL, "bob": PLAIN})
    scene, (ann, bob) = admitted(2)
    scene.add(ann, bob, "admin")
    yield Case("roles of all admissions add up", scene, {"ann": ALL, "bob": ALL})
    scene, (ann, bob) = admitted(2)
    scene.rename(bob, "one")
    scene.rename(bob, "two")
    scene.add(ann, bob, "run", labels=("gpu",), slots=7)
    yield Case("name, labels and slots are those of the highest lamport and id", scene, {"ann": ALL, "bob": PLAIN})
    scene, (ann, bob) = admitted(2)
    before = scene.rename(bob, "bob")
    outsider = scene.author("cat")
    scene.show([before], ann, outsider)
    refused = [("role", scene.rename(outsider, "cat")), ("role", scene.add(bob, outsider))]
    yield Case(
        "a stranger writes nothing, a plain member admits nobody", scene, {"ann": ALL, "bob": PLAIN}, (), (), refused
    )


def removal_cases() -> Iterator[Case]:
    """Who is removed, and what of its acts stays."""
    scene, (ann, bob, cat) = admitted(3)
    scene.rename(bob, "known before")
    scene.share(ann, bob)
    scene.remove(ann, bob)
    aside = scene.rename(bob, "aside")
    after = scene.rename(bob, "after that")
    yield Case("what the removal does not know is void", scene, {"ann": ALL, "cat": PLAIN}, [aside, after])

    scene, (ann, bob, cat) = admitted(3)
    scene.remove(ann, bob)
    scene.share(ann, bob)
    late = scene.rename(bob, "late")
    yield Case("who knows of its removal is refused", scene, {"ann": ALL, "cat": PLAIN}, refused=[("role", late)])

    scene, (ann, bob, cat) = admitted(3)
    scene.remove(ann, bob, "submit")
    named = scene.rename(bob, "still here")
    assert named.body["name"] == "still here"
    yield Case("losing a role voids no other act", scene, {"ann": ALL, "bob": "run", "cat": PLAIN})

    scene, (ann, bob, cat) = admitted(3)
    scene.remove(ann, bob, "run", "submit")
    scene.rename(bob, "aside")
    yield Case(
        "a removal of all its roles that does not name admin leaves plain acts", scene, {"ann": ALL, "cat": PLAIN}
    )

    scene, (ann, bob, cat) = admitted(3)
    scene.remove(bob, bob)
    yield Case("a member may leave", scene, {"ann": ALL, "cat": PLAIN})

    scene, (ann, bob, cat) = admitted(3)
    leave = scene.remove(ann, ann)
    yield Case("the only admin cannot", scene, {"ann": ALL, "bob": PLAIN, "cat": PLAIN}, idle=[leave])

    scene, (ann, bob, cat) = admitted(3)
    one = scene.rename(bob, "known to ann")
    scene.share(ann, bob)
    scene.add(ann, cat, "admin")
    scene.share(ann, cat)
    two = scene.rename(bob, "known to cat")
    scene.show([two], cat)
    scene.remove(ann, bob)
    scene.remove(cat, bob)
    title = "of two removals, what only one of them knows is void"
    yield Case(title, scene, {"ann": ALL, "cat": ALL}, [two])
    assert one.lamport < two.lamport


def admins() -> tuple[Scene, list[Author]]:
    """ann, the founder, admitted bob and eve; bob admitted cat; cat admitted dan: all of them admins."""
    scene = Scene()
    ann, bob, cat, dan, eve = (scene.author(name) for name in ("ann", "bob", "cat", "dan", "eve"))
    for by, whom in ((ann, bob), (ann, eve), (bob, cat), (cat, dan)):
        scene.add(by, whom, "admin", "run", "submit")
        scene.share(ann, bob, cat, dan, eve)
    return scene, [ann, bob, cat, dan, eve]


def order_cases() -> Iterator[Case]:
    """Which of several cuts take effect."""
    everyone = dict.fromkeys(("ann", "bob", "cat", "dan", "eve"), ALL)

    def without(*names: str) -> dict[str, str]:
        return {name: roles for name, roles in everyone.items() if name not in names}

    scene, (ann, bob, cat, dan, eve) = admins()
    scene.remove(bob, cat)
    lost = scene.remove(cat, bob)
    yield Case("of two who remove each other the one nearer to the founder stays", scene, without("cat"), (), [lost])

    scene, (ann, bob, cat, dan, eve) = admins()
    lost = scene.remove(eve, bob)
    scene.remove(bob, eve)
    yield Case("at one depth, the one admitted first", scene, without("eve"), (), [lost])

    scene, (ann, bob, cat, dan, eve) = admins()
    scene.remove(cat, ann)
    yield Case("the founder too can be removed", scene, without("ann"))

    scene, (ann, bob, cat, dan, eve) = admins()
    scene.remove(bob, dan)
    scene.remove(cat, bob)
    title = "a cut that took effect stays when its author is cut later in the walk"
    yield Case(title, scene, without("bob", "dan"))

    scene, (ann, bob, cat, dan, eve) = admins()
    lost = scene.remove(dan, eve)
    scene.remove(bob, dan)
    yield Case("a cut of an author that is cut before has none", scene, without("dan"), (), [lost])

    scene, (ann, bob, cat, dan, eve) = admins()
    scene.remove(dan, eve)
    scene.share(dan, bob)
    scene.remove(bob, dan)
    yield Case("but has if the removal of its author knows it", scene, without("dan", "eve"))

    scene, (ann, bob) = admitted(2)
    scene.add(ann, bob, "admin")
    scene.share(ann, bob)
    scene.remove(ann, bob)
    last = scene.remove(bob, ann)
    yield Case("one admin is left", scene, {"ann": ALL}, (), [last])

    scene, (ann, bob) = admitted(2)
    scene.add(ann, bob, "admin")
    scene.share(ann, bob)
    scene.remove(ann, ann)
    last = scene.remove(bob, bob)
    yield Case("when all admins leave at once, the one who is last in the walk stays", scene, {"bob": ALL}, (), [last])


def cascade_cases() -> Iterator[Case]:
    """Whom a cut peer had let in."""
    scene, (ann, bob) = admitted(2)
    scene.add(ann, bob, "admin")
    scene.share(ann, bob)
    early, friend, other = (scene.author(name) for name in ("cat", "dan", "eve"))
    scene.add(bob, early)
    scene.share(ann, bob, early)
    scene.remove(ann, bob)
    scene.add(bob, friend, "admin", "run")
    scene.share(bob, friend)
    scene.add(friend, other)
    scene.share(friend, other)
    deed = scene.rename(other, "deed")
    yield Case(
        "whom it let in aside of the cut goes with it, and whom those let in", scene, {"ann": ALL, "cat": PLAIN}, [deed]
    )

    scene, (ann, bob) = admitted(2)
    scene.add(ann, bob, "admin")
    scene.share(ann, bob)
    friend = scene.author("cat")
    scene.add(bob, friend, "run")
    scene.add(ann, friend, "submit")
    scene.remove(ann, bob)
    yield Case("who was let in by another too stays, with the roles from there", scene, {"ann": ALL, "cat": "submit"})


def fork_cases() -> Iterator[Case]:
    """Two events of one seq."""
    scene, (ann, bob, cat) = admitted(3)
    copy = scene.author("bob", " twice")
    copy.known.update(bob.known)
    left, right = scene.rename(bob, "left"), scene.rename(copy, "right")
    yield Case("a fork alone changes nothing", scene, {"ann": ALL, "bob": PLAIN, "cat": PLAIN})

    scene, (ann, bob, cat) = admitted(3)
    copy = scene.author("bob", " twice")
    copy.known.update(bob.known)
    left, right = scene.rename(bob, "left"), scene.rename(copy, "right")
    scene.show([left, right], cat)
    scene.fork(cat, left, right)
    more = scene.rename(bob, "more")
    yield Case(
        "a member proves it: the author is out, what the proof knows stays", scene, {"ann": ALL, "cat": PLAIN}, [more]
    )

    scene, (ann, bob, cat) = admitted(3)
    scene.add(ann, bob, "admin")
    scene.share(ann, bob, cat)
    copy = scene.author("bob", " twice")
    copy.known.update(bob.known)
    left, right = scene.rename(bob, "left"), scene.rename(copy, "right")
    scene.show([left, right], cat)
    lost = scene.remove(bob, cat)
    scene.fork(cat, left, right)
    title = "proofs come before removals, whoever writes them"
    yield Case(title, scene, {"ann": ALL, "cat": PLAIN}, (), [lost])


def repeated_cases() -> Iterator[Case]:
    """Cuts that say what another has said."""
    scene, (ann, bob, cat) = admitted(3)
    left, right = _fork(scene, bob)
    scene.show([left, right], ann, cat)
    scene.fork(ann, left, right)
    scene.fork(cat, left, right)
    aside = scene.rename(bob, "aside")
    everyone = {"ann": ALL, "cat": PLAIN}
    scene.share(ann, cat)
    again = [("limit", scene.fork(ann, left, right))]
    yield Case("two members prove a fork at once; after that nobody does", scene, everyone, [aside], (), again)

    scene, (ann, bob, cat) = admitted(3)
    left, right = _fork(scene, bob)
    scene.show([left, right], ann, cat)
    twin = scene.author("cat", " twice")
    twin.known.update(cat.known)
    scene.rename(cat, "cat")
    scene.rename(twin, "cat")
    proofs = sorted((scene.fork(cat, left, right), scene.fork(twin, left, right)), key=lambda event: event.order)
    aside = scene.rename(bob, "aside")
    title = "of several proofs by one author the first counts"
    yield Case(title, scene, everyone, [aside], [proofs[1]])

    scene, (ann, bob, cat) = admitted(3)
    left, right = _fork(scene, bob)
    scene.show([left, right], ann, cat)
    scene.fork(cat, left, right)
    scene.share(ann, cat)
    scene.add(ann, bob, tip=left)
    scene.share(ann, cat)
    again = [("limit", scene.fork(cat, left, right)), ("limit", scene.fork(ann, left, right))]
    title = "once readmitted, it is not cut for the same fork again"
    yield Case(title, scene, {**everyone, "bob": PLAIN}, (), (), again)

    scene, (ann, bob, cat) = admitted(3)
    scene.remove(bob, bob, "run")
    idle = [("limit", scene.remove(bob, bob, "run"))]
    yield Case("who gives up a role must have it", scene, {**everyone, "bob": "submit"}, (), (), idle)

    scene, (ann, bob, cat) = admitted(3)
    scene.remove(ann, bob, "run")
    more = scene.remove(ann, bob, "run")
    yield Case("of two removals that say the same the first counts", scene, {**everyone, "bob": "submit"}, (), [more])


def _fork(scene: Scene, author: Author) -> tuple[Event, Event]:
    copy = scene.author(author.name, " twice")
    copy.known.update(author.known)
    return scene.rename(author, "left"), scene.rename(copy, "right")


def readmission_cases() -> Iterator[Case]:
    """Back again."""
    scene, (ann, bob, cat) = admitted(3)
    known = scene.rename(bob, "known")
    scene.share(ann, bob, cat)
    scene.remove(ann, bob)
    dead = scene.rename(bob, "dead branch")
    scene.add(ann, bob, tip=known)
    back = scene.author("bob", " again")
    back.known.update(ann.known)
    scene.rename(back, "back")
    scene.show(ann.known.values(), bob)
    wrong = scene.rename(bob, "goes on from elsewhere")
    assert wrong.prev == dead.cid
    everyone = {"ann": ALL, "bob": PLAIN, "cat": PLAIN}
    proof = _proof_over_readmission(scene, ann, dead, back)
    refused = [("tip", wrong), ("fork", proof)]
    yield Case("readmitted, it goes on from the tip it is given", scene, everyone, [dead], (), refused)

    scene, (ann, bob, cat) = admitted(3)
    scene.remove(ann, bob)
    scene.add(ann, bob, "run")
    yield Case("readmitted, it has the roles of the readmission", scene, {"ann": ALL, "bob": "run", "cat": PLAIN})

    scene, (ann, bob, cat) = admitted(3)
    scene.add(ann, cat, "admin")
    scene.share(ann, cat)
    scene.remove(cat, bob)
    scene.remove(ann, bob)
    scene.add(ann, bob)
    yield Case("a readmission that does not know of one of the removals", scene, {"ann": ALL, "cat": ALL})

    scene, (ann, bob, cat) = admitted(3)
    cut = scene.remove(ann, bob, keep_runs=True)
    again = scene.add(ann, bob)
    scene.remove(ann, bob)
    assert cut.lamport < again.lamport
    yield Case("removed, readmitted, removed", scene, {"ann": ALL, "cat": PLAIN})


def _proof_over_readmission(scene: Scene, by: Author, dead: Event, back: Author) -> Event:
    goes_on = max(back.known.values(), key=lambda event: event.order)
    assert (goes_on.author, goes_on.seq) == (dead.author, dead.seq)
    scene.show([dead, goes_on], by)
    return scene.fork(by, dead, goes_on)


def expected(case: Case) -> dict[str, object]:
    """What every peer has to come to, checked against the words of the case."""
    refused = {event.cid: kind for kind, event in case.refused}
    clock = Clock(case.scene.genesis.cid)
    for event in sorted(case.scene.events.values(), key=lambda event: event.order):
        if event.cid not in refused:
            assert isinstance(clock.accept(event), Accepted), (case.title, event.type)
    for _, event in case.refused:
        assert isinstance(clock.accept(event), Invalid), (case.title, event.type)
    roster = clock.roster
    names = {one.peer: name for name, one in case.scene.authors.items() if " " not in name}
    members = {names[peer]: " ".join(sorted(member.roles)) for peer, member in roster.members.items()}
    assert members == dict(case.members), (case.title, members)
    void = [node.cid for node in clock.dag if node.void]
    assert sorted(void) == sorted(event.cid for event in case.void), (case.title, len(void))
    effective = {cut.event.cid for cuts in roster.cuts.values() for cut in cuts}
    cuts = {event.cid for event in case.scene.events.values() if event.type in ("member.remove", "member.fork")}
    assert cuts - effective - refused.keys() == {event.cid for event in case.idle}, case.title
    return {
        "members": {
            peer: {
                "roles": sorted(member.roles),
                "name": member.name,
                "labels": list(member.labels),
                "slots": member.slots,
            }
            for peer, member in sorted(roster.members.items())
        },
        "cuts": {
            peer: [
                {
                    "event": cut.event.cid.text,
                    "roles": sorted(cut.roles),
                    "readmissions": [add.cid.text for add in cut.readmissions],
                }
                for cut in sorted(found, key=lambda cut: cut.event.order)
            ]
            for peer, found in sorted(roster.cuts.items())
        },
        "without_effect": sorted(event.cid.text for event in case.idle),
        "void": sorted(cid.text for cid in void),
        "heads": [node.cid.text for node in clock.dag.heads()],
    }


def roster_vectors() -> dict[str, object]:
    """All vectors of membership."""
    found: list[dict[str, object]] = []
    for cases in (
        plain_cases,
        removal_cases,
        order_cases,
        cascade_cases,
        fork_cases,
        repeated_cases,
        readmission_cases,
    ):
        for case in cases():
            refused = {event.cid: kind for kind, event in case.refused}
            events = sorted(case.scene.events.values(), key=lambda event: (event.cid in refused, event.order))
            found.append(
                {
                    "title": case.title,
                    "network": case.scene.genesis.cid.text,
                    "events": [{"cid": event.cid.text, "type": event.type, **block_json(event)} for event in events],
                    "refused": {cid.text: kind for cid, kind in refused.items()},
                    "expected": expected(case),
                }
            )
    return {"protocol": "membership", "version": 1, "cases": found}
