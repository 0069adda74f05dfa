"""The values of a policy: lists of names, rules, and the policy that holds where nobody wrote one.

A rule admits what fits all of its lists, on its terms: the least level of isolation, whether a job gets that one or the
best there is, whether there is a network. The rules stand in order; the first that fits decides, and what fits none is
refused. There are no rules that refuse: a list takes out with `!`, so what a rule lets in can be read off it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import attrs

from p2pwf.core.ids import PeerId
from p2pwf.isolation import Level
from p2pwf.workflow.filters import Pattern

OWN: Final = "own"
"""What was submitted on this node."""
MEMBERS: Final = "members"
"""What any member submitted, this node included."""
ROLE: Final = "role:"
"""Begins what names all members that have a role."""
SHA: Final = "sha256:"
"""Begins what names a workflow file by its bytes."""
DEFAULT: Final = "default"
BEST: Final = "best"
LEAST: Final = "least"
FLAG: Final = "--trust-members"


@lru_cache(256)
def pattern(text: str) -> Pattern:
    """A pattern, read once; raises ValueError for one without meaning. A `*` alone stands for anything, `/` too."""
    return Pattern("**" if text == "*" else text)


@attrs.frozen(slots=True)
class Choice:
    """A list of patterns: a name fits that fits one of them, and none of those that begin with `!`."""

    entries: tuple[str, ...] = ("*",)

    @property
    def takes_all(self) -> bool:
        """Whether every name fits."""
        return "*" in self.entries and not any(one.startswith("!") for one in self.entries)

    def fits(self, name: str) -> bool:
        return self.fits_any((name,))

    def fits_any(self, names: Iterable[str]) -> bool:
        """Whether one of several names for the same thing fits, and none is taken out."""
        every = tuple(names)
        found = self.takes_all
        for entry in self.entries:
            matches = any(pattern(entry.removeprefix("!")).matches(name) for name in every)
            if matches and entry.startswith("!"):
                return False
            found = found or matches
        return found


ALL: Final = Choice()


@attrs.frozen(slots=True, kw_only=True)
class Rule:
    """One rule. `submitters`: as written; `place`: where it stands, for people.

    `labels` are in lower case, `secrets` in upper case, as they are compared.
    """

    submitters: tuple[str, ...]
    workflows: Choice = ALL
    labels: Choice = ALL
    secrets: Choice = ALL
    isolation: Level
    least: bool = False
    """Whether a job runs at the lowest level that suffices, instead of at the best that there is."""
    network: bool = True
    place: str

    def to_json(self) -> dict[str, Any]:
        """{place, from, workflows, labels, secrets, isolation, prefer, network}."""
        return {
            "place": self.place,
            "from": list(self.submitters),
            "workflows": list(self.workflows.entries),
            "labels": list(self.labels.entries),
            "secrets": list(self.secrets.entries),
            "isolation": self.isolation.name,
            "prefer": LEAST if self.least else BEST,
            "network": self.network,
        }


@attrs.frozen(slots=True, kw_only=True)
class Policy:
    """The rules of one machine. `names`: what its user calls peers; `origin`: where the rules come from."""

    rules: tuple[Rule, ...]
    names: Mapping[str, frozenset[PeerId]] = attrs.field(factory=dict)
    origin: str

    @property
    def reads_hashes(self) -> bool:
        """Whether it matters to any rule what is in the files of a workflow."""
        return any(SHA in entry for rule in self.rules for entry in rule.workflows.entries)

    @property
    def reads_secrets(self) -> bool:
        """Whether it matters to any rule which secrets a job names."""
        return not all(rule.secrets.takes_all for rule in self.rules)


def default_policy(*, trust_members: bool = False) -> Policy:
    """The policy of a machine whose user wrote none: what is submitted here runs with the best isolation there is, and
    what members submit only where it can be kept apart. With `trust_members` all of it runs as the node's own user,
    but for jobs that ask for more."""
    if trust_members:
        rule = Rule(submitters=(MEMBERS,), isolation=Level.none, least=True, place="default rule 1")
        return Policy(rules=(rule,), origin=FLAG)
    return Policy(
        rules=(
            Rule(submitters=(OWN,), isolation=Level.none, place="default rule 1"),
            Rule(submitters=(MEMBERS,), isolation=Level.process, place="default rule 2"),
        ),
        origin=DEFAULT,
    )
