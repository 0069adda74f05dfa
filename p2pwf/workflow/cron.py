"""Schedules: what GitHub takes for a cron expression. Pure: which tick comes next is `cronsim`'s to say, given a time.

GitHub knows the five fields of POSIX crontab with names, lists, ranges and steps, in UTC; it knows neither `@daily`
nor a sixth field nor the extensions L, W and #, all of which `cronsim` would take.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from cronsim import CronSim, CronSimError

MAX_LENGTH: Final = 400
"""Characters of one schedule; every minute and hour listed one by one takes 240."""
_ALLOWED = re.compile(r"[0-9A-Za-z*,/\- ]*", re.ASCII)
_NAMES: Final = frozenset(
    [
        "JAN",
        "FEB",
        "MAR",
        "APR",
        "MAY",
        "JUN",
        "JUL",
        "AUG",
        "SEP",
        "OCT",
        "NOV",
        "DEC",
        "SUN",
        "MON",
        "TUE",
        "WED",
        "THU",
        "FRI",
        "SAT",
    ]
)
_ANY_TIME: Final = datetime(2024, 1, 1, tzinfo=UTC)


def cron_fault(text: str) -> str | None:
    """What is wrong with a cron expression, in a few words; None if nothing is."""
    fields = text.split()
    if len(text) > MAX_LENGTH or len(fields) != 5:
        return f"expected five fields, found {len(fields)}"
    for word in re.findall("[A-Za-z]+", text):
        if word.upper() not in _NAMES:
            return f"unknown name '{word[:20]}'"
    if not _ALLOWED.fullmatch(" ".join(fields)):
        return "a character that has no meaning here"
    try:
        CronSim(text, _ANY_TIME)
    except CronSimError as error:
        return str(error).lower()
    return None
