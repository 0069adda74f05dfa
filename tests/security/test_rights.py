"""Rights are part of what makes an event valid: whoever writes without one is refused by every peer (T07 to T10)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pwf.clock import Accepted, Clock, Invalid
from p2pwf.core.events import Event
from p2pwf.runs import Run
from p2pwf.testing import make_submission
from tests.kit import Writer, network, share, signer


def lawless(monkeypatch: pytest.MonkeyPatch, writer: Writer) -> Writer:
    """A member whose program was changed: it checks no rights of its own."""
    monkeypatch.setattr(writer.desk.clock, "_forbidden", lambda *_: None)
    return writer


def with_roles(*roles: str) -> tuple[Writer, Writer]:
    """A founder, and a member that has no more than these roles."""
    one = Writer(1)
    two = Writer(2, one.desk.network)
    one.add(two.peer, *roles)
    two.learn(*one.events)
    return one, two


def without_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "_forbidden", lambda *_: None)


def submission(writer: Writer) -> Event:
    return writer.write("run.submit", {**make_submission({"a": []}), "absent": []})


def an_end_of_a_job(writer: Writer, run: Run) -> Event:
    body: dict[str, object] = {
        "run": run.id, "job": "a", "leg": 0, "attempt": 1, "uses": [], "conclusion": "success", "outcome": "success",
        "outputs": {}, "log": None, "report": None, "artifacts": [], "caches": [], "error": None,
    }  # fmt: skip
    return writer.write("job.finish", body, writer.run(run))


def test_t07_what_a_member_without_the_role_submits_is_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = with_roles("run")
    event = submission(lawless(monkeypatch, two))
    refused = one.desk.clock.accept(event)
    assert isinstance(refused, Invalid)
    assert refused.reason == "its author was not a member with the role submit where it stands"


def test_t07_without_the_guard_it_is_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_guard(monkeypatch)
    one, two = with_roles("run")
    event = submission(two)
    one.learn(event)
    assert one.desk.runs[event.cid].owner(("a", 0)) is not None


def test_t08_a_submitter_without_the_role_run_has_no_say_about_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = with_roles("submit")
    run = one.submit({"a": []})
    two.learn(run.submission)
    assert run.owner(("a", 0)) == one.peer, "it is no candidate"
    refused = one.desk.clock.accept(an_end_of_a_job(lawless(monkeypatch, two), run))
    assert isinstance(refused, Invalid)
    assert "role run" in refused.reason


def test_t08_without_the_guard_its_word_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_guard(monkeypatch)
    one, two = with_roles("submit")
    run = one.submit({"a": []})
    two.learn(run.submission)
    assert isinstance(one.desk.clock.accept(an_end_of_a_job(two, run)), Accepted)


def admission(writer: Writer) -> Event:
    return writer.add(signer(9).peer_id)


def removal(writer: Writer) -> Event:
    return writer.remove(signer(1).peer_id)


@pytest.mark.parametrize("act", [admission, removal])
def test_t09_who_is_no_admin_changes_no_membership(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[Writer], Event]
) -> None:
    one, two = with_roles("run", "submit")
    refused = one.desk.clock.accept(act(lawless(monkeypatch, two)))
    assert isinstance(refused, Invalid)
    assert "role admin" in refused.reason
    assert set(one.desk.clock.roster.members) == {one.peer, two.peer}


def test_t09_without_the_guard_it_lets_in_whom_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_guard(monkeypatch)
    one, two = with_roles("run", "submit")
    event = admission(two)
    assert isinstance(one.desk.clock.accept(event), Accepted)
    assert event.type == "member.add"


# T10's own: tests/runs/test_fold.py


def test_t10_without_the_guard_the_lie_is_the_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "_judge_attempt", lambda *_: True)
    writers = network(3)
    run = writers[0].submit({"a": []})
    share(*writers)
    thief = next(writer for writer in writers if writer.peer != run.owner(("a", 0)))
    lie = an_end_of_a_job(thief, run)
    share(*writers)
    found = writers[0].run(run).tally.finish(("a", 0))
    assert found is not None
    assert found.cid == lie.cid
