"""The loop's clock: a machine that sleeps, and one whose wall clock is set."""

from __future__ import annotations

import time

import pytest

from p2pwf.node import loop

WEEK = 7 * 24 * 3600.0


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="no clock here goes on while the machine sleeps")
def test_the_time_that_a_machine_slept_has_passed_for_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.clock_gettime

    def slept(clock: int) -> float:
        return real(clock) + (WEEK if clock == time.CLOCK_BOOTTIME else 0.0)

    before = loop.now().mono
    monkeypatch.setattr(time, "clock_gettime", slept)
    assert WEEK <= loop.now().mono - before < WEEK + 60
    assert loop.mono() - time.monotonic() == pytest.approx(WEEK, abs=10)  # which stood still


def test_a_wall_clock_that_is_set_moves_no_time_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = loop.now()
    monkeypatch.setattr(time, "time_ns", lambda: int((before.wall - WEEK * 1000) * 1_000_000))
    after = loop.now()
    assert after.wall < before.wall
    assert 0 <= after.mono - before.mono < 60
