"""The events of one small network, for vectors: authors with fixed keys who know only what they were shown.

Knows nothing of rosters or runs: what an event stands on is given, or taken from what its author knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, cast

import attrs

from p2pwf.core.bodies import ROLES
from p2pwf.core.events import Event, author_event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.sign import Signer

EPOCH = 1_700_000_000_000
"""Wall clock of the genesis event in ms; each later event is written a second after the one before."""


def seed(name: str) -> bytes:
    """The private seed of an author, from its name."""
    return sha256(f"p2pwf vector key {name}".encode()).digest()


@attrs.define(eq=False)
class Author:
    """One key, and the events that its holder knows."""

    name: str
    signer: Signer
    known: dict[Cid, Event] = attrs.field(factory=dict)

    @property
    def peer(self) -> PeerId:
        """The peer id."""
        return self.signer.peer_id


class Scene:
    """All events of a network in the order of writing, the founder's genesis first."""

    def __init__(self, founder: str = "ann") -> None:
        self.authors: dict[str, Author] = {}
        self.events: dict[Cid, Event] = {}
        self.network: Cid | None = None
        first = self.author(founder)
        about = {"name": founder, "labels": ["linux"], "slots": 2}
        body = {"name": "vectors", "nonce": seed("nonce")[:16], "private": False, "founder": about}
        self.genesis = self.write(first, "net.genesis", body)
        self.network = self.genesis.cid

    def author(self, name: str, copy: str = "") -> Author:
        """The author of that name; `copy` is another holder of the same key, who knows other things."""
        key = name + copy
        if key not in self.authors:
            self.authors[key] = Author(key, Signer(seed(name)))
        return self.authors[key]

    def write(
        self,
        author: Author,
        type: str,
        body: Mapping[str, object],
        *,
        run: Cid | None = None,
        **changes: object,
    ) -> Event:
        """The next event of an author: on the heads that it knows and, about a run, after that run's heads.

        `changes` puts other values in the place of those that an honest author would write.
        """
        known = list(author.known.values())
        own = [event for event in known if event.author == author.peer]
        tip = cast("Event | None", changes.pop("tip", max(own, key=lambda event: event.seq, default=None)))
        fields: dict[str, Any] = {
            "net": self.network,
            "seq": 0 if tip is None else tip.seq + 1,
            "prev": None if tip is None else tip.cid,
            "parents": heads(known),
            "after": [] if run is None else heads([event for event in known if event.run == run]),
            "time": EPOCH + 1000 * len(self.events),
            **changes,
        }
        links = [*fields["parents"], *fields["after"], *([fields["prev"]] if fields["prev"] else [])]
        if type == "member.fork":
            links += [body["first"], body["second"]]
        below = [self.events[cid].lamport for cid in links if cid in self.events]
        fields.setdefault("lamport", 1 + max(below, default=0))
        event = author_event(author.signer, type=type, body=body, **fields)
        self.events[event.cid] = author.known[event.cid] = event
        return event

    def show(self, events: Iterable[Event], *to: Author) -> None:
        """Let authors learn events, and all that they stand on."""
        todo = list(events)
        while todo:
            event = todo.pop()
            for one in to:
                one.known[event.cid] = event
            todo += [self.events[cid] for cid in event.links() if any(cid not in one.known for one in to)]

    def share(self, *among: Author, without: Sequence[Event] = ()) -> None:
        """Let authors learn all that any of them knows, but for `without`."""
        everything = {cid: event for one in among for cid, event in one.known.items() if event not in without}
        for one in among:
            one.known.update(everything)

    # -- bodies -------------------------------------------------------------------------------------------------

    def add(
        self,
        by: Author,
        whom: Author,
        *roles: str,
        tip: Event | None = None,
        slots: int = 2,
        labels: Sequence[str] = ("linux",),
    ) -> Event:
        """An admission, of run and submit unless other roles are named."""
        body = {
            "peer": whom.peer,
            "roles": sorted(roles or ("run", "submit")),
            "name": whom.name,
            "labels": list(labels),
            "slots": slots,
            "tip": None if tip is None else tip.cid,
        }
        return self.write(by, "member.add", body)

    def remove(self, by: Author, whom: Author, *roles: str, keep_runs: bool = False) -> Event:
        """A removal, of all roles unless some are named."""
        body = {"peer": whom.peer, "roles": sorted(roles or ROLES), "keep_runs": keep_runs}
        return self.write(by, "member.remove", body)

    def rename(self, author: Author, name: str, **changes: object) -> Event:
        """An event that any member may write."""
        body = {"name": name, "labels": ["linux"], "slots": 2}
        return self.write(author, "member.update", body, run=None, **changes)

    def fork(self, by: Author, one: Event, other: Event) -> Event:
        """The proof that two events of one seq are by one author."""
        first, second = sorted((one.cid, other.cid))
        return self.write(by, "member.fork", {"first": first, "second": second})


def heads(events: Sequence[Event]) -> list[Cid]:
    """Those of `events` that none of them names."""
    covered = {cid for event in events for cid in event.links()}
    return [event.cid for event in events if event.cid not in covered]


def admitted(size: int) -> tuple[Scene, list[Author]]:
    """A founder and members with the roles run and submit, who all know everything."""
    scene = Scene()
    people = [scene.author(name) for name in ("ann", "bob", "cat", "dan", "eve", "fay", "gil", "hal")[:size]]
    for one in people[1:]:
        scene.add(people[0], one)
    scene.share(*people)
    return scene, people
