"""What a starting node shows of its catching up: a bar on a terminal, lines if asked for, and the manager's status."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from p2pwf.control.catchup import LINE_SECONDS, LOOK_SECONDS, show_catching_up
from p2pwf.control.notify import ServiceManager

STEPS = 60


class Errors(io.StringIO):
    """stderr, as a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


class Manager(ServiceManager):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: list[str] = []

    def starting(self, what: str) -> None:
        self.told.append(what)


def catch_up(monkeypatch: pytest.MonkeyPatch, terminal: bool, how: str, looks: int = STEPS) -> tuple[str, list[str]]:
    """Catch up from 0 to 6,000 events in so many looks; what stderr and the manager were told."""
    errors, manager = Errors(terminal), Manager()
    monkeypatch.setattr("sys.stderr", errors)
    monkeypatch.setenv("TERM", "xterm")

    async def run() -> None:
        ready = trio.Event()
        counts: Iterator[int] = iter(range(looks))

        def progress() -> tuple[int, int]:
            number = next(counts, None)
            if number is None:
                ready.set()
                return 0, 0
            return number * 6000 // STEPS, 6000

        await show_catching_up(progress, ready, how, manager)

    trio.run(run, clock=MockClock(autojump_threshold=0))
    return errors.getvalue(), manager.told


def test_a_terminal_gets_a_bar_that_ends_full(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, told = catch_up(monkeypatch, True, "auto")
    assert "catching up" in drawn
    assert "100%" in drawn
    assert drawn.endswith("\n")
    assert told[0] == "catching up with the network: 0 of 6,000 events"
    assert len(told) == 1 + int((STEPS - 1) * LOOK_SECONDS / LINE_SECONDS)


@pytest.mark.parametrize(("terminal", "how"), [(False, "auto"), (True, "quiet"), (False, "quiet")])
def test_nobody_who_does_not_look_is_told(monkeypatch: pytest.MonkeyPatch, terminal: bool, how: str) -> None:
    assert catch_up(monkeypatch, terminal, how)[0] == ""


def test_plain_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (True, False):
        first, *more, last = catch_up(monkeypatch, terminal, "plain")[0].splitlines()
        assert first == "catching up: 0 of 6,000 events"
        assert len(more) == int((STEPS - 1) * LOOK_SECONDS / LINE_SECONDS)
        assert last == "catching up: done"


def test_a_node_that_lacks_nothing_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert catch_up(monkeypatch, True, "auto", looks=0) == ("", [])
