"""Membership and the fold once more, from the words of the pages alone: slow, plain, and with none of the package's
code but the reading of blocks. Where it and the package differ, a page is not followable, or one of the two is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from p2pwf.core.dagcbor import encode
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid

ALL = frozenset(("admin", "run", "submit"))
NEEDS = {"run.submit": "submit", "run.end": "run", "member.add": "admin"}
Order = tuple[int, bytes]
MANY = 1 << 20
"""More than can be carried over: what is comes before everything else."""


def role_of(event: Event) -> str | None:
    """The role that an event asks of its author."""
    if event.type == "member.remove":
        return None if body_of(event)["peer"] == event.author else "admin"
    return "run" if event.type.startswith("job.") else NEEDS.get(event.type)


def order(event: Event) -> Order:
    return event.lamport, bytes(event.cid)


def body_of(event: Event) -> Any:
    """The body, whose form was checked when the block was read."""
    return event.body


class World:
    """A set of events, closed, and who is in whose past."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = {event.cid: event for event in events}
        self.past: dict[Cid, frozenset[Cid]] = {}
        for event in sorted(self.events.values(), key=order):
            below = set(event.links())
            for cid in event.links():
                below |= self.past[cid]
            self.past[event.cid] = frozenset(below)

    def at(self, event: Event) -> Roster:
        """The roster of an event's past."""
        return Roster(self, [self.events[cid] for cid in self.past[event.cid]])


class Roster:
    """Steps 1 to 4 of protocols/membership.md."""

    def __init__(self, world: World, events: Iterable[Event]) -> None:
        self.world = world
        acts = sorted((event for event in events if event.type.startswith(("net.", "member."))), key=order)
        self.updates = [event for event in acts if event.type == "member.update"]
        self.admissions = [event for event in acts if event.type in ("net.genesis", "member.add")]
        self.cuts: list[tuple[str, frozenset[str], Event]] = []
        self.said: list[object] = []
        ranks: dict[str, tuple[int, Order]] = {}
        for event in self.admissions:
            depth = 0 if event.type == "net.genesis" else ranks[event.author][0] + 1
            ranks.setdefault(self.admitted(event), (depth, order(event)))
        walk = [event for event in acts if event.type in ("member.remove", "member.fork")]
        for cut in sorted(walk, key=lambda cut: (cut.type != "member.fork", ranks[cut.author], order(cut))):
            self.walk(cut)

    def admitted(self, event: Event) -> str:
        return event.author if event.type == "net.genesis" else str(body_of(event)["peer"])

    def given(self, event: Event) -> frozenset[str]:
        return ALL if event.type == "net.genesis" else frozenset(body_of(event)["roles"])

    def is_void(self, event: Event, role: str | None) -> bool:
        """Step 2."""
        if event.type == "net.genesis":
            return False
        for peer, roles, cut in self.cuts:
            touched = peer == event.author and (roles == ALL if role is None else role in roles)
            if not touched or event is cut or event.cid in self.world.past[cut.cid]:
                continue
            past = self.world.past[event.cid]
            back = [add for add in self.after(peer, cut) if add.cid in past and not self.is_void(add, "admin")]
            if not any(role is None or role in self.given(add) for add in back):
                return True
        return False

    def leaves_void(self, event: Event) -> bool:
        """ "Void events": admissions and cuts are none."""
        shaping = event.type in ("net.genesis", "member.add", "member.remove", "member.fork")
        return not shaping and self.is_void(event, role_of(event))

    def after(self, peer: str, cut: Event) -> list[Event]:
        """The admissions of a peer that know of a cut."""
        own = [add for add in self.admissions if self.admitted(add) == peer]
        return [add for add in own if cut.cid in self.world.past[add.cid]]

    def readmissions(self, peer: str, cut: Event) -> list[Event]:
        return [add for add in self.after(peer, cut) if not self.is_void(add, "admin")]

    def valid(self, peer: str) -> list[Event]:
        own = [add for add in self.admissions if self.admitted(add) == peer]
        return [add for add in own if not self.is_void(add, "admin")]

    def walk(self, cut: Event) -> None:
        """Step 3."""
        if self.is_void(cut, role_of(cut)):
            return
        before, body = list(self.cuts), body_of(cut)
        if cut.type == "member.remove":
            peer, roles, past = str(body["peer"]), frozenset(body["roles"]), self.world.past[cut.cid]
        else:
            peer, roles = self.world.events[body["first"]].author, ALL
            past = self.world.past[body["first"]] | {body["first"]}
        about = {add.cid for add in self.admissions if self.admitted(add) == peer and add.cid in past}
        says = (cut.author, cut.type, peer, roles, body.get("keep_runs"), about)
        if says in self.said:
            return
        self.said.append(says)
        self.cuts.append((peer, roles, cut))
        fallen = {peer}
        while True:
            whole = {one for one, taken, by in self.cuts if by is cut and taken == ALL}
            more = {
                self.admitted(add)
                for add in self.admissions
                if add.author in fallen and self.admitted(add) not in whole and not self.valid(self.admitted(add))
            }
            if not more:
                break
            self.cuts += [(one, ALL, cut) for one in more]
            fallen |= more
        if not any("admin" in self.roles(self.admitted(add)) for add in self.admissions):
            self.cuts = before

    def roles(self, peer: str) -> frozenset[str]:
        """Step 4."""
        held: frozenset[str] = frozenset()
        for add in self.valid(peer):
            lost = [taken for one, taken, cut in self.cuts if one == peer and cut.cid not in self.world.past[add.cid]]
            held |= self.given(add) - frozenset().union(*lost)
        return held

    def members(self) -> dict[str, dict[str, Any]]:
        found = {}
        for peer in {self.admitted(add) for add in self.admissions}:
            said = [event for event in self.updates if event.author == peer and not self.is_void(event, None)]
            latest = max([*self.valid(peer), *said], key=order, default=None)
            if self.roles(peer) and latest is not None:
                about: Any = body_of(latest)["founder"] if latest.type == "net.genesis" else body_of(latest)
                named = {name: about[name] for name in ("name", "labels", "slots")}
                found[peer] = {"roles": sorted(self.roles(peer)), **named}
        return found


