"""From the table `[policy]` of config.toml to a policy. Knows plain data, and the text of the file to say where.

Whatever is wrong is a UsageError with its line: a policy that is half understood lets in what its writer did not want.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, NoReturn

from p2pwf.core.bodies import ROLES
from p2pwf.core.ids import PeerId, public_key_of
from p2pwf.errors import UsageError
from p2pwf.isolation import NO_NETWORK, PREFIX, Level
from p2pwf.policy.rules import ALL, BEST, LEAST, MEMBERS, OWN, ROLE, SHA, Choice, Policy, Rule, pattern

MAX_RULES: Final = 100
"""Nobody reads more; each is tried for each job."""
MAX_ENTRIES: Final = 200
"""Of one list."""
FIELDS: Final = ("from", "workflows", "labels", "secrets", "isolation", "prefer", "network")
_NAME: Final = re.compile(r"[A-Za-z][\w.-]{0,63}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_HEADER: Final = re.compile(r"\s*\[\[\s*policy\s*\.\s*rule\s*\]\]")
_TABLE: Final = re.compile(r"\s*\[")
NO_OWN_NAMES: Final = "what members call themselves is theirs to change: give a peer id a name in [policy.names]"


def parse_policy(table: Mapping[str, Any], path: str, text: str = "") -> Policy:
    """The policy that a table says. `path`: the file's, and `text` what it holds, for errors; raises UsageError."""
    return _Reader(table, path, text).policy()


