"""What a node that stood still makes of the time in which it heard nothing; and how it takes in more than it can."""

from __future__ import annotations

import pytest

from p2pwf.clock.messages import Beat, encode_message
from p2pwf.engine import entrance, liveness
from p2pwf.engine.config import LEASE, WAKE_GAP
from p2pwf.engine.inputs import Frame, JobEnded, PeerDown, Tick
from p2pwf.engine.outputs import StartJob, Store
from p2pwf.errors import Overloaded
from tests.engine.test_engine import connect, founder, only, pair, replies, run_owned_by, submit

WEEK = 7 * 24 * 3600.0
STOOD = WAKE_GAP - 0.1
"""Seconds that a node stands still without taking it for sleep."""


def test_time_in_which_a_node_stood_still_is_no_silence_of_others() -> None:
    one, two = pair()
    _, start = run_owned_by(two, one)
    one.wait(LEASE - STOOD)
    one.time += STOOD  # a garbage collector, a busy machine; the owner's beat waits in the socket
    assert not only(one.give(Tick()), StartJob)
    one.give(Frame(two.peer, encode_message(Beat((start.attempt,)))))
    assert not only(one.wait(LEASE - 1), StartJob)


def test_without_that_a_node_that_stood_still_takes_over_before_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "STUMBLE", WAKE_GAP)
    one, two = pair()
    run_owned_by(two, one)
    one.wait(LEASE - STOOD)
    one.time += STOOD
    assert only(one.give(Tick()), StartJob)


def test_an_owner_that_is_dead_is_taken_over_by_a_node_that_stands_still_now_and_then() -> None:
    one, two = pair()
    run, _ = run_owned_by(two, one)
    taken: list[StartJob] = []
    for _ in range(8):
        one.time += STOOD
        taken += only([*one.give(Tick()), *one.wait(1.0)], StartJob)
    assert [each.attempt.number for each in taken if each.attempt.run.text == run] == [2]


def test_a_node_that_slept_for_a_week_learns_what_became_of_its_jobs_before_it_says_how_they_ended() -> None:
    one, two = pair()
    run, start = run_owned_by(two, one)
    taken = only(one.wait(LEASE + 2), StartJob)
    assert [each.attempt.number for each in taken if each.attempt.run.text == run] == [2]
    two.time += WEEK
    two.give(PeerDown(one.peer))
    woken = [*two.give(Tick()), *two.give(JobEnded(start.attempt, "success", "success"))]
    assert not only(woken, Store)
    one.give(JobEnded(taken[0].attempt, "success", "success"))
    connect(one, two)
    two.hear(one, one.disk)
    assert not [output for output in two.wait(LEASE + 2) if isinstance(output, (Store, StartJob))]
    assert two.engine.desk.runs[start.attempt.run].tally.end is not None


def test_a_node_that_has_all_it_takes_says_so_until_something_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "MAX_OPEN", 3)
    bench = founder(slots=1)
    first = only(submit(bench, {"a": []}), StartJob)[0]
    taken = [next(replies(submit(bench, {"a": []}))) for _ in range(2)]
    assert all(reply.error is None for reply in taken)
    outputs = submit(bench, {"a": []})
    refused = next(replies(outputs)).error
    assert isinstance(refused, Overloaded)
    assert refused.hint
    assert not only(outputs, Store)
    again = next(replies(submit(bench, {"a": []}, key="one more")))
    assert isinstance(again.error, Overloaded)
    bench.give(JobEnded(first.attempt, "success", "success"))
    assert next(replies(submit(bench, {"a": []}, key="one more"))).error is None
    assert next(replies(submit(bench, {"a": []}, key="one more"))).error is None  # it is known by now


def test_the_runs_of_others_keep_nobody_from_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "MAX_OPEN", 4)
    one, two = pair()
    for _ in range(6):
        submit(two, {"a": []})
    one.hear(two, two.disk)
    assert len(one.engine.desk.active) >= 4
    answers = []
    for _ in range(3):
        submit(one, {"a": []})
        answers += list(replies(one.wait(0.5)))
    assert [reply.error is None for reply in answers] == [True, True]


def test_submissions_that_wait_for_their_second_copy_are_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "MAX_UNACKNOWLEDGED", 2)
    one, _ = pair()
    assert not [*replies(submit(one, {"a": []})), *replies(submit(one, {"a": []}))]
    refused = next(replies(submit(one, {"a": []})))
    assert isinstance(refused.error, Overloaded)
    one.wait(0.5)
    assert not list(replies(submit(one, {"a": []})))