# -- runs -------------------------------------------------------------------------------------------------------


def rank(point: bytes, peer: str) -> tuple[int, bytes]:
    """protocols/assignment.md."""
    apart = int.from_bytes(point, "big") ^ int.from_bytes(sha256(peer.encode()).digest(), "big")
    return apart.bit_count(), sha256(point + peer.encode()).digest()


def own_labels(peer: str, about: Mapping[str, Any]) -> list[str]:
    """What a member offers: nobody offers the label of another."""
    return [label for label in about["labels"] if not label.startswith("peer:")] + [f"peer:{peer.lower()}"]


def fits(offered: Collection[str], wanted: Iterable[str]) -> bool:
    systems = {"ubuntu-": "linux", "macos-": "macos", "windows-": "windows"}
    return all(
        label in offered
        or label == "self-hosted"
        or any(label.startswith(start) and system in offered for start, system in systems.items())
        for label in wanted
    )


class Carried:
    """What a rerun carries over, as if it were one of its events."""

    def __init__(self, body: Any, place: int) -> None:
        self.type = "job.finish" if "finish" in body else "job.expand"
        self.cid: Cid = body["finish"] if "finish" in body else body["expand"]
        self.author: str = body["author"]
        self.lamport = place
        self.body = {"attempt": 1, "uses": [], **body}