class _Reader:
    def __init__(self, table: Mapping[str, Any], path: str, text: str) -> None:
        self._table = table
        self._path = path
        self._rules = list(_rule_lines(text))
        self._names: dict[str, frozenset[PeerId]] = {}

    def policy(self) -> Policy:
        unknown = [key for key in self._table if key not in ("names", "rule")]
        if unknown:
            self._fail(f"unknown key {unknown[0]!r}", "there are [policy.names] and [[policy.rule]]")
        self._read_names(self._table.get("names", {}))
        rules = self._table.get("rule", [])
        if not isinstance(rules, list) or not all(isinstance(one, dict) for one in rules):
            self._fail("rule is no list of tables", 'begin each rule with [[policy.rule]], then from = ["own"]')
        if len(rules) > MAX_RULES:
            self._fail(f"{len(rules)} rules, the bound is {MAX_RULES}", "name several peers in one rule")
        if not rules:
            self._fail("no rule: nothing would run here", "add a [[policy.rule]], or leave [policy] out")
        made = tuple(self._rule(number, rule) for number, rule in enumerate(rules, 1))
        return Policy(rules=made, names=self._names, origin=self._path)

    def _fail(self, message: str, hint: str, rule: int = 0, key: str = "") -> NoReturn:
        line = ""
        if 0 < rule <= len(self._rules):
            start, keys = self._rules[rule - 1]
            line = f":{keys.get(key, start)}"
        where = f"policy rule {rule}" if rule else "policy"
        raise UsageError(f"{self._path}{line}: {where}: {f'{key}: ' if key else ''}{message}", hint)

    def _read_names(self, names: object) -> None:
        if not isinstance(names, dict):
            self._fail("names is no table", '[policy.names], then ann = "12D3KooW…"')
        for name, given in names.items():
            peers = [given] if isinstance(given, str) else given
            if not _NAME.fullmatch(name) or name in (OWN, MEMBERS) or name.startswith("12D3Koo"):
                self._fail(f"{name!r} cannot be a name", "letters, digits, '.', '-' and '_', and a letter first")
            if not isinstance(peers, list) or not peers or len(peers) > MAX_ENTRIES:
                self._fail(f"the name {name} stands for no peer ids", f'{name} = "12D3KooW…", or a list of them')
            for peer in peers:
                if not _is_peer(peer):
                    self._fail(f"the name {name}: not a peer id: {str(peer)[:80]!r}", "see `p2pwf peer list --json`")
            self._names[name] = frozenset(map(PeerId, peers))

    def _rule(self, number: int, rule: dict[str, Any]) -> Rule:
        for key in rule:
            if key not in FIELDS:
                near = get_close_matches(key, FIELDS, 1)
                hint = f"did you mean {near[0]}?" if near else f"a rule has {', '.join(FIELDS)}"
                self._fail(f"unknown key {key!r}", hint, number)
        submitters = self._submitters(number, rule)
        network = rule.get("network", True)
        if not isinstance(network, bool):
            self._fail("neither true nor false", "network = false cuts it", number, "network")
        return Rule(
            submitters=submitters,
            workflows=self._choice(number, rule, "workflows", _check_workflow),
            labels=self._choice(number, rule, "labels", _check_label, str.lower),
            secrets=self._choice(number, rule, "secrets", _check_pattern, str.upper),
            isolation=self._isolation(number, rule, submitters, network),
            least=self._least(number, rule),
            network=network,
            place=f"rule {number}",
        )

    def _submitters(self, number: int, rule: Mapping[str, Any]) -> tuple[str, ...]:
        if "from" not in rule:
            self._fail("no from", f'say whose jobs it is about: from = ["{OWN}"], or ["{MEMBERS}"]', number)
        entries = self._entries(number, rule, "from")
        for entry in entries:
            word = entry.removeprefix("!")
            role = word.removeprefix(ROLE)
            if word.startswith(ROLE) and role not in ROLES:
                self._fail(f"no role {role!r}", f"the roles are {', '.join(ROLES)}", number, "from")
            known = word in (OWN, MEMBERS) or word.startswith(ROLE) or word in self._names or _is_peer(word)
            if not known:
                near = get_close_matches(word, [OWN, MEMBERS, *self._names], 1)
                hint = f"did you mean {near[0]}?" if near else NO_OWN_NAMES
                self._fail(f"nobody is {word[:80]!r}", hint, number, "from")
        return entries

    def _isolation(self, number: int, rule: Mapping[str, Any], submitters: tuple[str, ...], network: bool) -> Level:
        usual = Level.none if submitters == (OWN,) else Level.process
        if not network:
            usual = Level.sandbox
        if "isolation" not in rule:
            return usual
        given = rule["isolation"]
        if not isinstance(given, str) or given not in Level.__members__:
            self._fail(f"no level {given!r}", f"the levels are {', '.join(Level.__members__)}", number, "isolation")
        level = Level[given]
        if not network and level < Level.sandbox:
            hint = f'isolation = "{Level.sandbox.name}", or leave it out'
            self._fail(f"at {level.name} the network cannot be cut", hint, number, "isolation")
        return level

    def _least(self, number: int, rule: Mapping[str, Any]) -> bool:
        given = rule.get("prefer", BEST)
        if given not in (BEST, LEAST):
            self._fail(f"neither {BEST} nor {LEAST}", f"the {BEST} level there is, or the {LEAST}", number, "prefer")
        return bool(given == LEAST)

    def _choice(
        self,
        number: int,
        rule: Mapping[str, Any],
        key: str,
        check: Callable[[str], str | None],
        fold: Callable[[str], str] = str,
    ) -> Choice:
        if key not in rule:
            return ALL
        entries = tuple(map(fold, self._entries(number, rule, key)))
        for entry in entries:
            fault = check(entry.removeprefix("!"))
            if fault is not None:
                hint = "'*' stands for anything but '/', '**' for anything"
                self._fail(f"{entry[:80]!r}: {fault}", hint, number, key)
        return Choice(entries)

    def _entries(self, number: int, rule: Mapping[str, Any], key: str) -> tuple[str, ...]:
        entries = rule[key]
        if not isinstance(entries, list) or not all(isinstance(one, str) and one.strip("!") for one in entries):
            self._fail("no list of words", f'write it as {key} = ["…", "…"]', number, key)
        if len(entries) > MAX_ENTRIES:
            self._fail(f"{len(entries)} entries, the bound is {MAX_ENTRIES}", "use patterns", number, key)
        if entries and all(one.startswith("!") for one in entries):
            first = MEMBERS if key == "from" else "*"
            self._fail("it only takes out", f'say first what of: {key} = ["{first}", "{entries[0]}"]', number, key)
        if not entries and key in ("from", "workflows"):
            self._fail("an empty list fits nothing", f"leave the rule out, or {key} if it is about all", number, key)
        return tuple(entries)


def _is_peer(word: object) -> bool:
    try:
        return isinstance(word, str) and bool(public_key_of(word))
    except UsageError:
        return False


def _check_pattern(entry: str) -> str | None:
    try:
        pattern(entry)
    except ValueError as error:
        return str(error)
    return None


def _check_workflow(entry: str) -> str | None:
    if not entry.startswith(SHA):
        return _check_pattern(entry)
    return None if _SHA256.fullmatch(entry.removeprefix(SHA)) else "a SHA-256 has 64 hexadecimal digits, a to f small"


def _check_label(entry: str) -> str | None:
    if entry.startswith(PREFIX) or entry == NO_NETWORK:
        return "a rule says this with isolation and network"
    return _check_pattern(entry)


def _rule_lines(text: str) -> Iterator[tuple[int, dict[str, int]]]:
    """Of each `[[policy.rule]]` its line, and the lines of its keys. Rules that are written inline are not found."""
    found: list[tuple[int, dict[str, int]]] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if _HEADER.match(line):
            found.append((number, {}))
            inside = True
        elif _TABLE.match(line):
            inside = False
        elif inside and (key := line.partition("=")[0].strip()) in FIELDS:
            found[-1][1].setdefault(key, number)
    yield from found
