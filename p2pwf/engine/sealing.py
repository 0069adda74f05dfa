"""Secrets and variables as a node deals with them: who may set them, whom they are sealed to, which jobs wait for that.

Seals and opens nothing: that takes randomness and the node's key, and is the shell's. Source: protocols/secrets.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, cast

from p2pwf.core.bodies import MAX_BOXES
from p2pwf.core.events import Event, EventError
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.config import STAGGER
from p2pwf.engine.desk import Desk, needs_context
from p2pwf.engine.inputs import Sealed, WriteSetting
from p2pwf.engine.liveness import Liveness
from p2pwf.engine.outputs import Reply, Reseal
from p2pwf.errors import NotFound, P2pwfError, Refused, UsageError
from p2pwf.roster import Roster
from p2pwf.runs import Run
from p2pwf.runs.run import Key
from p2pwf.runs.settings import Asks, Slot, may_use

MAX_SETTINGS: Final = 1000
"""Secrets of a network, and again variables: GitHub's bound for an organization."""
AGAIN: Final = 30.0
"""Seconds after which a seal that was asked for and did not come is asked for again: a box may be no good."""
WORDS: Final = {"secret": "secret", "var": "variable"}


class Sealing:
    """`_since`: when this node first saw that somebody lacks a box. `_asked`: when it last asked for that seal."""

    def __init__(self, desk: Desk, liveness: Liveness) -> None:
        self._desk = desk
        self._liveness = liveness
        self._known: tuple[Roster, int] | None = None
        self._lacking: dict[Cid, tuple[PeerId, ...]] = {}
        self._since: dict[tuple[Cid, PeerId], float] = {}
        self._asked: dict[tuple[Cid, PeerId], float] = {}

    # -- requests -----------------------------------------------------------------------------------------------

    def write(self, request: WriteSetting) -> None:
        """Record what a user sets or removes."""
        desk = self._desk
        kind, _, act = request.type.partition(".")
        if not desk.standing().holds(desk.me, "admin"):
            raise Refused(f"only an admin may {act} a {WORDS[kind]}", "ask an admin: `p2pwf peer list` shows the roles")
        standing = desk.settings.secrets if kind == "secret" else desk.settings.variables
        slot = cast(Slot, (request.body["environment"], request.body["name"]))
        if act == "remove" and slot not in standing:
            where = f" in the environment {slot[0]}" if slot[0] else ""
            raise NotFound(f"no {WORDS[kind]} {slot[1]}{where}", f"see `p2pwf {WORDS[kind]} list`")
        if act == "set" and slot not in standing and len(standing) >= MAX_SETTINGS:
            raise Refused(f"there are {len(standing)} {WORDS[kind]}s", "remove some")
        try:
            desk.write(request.type, request.body)
        except EventError as error:
            raise UsageError(f"this {WORDS[kind]} is out of bounds: {error}", "see protocols/secrets.md") from error
        desk.emit(Reply(request.token, {"name": slot[1], "environment": slot[0]}))

    def sealed(self, input: Sealed) -> None:
        """Record boxes that this node has made, if they are still lacking."""
        desk = self._desk
        if desk.frozen is not None or not desk.standing().holds(desk.me, "admin"):
            return
        lacking = self._missing_boxes()
        boxes: list[object] = [
            {"secret": secret, "peer": peer, "box": box}
            for secret, peer, box in input.boxes
            if peer in lacking.get(secret, ())
        ]
        if boxes:
            desk.write("secret.seal", {"boxes": boxes[:MAX_BOXES]})

    # -- boxes --------------------------------------------------------------------------------------------------

    def eligible(self) -> list[PeerId]:
        """Whom a secret is sealed to: who may run jobs, and admins, which set it and seal it to others."""
        members = self._desk.roster.members.values()
        return sorted(one.peer for one in members if one.can("admin") or (one.can("run") and one.slots > 0))

    def lacking(self, secret: Event) -> tuple[PeerId, ...]:
        """Who should have a box of a secret that stands, and has none."""
        return self._missing_boxes().get(secret.cid, ())

    def to_rotate(self, secret: Event) -> list[PeerId]:
        """Who could open a secret, and has neither of the roles admin and run any more."""
        roster = self._desk.roster
        holders = self._desk.settings.holders(secret)
        return sorted(peer for peer in holders if not (roster.holds(peer, "admin") or roster.holds(peer, "run")))

    def _missing_boxes(self) -> Mapping[Cid, tuple[PeerId, ...]]:
        """Of each secret that stands, who lacks a box; none where nobody does."""
        now = self._desk.roster, self._desk.settings.version
        if self._known is None or self._known[0] is not now[0] or self._known[1] != now[1]:
            self._known, wanted = now, self.eligible()
            self._lacking = {}
            for secret in self._desk.settings.secrets.values():
                holders = self._desk.settings.holders(secret)
                if without := tuple(peer for peer in wanted if peer not in holders):
                    self._lacking[secret.cid] = without
            pairs = {(secret, peer) for secret, peers in self._lacking.items() for peer in peers}
            for times in (self._since, self._asked):
                for pair in times.keys() - pairs:
                    del times[pair]
        return self._lacking

    def tick(self) -> None:
        """Have secrets sealed to who lacks a box, if it is our turn: the first live admin that can open them at once,
        in the order of peer ids, the k-th after k waits."""
        desk = self._desk
        if not desk.settings.secrets or not desk.roster.holds(desk.me, "admin"):
            return
        lacking = self._missing_boxes()
        if not lacking or desk.frozen is not None or self._liveness.suspended:
            return
        admins = sorted(one for one in desk.roster.members if desk.roster.holds(one, "admin"))
        live = [one for one in admins if self._liveness.is_alive(one)]
        wanted, room = [], MAX_BOXES
        for secret in desk.settings.secrets.values():
            able = [one for one in live if one in desk.settings.holders(secret)]
            if secret.cid not in lacking or desk.me not in able:
                continue
            wait = able.index(desk.me) * STAGGER
            due = [peer for peer in lacking[secret.cid] if self._is_due(secret.cid, peer, wait)][:room]
            room -= len(due)
            if due:
                wanted.append((secret, tuple(desk.settings.boxes(secret, desk.me)), tuple(due)))
                self._asked.update(dict.fromkeys(((secret.cid, peer) for peer in due), desk.now.mono))
        if wanted:
            desk.emit(Reseal(tuple(wanted)))

    def _is_due(self, secret: Cid, peer: PeerId, wait: float) -> bool:
        now = self._desk.now.mono
        since = self._since.setdefault((secret, peer), now)
        return now - since >= wait and now - self._asked.get((secret, peer), now - AGAIN) >= AGAIN

    # -- jobs ---------------------------------------------------------------------------------------------------

    def asks(self, run: Run, key: Key) -> Asks:
        """What a leg whose job's needs have concluded asks for; raises P2pwfError if that cannot be told."""
        job = run.plan.jobs[key[0]]
        total = len(run.tally.job_legs(job.id) or ())
        leg = run.tally.leg_of(key)
        needs = needs_context(run, job.needs)
        return self._desk.config.planner.asks(run.submission, job.id, needs, leg, key[1], total)

    def given(self, run: Run, key: Key) -> dict[Slot, Event]:
        """The secrets that a leg gets from its owner, whoever that is; raises P2pwfError as `asks` does.

        All that opens secrets for a job, or has one wait for them, asks here. A node that runs no jobs itself gives
        none: a client has ways of its own.
        """
        asked = self._asked_for(run, key)
        return {slot: secret for slot, secret in asked.items() if may_use(secret, run.submitter)}

    def kept(self, run: Run, key: Key) -> list[str]:
        """The names of the secrets that a leg asks for and does not get: they are not for runs of its submitter."""
        asked = self._asked_for(run, key)
        return sorted({slot[1] for slot, secret in asked.items() if not may_use(secret, run.submitter)})

    def _asked_for(self, run: Run, key: Key) -> dict[Slot, Event]:
        if self._desk.config.external or not self._desk.settings.secrets:
            return {}
        return self._desk.settings.asked(self.asks(run, key))

    def unopened(self, run: Run, key: Key, peer: PeerId) -> list[str]:
        """The names of the secrets of a leg that are not sealed to a peer; raises P2pwfError as `asks` does."""
        given = self.given(run, key)
        return [slot[1] for slot, secret in given.items() if peer not in self._desk.settings.holders(secret)]

    def without_boxes(self, run: Run, key: Key, peers: Iterable[PeerId]) -> set[PeerId]:
        """Who of `peers` could not open all secrets of a leg; nobody as long as that cannot be told."""
        if not self._desk.settings.secrets or any(
            run.tally.result(need) is None for need in run.plan.jobs[key[0]].needs
        ):
            return set()
        try:
            given = self.given(run, key)
        except P2pwfError:
            return set()
        held = [self._desk.settings.holders(secret) for secret in given.values()]
        return {peer for peer in peers if any(peer not in holders for holders in held)}