class Fold:
    """protocols/runs.md: one run in a set of events."""

    def __init__(self, world: World, run: Cid) -> None:
        self.world = world
        self.run = world.events[run]
        self.everything = Roster(world, world.events.values())
        self.jobs: dict[str, Any] = {job["id"]: job for job in body_of(self.run)["plan"]["jobs"]}
        self.known = world.at(self.run).members()
        self.events = [event for event in sorted(world.events.values(), key=order) if run in (event.cid, event.run)]
        self.carried: list[Any] = []
        rerun = body_of(self.run)["rerun"] or {"expands": (), "carries": ()}
        known = {name: job["legs"] for name, job in self.jobs.items()}
        for place, body in enumerate([*rerun["expands"], *rerun["carries"]], -MANY):
            one = Carried(body, place)
            same = [it for it in self.carried if it.type == one.type and it.body["job"] == body["job"]]
            if one.cid in [it.cid for it in self.carried] or body["job"] not in known:
                continue
            if one.type == "job.expand":
                if known[body["job"]] is not None or bool(body["legs"]) == bool(body["conclusion"]):
                    continue
                known[body["job"]] = body["legs"]
            elif body["leg"] >= len(known[body["job"]] or ()) or body["leg"] in [it.body["leg"] for it in same]:
                continue
            self.carried.append(one)
        self.past: dict[Cid, frozenset[Cid]] = {}
        self.counting: set[Cid] = set()
        self._placed = self.place([key for wave in self.waves() for key in wave], None)
        for event in self.events:
            below: set[Cid] = set()
            for cid in event.after:
                if cid in self.past:
                    below |= {cid} | self.past[cid]
            self.past[event.cid] = frozenset(below)
            if event is self.run or (not self.void(event) and run in below and View(self, below).allows(event)):
                self.counting.add(event.cid)

    def void(self, event: Event) -> bool:
        return self.everything.leaves_void(event)

    def combined(self, job: str, leg: int) -> bytes:
        head = sha256(b"".join(sorted(map(bytes, self.run.parents)))).digest()
        return sha256(head + sha256(encode([self.run.cid, job, leg])).digest()).digest()

    def order(self, job: str, leg: int, labels: Sequence[str], members: Mapping[str, Any]) -> list[str]:
        able = [
            peer
            for peer, about in members.items()
            if "run" in about["roles"] and about["slots"] > 0 and fits(own_labels(peer, about), labels)
        ]
        return sorted(able, key=lambda peer: rank(self.combined(job, leg), peer))

    def depth(self, job: str) -> int:
        return 1 + max((self.depth(need) for need in self.jobs[job]["needs"]), default=-1)

    def waves(self) -> list[list[tuple[str, int]]]:
        found: dict[int, list[tuple[str, int]]] = {}
        for name, job in self.jobs.items():
            found.setdefault(self.depth(name), []).extend((name, index) for index in range(len(job["legs"] or ())))
        return list(found.values())

    def place(self, keys: Sequence[tuple[str, int]], legs: Sequence[Any] | None) -> dict[tuple[str, int], str | None]:
        """The owners of attempt 1: wave by wave, or of the legs of one expansion."""
        owners: dict[tuple[str, int], str | None] = {}
        for depth in {self.depth(job) for job, _ in keys}:
            load = dict.fromkeys(self.known, 0)
            for job, index in (key for key in keys if self.depth(key[0]) == depth):
                leg = (legs or self.jobs[job]["legs"])[index]
                able = self.order(job, index, leg["labels"], self.known)
                able = [peer for peer in able if peer not in body_of(self.run)["absent"]] or able
                point, slots = self.combined(job, index), {peer: self.known[peer]["slots"] for peer in able}
                owner = min(
                    able, key=lambda peer: (load[peer] // slots[peer], load[peer], *rank(point, peer)), default=None
                )
                owners[job, index] = owner
                if owner is not None:
                    load[owner] += 1
        return owners


class View:
    """What a set of counting events says."""

    def __init__(self, fold: Fold, among: Collection[Cid]) -> None:
        self.fold = fold
        self.events = fold.carried + [
            event for event in fold.events if event.cid in among and event.cid in fold.counting
        ]

    def of(self, kind: str, job: str | None = None, leg: int | None = None) -> list[Event]:
        return [
            event
            for event in self.events
            if event.type == kind and body_of(event).get("job") == job and body_of(event).get("leg") == leg
        ]

    def expansion(self, job: str) -> Event | None:
        stands = [one for one in self.events if one.type in ("job.start", "job.finish") and body_of(one)["job"] == job]
        under = {cid for one in stands for cid in self.fold.past.get(one.cid, ())}
        return min(self.of("job.expand", job), key=lambda one: (one.cid not in under, *order(one)), default=None)

    def legs(self, job: str) -> Any:
        if self.fold.jobs[job]["legs"] is not None:
            return self.fold.jobs[job]["legs"]
        expansion = self.expansion(job)
        return None if expansion is None else body_of(expansion)["legs"]

    def newest(self, job: str, leg: int) -> int:
        return max((int(body_of(event)["attempt"]) for event in self.of("job.reassign", job, leg)), default=1)

    def owner(self, job: str, leg: int, attempt: int) -> Any:
        moves = [event for event in self.of("job.reassign", job, leg) if body_of(event)["attempt"] == attempt]
        if moves:
            return body_of(min(moves, key=order))["owner"]
        if attempt > 1:
            return None
        if self.fold.jobs[job]["legs"] is not None:
            return self.fold._placed[job, leg]
        legs = self.legs(job)
        return self.fold.place([(job, index) for index in range(len(legs))], legs)[job, leg]

    def finishes(self, job: str, leg: int) -> list[Event]:
        return self.of("job.finish", job, leg) + self.of("job.lost", job, leg)

    def outcome(self, job: str, leg: int) -> Event | None:
        named = {cid for event in self.events for cid in body_of(event).get("uses", ())}
        return min(
            self.finishes(job, leg),
            key=lambda event: (event.cid not in named, body_of(event)["attempt"], *order(event)),
            default=None,
        )

    def outcomes(self, job: str) -> list[Event] | None:
        expansion = self.expansion(job)
        if expansion is not None and body_of(expansion)["conclusion"] is not None:
            return [expansion]
        legs = self.legs(job)
        if legs is None:
            return None
        found = [self.outcome(job, index) for index in range(len(legs))]
        return None if None in found else [event for event in found if event is not None]

    def result(self, job: str) -> str | None:
        outcomes = self.outcomes(job)
        if outcomes is None:
            return None
        words = {str(body_of(event).get("conclusion", "failure")) for event in outcomes}
        return next((word for word in ("failure", "cancelled", "success") if word in words), "skipped")

    def conclusion(self) -> str | None:
        words = {self.result(job) for job in self.fold.jobs}
        if None in words:
            return None
        return next((word for word in ("failure", "cancelled") if word in words), "success")

    def end(self) -> Event | None:
        outcomes = [one.cid for job in self.fold.jobs for one in self.outcomes(job) or ()]
        ends = self.of("run.end")
        return min(ends, key=lambda one: (body_of(one)["finishes"] != outcomes, *order(one)), default=None)

    def allows(self, event: Event) -> bool:
        """The table of protocols/runs.md, with this view as what is there."""
        fold, body = self.fold, body_of(event)
        if event.type in ("run.cancel", "run.priority"):
            mine = event.author == fold.run.author
            return mine or "admin" in fold.world.at(event).members().get(event.author, {"roles": ()})["roles"]
        if event.type == "run.note":
            return True
        if event.type == "run.end":
            finishes = [one.cid for job in fold.jobs for one in self.outcomes(job) or ()]
            return (
                self.end() is None
                and body["finishes"] == finishes
                and body["conclusion"] == self.conclusion() is not None
            )
        there = {one.cid for one in self.events if one.type in ("job.finish", "job.lost", "job.expand")}
        if not set(body.get("uses", ())) <= there:
            return False
        job, leg = str(body["job"]), body.get("leg")
        attempt: int | None = body.get("attempt")
        if job not in fold.jobs:
            return False
        if event.type == "job.expand":
            late = fold.jobs[job]["legs"] is None and self.expansion(job) is None
            return late and (body["conclusion"] is None) == bool(body["legs"])
        legs = self.legs(job)
        if legs is None or not isinstance(leg, int) or leg >= len(legs) or self.finishes(job, leg):
            return False
        newest = self.newest(job, leg)
        owner = self.owner(job, leg, newest)
        if event.type == "job.lost":
            return attempt == newest == 8
        if event.type == "job.reassign":
            return attempt == (1 if owner is None else newest + 1) and self.names_next(event, legs[leg], owner)
        started = any(body_of(one)["attempt"] == attempt for one in self.of("job.start", job, leg))
        if self.only_ends(job, leg, newest) and not (event.type == "job.finish" and body["conclusion"] == "cancelled"):
            return False
        return attempt == newest and event.author == owner and (event.type == "job.finish" or not started)

    def names_next(self, event: Event, planned: Any, owner: str | None) -> bool:
        job, leg = str(body_of(event)["job"]), int(body_of(event)["leg"])
        named = body_of(event)["owner"]
        if named == event.author == owner:
            return True
        chosen = self.next_owner(event, planned)
        if chosen is None:
            return bool(named == event.author) and self.is_cancelled(event)
        able = self.fold.order(job, leg, planned["labels"], self.fold.world.at(event).members())
        return event.author in able and bool(named == chosen)

    def next_owner(self, event: Event, planned: Any) -> str | None:
        """Whom a reassignment has to name, if anybody."""
        job, leg = str(body_of(event)["job"]), int(body_of(event)["leg"])
        able = self.fold.order(job, leg, planned["labels"], self.fold.world.at(event).members())
        refused = {one.author for one in self.of("job.refuse", job, leg)}
        owners = [self.owner(job, leg, attempt) for attempt in range(1, self.newest(job, leg) + 1)]
        free = [peer for peer in able if peer not in refused and peer not in body_of(event)["absent"]]
        return min(free, key=owners.count, default=None)

    def only_ends(self, job: str, leg: int, attempt: int) -> bool:
        """Whether an attempt was taken only to end a leg of a cancelled run."""
        moves = [event for event in self.of("job.reassign", job, leg) if body_of(event)["attempt"] == attempt]
        if not moves:
            return False
        move = min(moves, key=order)
        there = View(self.fold, self.fold.past[move.cid])
        before = there.owner(job, leg, there.newest(job, leg))
        if body_of(move)["owner"] == move.author == before:
            return there.only_ends(job, leg, there.newest(job, leg))
        return there.next_owner(move, self.legs(job)[leg]) is None

    def is_cancelled(self, event: Event) -> bool:
        """Whether the run is cancelled as far as an event's past tells."""
        known, submitter = self.fold.world.at(event), self.fold.run.author
        cuts = [body_of(cut) for peer, _, cut in known.cuts if peer == submitter]
        kept = any(cut.get("keep_runs", False) for cut in cuts)
        return bool(self.of("run.cancel")) or (submitter not in known.members() and not kept)
