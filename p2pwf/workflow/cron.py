"""Schedules: what GitHub takes for a cron expression, and when it is due. Pure: the time is given.

GitHub knows the five fields of POSIX crontab with names, lists, ranges and steps, in UTC unless an entry names a
timezone; it knows neither `@daily` nor a sixth field nor the extensions L, W and #, all of which `cronsim`, which
finds the ticks, would take. Source of what is taken: the language services' cron converter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Final

import attrs

from p2pwf.errors import UsageError

MAX_LENGTH: Final = 400
"""Characters of one schedule; every minute and hour listed one by one takes 240."""
_NUMBER = re.compile("[0-9]{1,4}", re.ASCII)
_MONTHS: Final = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
_DAYS: Final = "SUN MON TUE WED THU FRI SAT"
_ANY_TIME: Final = datetime(2024, 1, 1, tzinfo=UTC)


@attrs.frozen(slots=True)
class _Field:
    name: str
    least: int
    most: int
    names: Mapping[str, int] = attrs.field(factory=dict)


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS.split(), 1)}),
    _Field("day of week", 0, 6, {name: number for number, name in enumerate(_DAYS.split())}),
)


def cron_fault(text: str) -> str | None:
    """What is wrong with a cron expression, in a few words; None if nothing is."""
    parts = text.split()
    if len(text) > MAX_LENGTH or len(parts) != len(_FIELDS):
        return f"expected five fields, found {len(parts)}"
    for part, field in zip(parts, _FIELDS, strict=True):
        for item in part.split(","):
            fault = _item_fault(item, field)
            if fault:
                return f"{field.name} '{item[:20]}': {fault}"
    return None


def _item_fault(item: str, field: _Field) -> str | None:
    start, slash, step = item.partition("/")
    if slash:
        if not _NUMBER.fullmatch(step) or not max(1, field.least) <= int(step) <= field.most:
            return "a step is a number from 1 and within the field"
        if not start:
            return "nothing before the step"
    first, dash, last = start.partition("-")
    if not dash:
        return None if start == "*" else _value_fault(start, field)
    fault = _value_fault(first, field) or _value_fault(last, field)
    if fault is None and _value(first, field) > _value(last, field):
        return "the range is empty"
    return fault


def _value(text: str, field: _Field) -> int:
    named = field.names.get(text.upper())
    return int(text) if named is None else named


def _value_fault(text: str, field: _Field) -> str | None:
    if text.upper() in field.names:
        return None
    if not _NUMBER.fullmatch(text):
        return "no number" + (" or name" if field.names else "") if text else "empty"
    return None if field.least <= int(text) <= field.most else f"expected {field.least} to {field.most}"


def never_due(text: str) -> bool:
    """Whether an expression without fault names no day that there is, such as the 30th of February."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - few workflows have a schedule, and it brings much along

    try:
        CronSim(text, _ANY_TIME)
    except CronSimError:
        return True
    return False


def next_ticks(text: str, after: datetime, count: int = 1, timezone: str | None = None) -> list[datetime]:
    """The next ticks of a schedule strictly after a time, at most `count`, in UTC, to the minute.

    `after` knows its timezone; `timezone` is a name of the IANA database, None for UTC. Raises UsageError for an
    expression that is none or an unknown timezone.
    """
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - as above

    fault = cron_fault(text)
    if fault:
        raise UsageError(f"invalid cron expression '{text[:MAX_LENGTH]}': {fault}", "minute hour day month weekday")
    try:
        return [tick.astimezone(UTC) for tick in islice(CronSim(text, after.astimezone(zone(timezone))), count)]
    except CronSimError:
        return []


def zone(name: str | None) -> tzinfo:
    """The timezone of a name, None for UTC; raises UsageError for an unknown one."""
    if name is None or name.upper() == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - as above

    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(f"unknown timezone '{name[:80]}'", "write a name such as Europe/Paris") from error
