"""The bounds of maps in bodies, each at its limit and one byte beyond it."""

from __future__ import annotations

from typing import Any

import pytest

from p2pwf.core.bodies import MAX_PAYLOAD, SMALL, has_sizes
from p2pwf.core.dagcbor import size
from p2pwf.testing import make_submission


def of_size(limit: int) -> dict[str, Any]:
    """A map that takes `limit` bytes."""
    empty = size({"x": "y" * 300})
    return {"x": "y" * (300 + limit - empty - (2 if limit >= 65_536 else 0))}


def submission(**changes: Any) -> dict[str, Any]:
    return {**make_submission({"a": ()}), "rerun": None, **changes}


def leg(limit: int) -> dict[str, Any]:
    return {"legs": [{"matrix": None}, {"matrix": of_size(limit)}]}


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize(
    ("kind", "limit", "body"),
    [
        *(
            ("run.submit", MAX_PAYLOAD, lambda n, f=field: submission(**{f: of_size(n)}))
            for field in ("payload", "vars")
        ),
        ("run.submit", MAX_PAYLOAD, lambda n: submission(inputs=of_size(n))),
        ("schedule.add", MAX_PAYLOAD, lambda n: {"vars": of_size(n)}),
        ("run.submit", SMALL, lambda n: submission(plan={"jobs": [leg(n)]})),
        ("run.submit", SMALL, lambda n: submission(rerun={"expands": [leg(n)]})),
        ("job.expand", SMALL, leg),
    ],
)
def test_a_map_takes_no_more_bytes_than_it_may(kind: str, limit: int, body: Any, more: int) -> None:
    assert size(of_size(limit)) == limit
    assert has_sizes(kind, body(limit + more)) == (not more)
