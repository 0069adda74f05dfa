"""The judgement of one job: which rule lets it run here, on which terms, or why none does. Knows facts, no events."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from p2pwf.core.ids import PeerId
from p2pwf.isolation import NO_NETWORK, PREFIX, Level, asked_level, choose
from p2pwf.policy.rules import MEMBERS, OWN, ROLE, SHA, Choice, Policy, Rule, pattern
from p2pwf.runs.labels import PEER, SELF_HOSTED, hosted_system


@attrs.frozen(slots=True)
class Submitter:
    """Who stands behind a job. `roles`: those that it has now; none if it left and its runs were kept."""

    peer: PeerId
    own: bool
    roles: frozenset[str] = frozenset()


@attrs.frozen(slots=True, kw_only=True)
class Facts:
    """What a judgement is made of.

    `submitters`: one, and of a schedule's tick both who made the schedule and who submitted the tick. `names`: the
    workflow's name and path, which are what its submitter says; `hashes`: SHA-256 in hex of its text and of those of
    all that it calls. `labels`: those that the job asks for, in lower case. `secrets`: those that it names, in upper
    case, or None for all that there are. `containers`: whether it brings a container or services of its own.
    """

    submitters: tuple[Submitter, ...]
    names: tuple[str, ...]
    hashes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    secrets: frozenset[str] | None = frozenset()
    containers: bool = False


@attrs.frozen(slots=True, kw_only=True)
class Verdict:
    """What comes of a job here. `rules`: those that decided, one for each submitter, if it is allowed.

    `floor`: the least level to run it at, what it asks for included; `level`: the one that it gets, of those that this
    machine has the best or, where the rules prefer that, the lowest; `network`: whether it may have one.
    """

    allowed: bool
    reason: str
    floor: Level = Level.none
    level: Level = Level.none
    network: bool = True
    rules: tuple[Rule, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """{allowed, reason, isolation, level, network, rules}; the last four are null where it is refused."""
        return {
            "allowed": self.allowed,
            "reason": self.reason,
            "isolation": self.floor.name if self.allowed else None,
            "level": self.level.name if self.allowed else None,
            "network": self.network if self.allowed else None,
            "rules": [rule.place for rule in self.rules] if self.allowed else None,
        }


def judge(policy: Policy, facts: Facts, available: Collection[Level]) -> Verdict:
    """Whether a job may run here, and how. `available`: the levels that this machine can keep.

    Each of its submitters needs a rule that fits; where there are two, the stricter terms hold.
    """
    found: list[Rule] = []
    for submitter in facts.submitters:
        rule, reason = _first(policy, submitter, facts)
        if rule is None:
            return Verdict(allowed=False, reason=reason)
        found.append(rule)
    floor = max(asked_level(facts.labels), *(rule.isolation for rule in found))
    network = all(rule.network for rule in found) and NO_NETWORK not in facts.labels
    least = all(rule.least for rule in found)
    level = choose(available, floor, network=network, containers=facts.containers, least=least)
    if level is None:
        best = max(available, default=Level.none)
        how = f"{' without a network' * (not network)}{', with containers of its own' * facts.containers}"
        reason = f"it is to run at isolation {floor.name} or better{how}, and this machine can keep {best.name}"
        return Verdict(allowed=False, reason=f"{reason} ({_places(found)})")
    return Verdict(allowed=True, reason=_places(found), floor=floor, level=level, network=network, rules=tuple(found))


def _places(rules: list[Rule]) -> str:
    return ", ".join(dict.fromkeys(rule.place for rule in rules))


def _first(policy: Policy, submitter: Submitter, facts: Facts) -> tuple[Rule | None, str]:
    """The first rule that fits; or None, and what stands in the way of it."""
    missed: list[str] = []
    for rule in policy.rules:
        if not _is_from(policy, rule.submitters, submitter):
            continue
        lacks = list(_lacks(rule, facts))
        if not lacks:
            return rule, ""
        missed.append(f"{rule.place}: {', '.join(lacks)}")
    if missed:
        return None, f"the policy of this peer does not let it in ({'; '.join(missed[:3])})"
    return None, "the policy of this peer lets in no jobs of this submitter"


def _is_from(policy: Policy, entries: tuple[str, ...], submitter: Submitter) -> bool:
    found = False
    for entry in entries:
        if _is_one(policy, entry.removeprefix("!"), submitter):
            if entry.startswith("!"):
                return False
            found = True
    return found


def _is_one(policy: Policy, entry: str, submitter: Submitter) -> bool:
    if entry == OWN:
        return submitter.own
    if entry == MEMBERS:
        return True
    if entry.startswith(ROLE):
        return entry.removeprefix(ROLE) in submitter.roles
    return submitter.peer == entry or submitter.peer in policy.names.get(entry, ())


def _lacks(rule: Rule, facts: Facts) -> list[str]:
    """What of a job does not fit a rule, in words."""
    found = []
    if not _is_workflow(rule.workflows, facts):
        found.append("not this workflow")
    if odd := [label for label in facts.labels if not _is_label(rule.labels, label)]:
        found.append(f"not the label {odd[0]}" if len(odd) == 1 else f"not the labels {', '.join(odd[:5])}")
    if facts.secrets is None:
        if not rule.secrets.takes_all:
            found.append("not all secrets at once")
    elif odd := sorted(name for name in facts.secrets if not rule.secrets.fits(name)):
        found.append(f"not the secret {odd[0]}" if len(odd) == 1 else f"not the secrets {', '.join(odd[:5])}")
    return found


def _is_label(choice: Choice, label: str) -> bool:
    """What names a machine or asks for more isolation is none of the labels that a rule is about; ubuntu-latest and its
    like fit by the system that they mean as well."""
    if label in (SELF_HOSTED, NO_NETWORK) or label.startswith((PEER, PREFIX)):
        return True
    system = hosted_system(label)
    return choice.fits_any((label,) if system is None else (label, system))


def _is_workflow(choice: Choice, facts: Facts) -> bool:
    """By name or path; or by bytes: then each file that it is made of has to be listed."""
    if choice.takes_all:
        return True
    sums = frozenset(one.removeprefix(SHA) for one in choice.entries if one.startswith(SHA))
    taken = frozenset(one.removeprefix("!" + SHA) for one in choice.entries if one.startswith("!" + SHA))
    if taken & frozenset(facts.hashes):
        return False
    globs = [one for one in choice.entries if not one.removeprefix("!").startswith(SHA)]
    if any(pattern(one[1:]).matches(name) for one in globs if one.startswith("!") for name in facts.names):
        return False
    named = any(pattern(one).matches(name) for one in globs if not one.startswith("!") for name in facts.names)
    return named or bool(sums and facts.hashes and sums.issuperset(facts.hashes))
