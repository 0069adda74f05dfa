"""A small schema language: which nodes may stand where, and which names an expression may use there. Values only.

What is checked by them, and how, is `rules`'s; GitHub's own keys are the tables in `language`, `events` and `action`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

import attrs

from p2pwf.workflow.expr.parser import Arity


@attrs.frozen(slots=True, eq=False)
class Scope:
    """What an expression may use at some place: context names and functions, folded."""

    contexts: frozenset[str] = frozenset()
    functions: Mapping[str, Arity] = attrs.field(factory=dict)

    def __or__(self, other: Scope) -> Scope:
        return union(self, other)

    def __bool__(self) -> bool:
        return bool(self.contexts or self.functions)


NOTHING = Scope()


@lru_cache(1024)  # by identity: the tables hold a few dozen scopes, met again at every key
def union(outer: Scope, inner: Scope) -> Scope:
    """What may be used where both hold: contexts add up."""
    if not inner:
        return outer
    return Scope(outer.contexts | inner.contexts, {**outer.functions, **inner.functions})


@attrs.frozen(slots=True, eq=False)
class Text:
    """A string. With `values`, one of them; a `condition` is an expression even without `${{ }}`."""

    scope: Scope = NOTHING
    non_empty: bool = False
    values: tuple[str, ...] = ()
    condition: bool = False


@attrs.frozen(slots=True, eq=False)
class Number:
    """A number."""

    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class Boolean:
    """true or false."""

    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class Null:
    """Nothing."""

    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class ListOf:
    """A sequence of items of one rule."""

    item: Rule
    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class MapOf:
    """A mapping: known keys with their rules, which of them are required, and the rule of any other key."""

    keys: Mapping[str, Rule] = attrs.field(factory=dict)
    required: tuple[str, ...] = ()
    other: Rule | None = None
    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class OneOf:
    """One of several rules: at most one of them a sequence, any number of them mappings."""

    options: tuple[Rule, ...]
    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class Anything:
    """Any node."""

    scope: Scope = NOTHING


@attrs.frozen(slots=True, eq=False)
class Later:
    """A rule that is named before it exists: for rules that hold themselves."""

    get: Callable[[], Rule]
    scope: Scope = NOTHING


Rule: TypeAlias = Text | Number | Boolean | Null | ListOf | MapOf | OneOf | Anything | Later
