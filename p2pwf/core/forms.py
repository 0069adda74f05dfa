"""Checks of which the forms of bodies are made: a value in, whether it is what it must be out. Knows no event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import cast

from p2pwf.core.dagcbor import Value
from p2pwf.core.ids import Cid, public_key_of
from p2pwf.errors import UsageError

Check = Callable[[Value], bool]
Form = Mapping[str, Check]


def text(limit: int, least: int = 0) -> Check:
    return lambda v: type(v) is str and least <= len(v) <= limit


def integer(low: int, high: int) -> Check:
    return lambda v: type(v) is int and low <= v <= high


def boolean(value: Value) -> bool:
    return type(value) is bool


def link(value: Value) -> bool:
    return type(value) is Cid


def number(value: Value) -> bool:
    return type(value) is float or type(value) is int


def optional(check: Check) -> Check:
    return lambda v: v is None or check(v)


def one_of(*choices: str) -> Check:
    return lambda v: v in choices


def list_of(check: Check, limit: int, least: int = 0) -> Check:
    return lambda v: type(v) is list and least <= len(v) <= limit and (not v or all(map(check, v)))


def set_of(check: Check, limit: int, least: int = 0) -> Check:
    entries = list_of(check, limit, least)

    def strictly_rising(value: Value) -> bool:
        if not entries(value):
            return False
        items = cast("list[str]", value)
        return len(items) < 2 or all(a < b for a, b in pairwise(items))

    return strictly_rising


def mapping(value: Value) -> bool:
    return type(value) is dict


def peer(value: Value) -> bool:
    if type(value) is not str:
        return False
    try:
        public_key_of(value)
    except UsageError:
        return False
    return True


def of_form(form: Form) -> Check:
    return lambda v: type(v) is dict and has_form(v, form)


def has_form(body: Mapping[str, Value], form: Form) -> bool:
    """Whether `body` has exactly the fields of `form`, each as it must be."""
    if body.keys() != form.keys():
        return False
    for name, check in form.items():  # noqa: SIM110 - a generator would take as long as the checks
        if not check(body[name]):
            return False
    return True
