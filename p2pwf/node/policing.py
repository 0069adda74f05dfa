"""This node's policy at work: from events and the roster to the facts that it judges by. No I/O but reading its file.

The engine asks it before it takes a job on, starts it, or submits a schedule's tick; who starts the job asks for the
verdict, which says on what terms. What must hold on all peers is not its business: it refuses, and the job moves on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from p2pwf.config import NodeSettings, policy_table
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.desk import Desk
from p2pwf.errors import P2pwfError, UsageError
from p2pwf.isolation import Level
from p2pwf.policy import Facts, Policy, Submitter, Verdict, default_policy, judge, parse_policy
from p2pwf.workflow import Flow
from p2pwf.workflow.asks import has_containers, secrets_of

K = TypeVar("K")
V = TypeVar("V")
KEPT: Final = 256
"""Submissions of which the hashes, and jobs of which the secrets, are remembered: they are asked for at each
look at a run."""


def read_policy(settings: NodeSettings) -> Policy:
    """The policy of a node: the table [policy] of its config.toml, else the default one.

    Raises UsageError for a table that cannot be read, and for one beside --trust-members, which is about the default.
    """
    found = policy_table(Path(settings.data_dir))
    if found is None:
        return default_policy(trust_members=settings.trust_members)
    if settings.trust_members:
        raise UsageError(
            f"{found.path} has a [policy]; --trust-members, or trust_members, is for nodes without one",
            'leave it out, and say in a rule: from = ["members"], isolation = "none"',
        )
    return parse_policy(found.table, str(found.path), found.text)


def read_anew(settings: NodeSettings) -> Policy:
    """The policy of a node that works, as its file is now. Raises UsageError for one that cannot be read."""
    try:
        return read_policy(settings)
    except UsageError as error:
        raise UsageError(f"{error.message}; the policy of before still holds", error.hint) from error


def names_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What the body of a run.submit or schedule.add calls its workflow: name and path."""
    return cast(str, body["name"]), cast(str, body["path"])


def hashes_of(text: str, called: Mapping[str, str]) -> tuple[str, ...]:
    """SHA-256 in hex of the text of a workflow, and of those that it calls."""
    return tuple(sha256(one.encode("utf-8", "surrogatepass")).hexdigest() for one in (text, *called.values()))


class Gatekeeper:
    """Judges jobs by a policy. `attach` gives it what the engine knows, before anything is asked."""

    def __init__(
        self, policy: Policy, available: Collection[Level], me: PeerId, flow_of: Callable[[Event], Flow]
    ) -> None:
        self.policy = policy
        self.available = frozenset(available)
        self._me = me
        self._flow_of = flow_of
        self._desk: Desk | None = None
        self._hashes: OrderedDict[Cid, tuple[str, ...]] = OrderedDict()
        self._secrets: OrderedDict[tuple[Cid, str], frozenset[str] | None] = OrderedDict()
        self._containers: OrderedDict[tuple[Cid, str], bool] = OrderedDict()

    def attach(self, desk: Desk) -> None:
        """Ask this desk who is a member, and for schedules."""
        self._desk = desk

    def refusal(self, event: Event, labels: Iterable[str], job: str | None) -> str | None:
        """Why this node runs no such job, or nothing of it; None if it does. Fits `EngineConfig.policy`."""
        verdict = self.verdict(event, labels, job)
        return None if verdict.allowed else verdict.reason

    def verdict(self, event: Event, labels: Iterable[str] = (), job: str | None = None) -> Verdict:
        """The judgement of one job of a run.submit, or without `job` of what is known of all, or of a schedule.add."""
        hashes: tuple[str, ...] = ()
        if self.policy.reads_hashes:
            text, called = cast(str, event.body["workflow"]), cast("Mapping[str, str]", event.body["called"])
            hashes = _kept(self._hashes, event.cid, lambda: hashes_of(text, called))
        facts = Facts(
            submitters=tuple(self._submitter(peer) for peer in self._submitters(event)),
            names=names_of(event.body),
            hashes=hashes,
            labels=tuple(labels),
            secrets=self._secrets_of(event, job),
            containers=self._has_containers(event, job),
        )
        return judge(self.policy, facts, self.available)

    def trusts(self, maker: Event, user: Event) -> bool:
        """Whether what jobs of one run have left may be used by jobs of another: only if they are let in, and on terms
        no stricter, for else a job that is kept apart could put code into one that is not."""
        theirs, ours = self.verdict(maker), self.verdict(user)
        return theirs.allowed and theirs.floor <= ours.floor and theirs.network >= ours.network

    def _submitter(self, peer: PeerId) -> Submitter:
        member = None if self._desk is None else self._desk.roster.members.get(peer)
        return Submitter(peer, peer == self._me, frozenset() if member is None else member.roles)

    def _submitters(self, event: Event) -> tuple[PeerId, ...]:
        """Who stands behind an event. A tick is submitted by whoever was near, but says what its schedule's author
        wrote; and inputs and payload are its own: so both have to be let in."""
        said = cast("Mapping[str, Any] | None", event.body.get("schedule")) if event.type == "run.submit" else None
        schedule = None if said is None or self._desk is None else self._desk.schedules.get(said["schedule"])
        peers = (event.author,) if schedule is None else (event.author, schedule.event.author)
        return tuple(dict.fromkeys(PeerId(peer) for peer in peers))

    def _secrets_of(self, event: Event, job: str | None) -> frozenset[str] | None:
        if job is None or not self.policy.reads_secrets:
            return frozenset()

        def read() -> frozenset[str] | None:
            try:
                return secrets_of(self._flow_of(event), job)[0]
            except (KeyError, P2pwfError):
                return frozenset()  # what cannot be read fails before anything of it runs, wherever that is

        return _kept(self._secrets, (event.cid, job), read)

    def _has_containers(self, event: Event, job: str | None) -> bool:
        if job is None:
            return False
        texts = (cast(str, event.body["workflow"]), *cast("Mapping[str, str]", event.body["called"]).values())

        def read() -> bool:
            if not any(word in text for text in texts for word in ("container", "services")):
                return False
            try:
                return has_containers(self._flow_of(event), job)
            except (KeyError, P2pwfError):
                return False  # as above

        return _kept(self._containers, (event.cid, job), read)


def _kept(memory: OrderedDict[K, V], key: K, make: Callable[[], V]) -> V:
    if key not in memory:
        memory[key] = make()
        if len(memory) > KEPT:
            memory.popitem(last=False)
    memory.move_to_end(key)
    return memory[key]
