"""A node's policy at work: what it refuses moves on, whoever the network gave it to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p2pwf.config import NodeSettings
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine import Engine
from p2pwf.engine.inputs import JobEnded, PolicyChanged
from p2pwf.errors import UsageError
from p2pwf.isolation import Level
from p2pwf.node.planner import WorkflowPlanner
from p2pwf.node.policing import Gatekeeper
from p2pwf.node.start import open_node
from p2pwf.policy import Policy, Verdict, default_policy, parse_policy
from p2pwf.testing import make_submission
from tests.engine.kit import Member, Net, of_workflows
from tests.kit import Writer

LEGS = 8
"""So many legs that two members get some each, whatever the ids come to."""
WIDE = f"""\
on: push
jobs:
  a:
    strategy: {{matrix: {{n: {list(range(LEGS))}}}}}
    runs-on: linux
    steps: [{{run: 'true'}}]
"""
SECRETS = """\
on: push
jobs:
  plain: {runs-on: linux, steps: [{run: 'true'}]}
  named: {runs-on: linux, steps: [{run: 'true', env: {T: '${{ secrets.TOKEN }}'}}]}
  every: {runs-on: linux, steps: [{run: 'true', env: {T: '${{ toJSON(secrets) }}'}}]}
"""


def rules(*given: dict[str, Any], **names: str) -> Policy:
    return parse_policy({"names": names, "rule": list(given)}, "config.toml")


def with_policy(policy: Policy) -> Net:
    """Two members, of which the second has a policy; the first is the only admin, and submits."""
    net = of_workflows(members=2)
    net.members[1].policy = policy
    net.restart(net.members[1])
    return net


def submitted_wide(net: Net) -> tuple[set[PeerId], list[Event]]:
    """Where the legs of a run of the first member run in the end, and the refusals that were written."""
    run = net.submit_text(WIDE)
    net.wait(3)
    started = {member.peer for member in net.members for (of, _, _) in member.running if of == run.text}
    assert len(net.running(run)) == LEGS
    return started, [event for event in net.members[0].disk if event.type == "job.refuse"]


OTHERS = rules({"from": ["own"]})


def test_t11_a_policys_veto_is_an_event_and_the_job_moves_on() -> None:
    net = with_policy(OTHERS)
    one, two = net.members
    started, refused = submitted_wide(net)
    assert started == {one.peer}, "the network gave the second some, and it has the last word"
    assert {event.author for event in refused} == {two.peer}
    assert {event.body["reason"] for event in refused} == {"the policy of this peer lets in no jobs of this submitter"}


def test_t11_without_the_guard_the_vetoed_job_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gatekeeper, "refusal", lambda *_: None)
    net = with_policy(OTHERS)
    started, refused = submitted_wide(net)
    assert started == {member.peer for member in net.members}
    assert not refused


def test_t08_a_submitter_gets_no_job_onto_a_node_whose_labels_are_kept_from_it() -> None:
    net = with_policy(rules({"from": ["members"], "labels": ["*", "!linux"], "isolation": "none"}))
    started, refused = submitted_wide(net)
    assert started == {net.members[0].peer}
    assert "not the label linux" in str(refused[0].body["reason"])


def test_a_job_whose_secrets_are_not_let_in_moves_on_and_the_others_of_its_run_stay() -> None:
    net = with_policy(rules({"from": ["members"], "secrets": ["OTHER"], "isolation": "none"}))
    for _ in range(4):  # each has other owners
        run = net.submit_text(SECRETS)
        net.wait(3)
        here = {job for (of, job, _) in net.members[1].running if of == run.text}
        assert here <= {"plain"}
        assert set(net.running(run)) == {("plain", 0), ("named", 0), ("every", 0)}
    assert any(job == "plain" for (_, job, _) in net.members[1].running)


def with_queued_legs(members: int) -> tuple[Net, Cid]:
    """Members with one slot each, and a run of which each has more; whoever is last has a policy, that lets all in."""
    net = of_workflows(members=members, slots=1)
    net.members[-1].policy = rules({"from": ["members"], "isolation": "none"})
    net.restart(net.members[-1])
    run = net.submit_text(WIDE)
    net.wait(3)
    return net, run


def take_policy(member: Member, policy: Policy) -> None:
    assert member.keeper is not None
    member.keeper.policy = policy
    member.give(PolicyChanged("anew"))


def test_t11_by_a_policy_that_is_read_anew_what_waits_moves_on_and_what_runs_goes_on() -> None:
    net, run = with_queued_legs(2)
    one, two = net.members
    waiting = len(two.engine.conductor.work.ready)
    assert (len(two.running), waiting > 0) == (1, True)
    take_policy(two, OTHERS)
    net.wait(3)
    refused = [event for event in one.disk if event.type == "job.refuse"]
    assert {event.author for event in refused} == {two.peer}
    assert (len(refused), len(two.running), two.stopped) == (waiting, 1, set())
    assert sum(owner == two.peer for owner in owners_of(one.engine, run)) == 1


def owners_of(engine: Engine, run: Cid) -> list[PeerId | None]:
    held = engine.desk.runs[run]
    return [held.owner(("a", leg)) for leg in range(LEGS)]


def test_t11_what_nobody_else_may_run_is_not_started_by_who_lets_it_in_no_more() -> None:
    net, run = with_queued_legs(1)
    (one,) = net.members
    take_policy(one, rules({"from": ["members", "!own"]}))
    for place, order in list(one.running.items()):
        one.give(JobEnded(order.attempt, "success", "success"))
        del one.running[place]
    net.wait(3)
    assert not one.running
    assert owners_of(one.engine, run).count(one.peer) == LEGS


# -- facts ----------------------------------------------------------------------------------------------------------


def keeper_of(writer: Writer, policy: Policy, *levels: Level) -> Gatekeeper:
    """The gatekeeper of a writer's node."""
    made = Gatekeeper(policy, levels or tuple(Level), writer.peer, WorkflowPlanner().flow)
    made.attach(writer.desk)
    return made


def network() -> tuple[Writer, Writer]:
    """A founder, and a member that it let in."""
    one = Writer(1)
    two = Writer(2, one.events[0].cid)
    one.add(two.peer)
    two.learn(*one.events)
    return one, two


def schedule_of(writer: Writer) -> Event:
    body = make_submission({"a": []})
    kept = ("workflow", "path", "ref", "sha", "repository", "actor", "vars", "source", "called", "actions", "pins")
    crons = [{"cron": "0 5 * * *", "timezone": "UTC"}]
    return writer.write(
        "schedule.add", {"name": "n", "crons": crons, "priority": 3, **{key: body[key] for key in kept}}
    )


def tick_of(writer: Writer, schedule: Event) -> Event:
    said = {"schedule": schedule.cid, "tick": 1_700_000_000, "cron": {"cron": "0 5 * * *", "timezone": "UTC"}}
    body = make_submission({"a": []})
    return writer.write("run.submit", {**body, "event": "schedule", "schedule": said, "absent": []})


def test_a_tick_that_this_node_submits_is_not_its_own_if_the_schedule_is_anothers() -> None:
    one, two = network()
    schedule = schedule_of(two)
    one.learn(*two.events)
    verdict = keeper_of(one, default_policy()).verdict(tick_of(one, schedule))
    assert (verdict.allowed, verdict.floor) == (True, Level.process)
    assert not keeper_of(one, default_policy(), Level.none).verdict(tick_of(one, schedule)).allowed
    own = tick_of(one, schedule_of(one))
    assert keeper_of(one, default_policy()).verdict(own).floor is Level.none


def test_nobody_takes_the_tick_of_a_schedule_of_ones_own_for_a_run_of_its_own() -> None:
    one, two = network()
    schedule = schedule_of(one)
    two.learn(*one.events)
    forged = tick_of(two, schedule)
    one.learn(*two.events)
    assert keeper_of(one, default_policy()).verdict(forged).floor is Level.process
    assert not keeper_of(one, rules({"from": ["own"]})).verdict(forged).allowed


def test_roles_are_those_that_the_roster_has_now() -> None:
    one, two = network()
    run = two.write("run.submit", {**make_submission({"a": []}), "absent": []})
    one.learn(*two.events)
    keeper = keeper_of(one, rules({"from": ["role:submit"]}))
    assert keeper.verdict(run).allowed
    one.remove(two.peer)
    assert not keeper.verdict(run).allowed


def test_what_a_job_left_is_used_by_none_that_is_trusted_more() -> None:
    one, two = network()
    theirs = two.write("run.submit", {**make_submission({"a": []}), "absent": []})
    one.learn(*two.events)
    ours = one.write("run.submit", {**make_submission({"a": []}), "absent": []})
    keeper = keeper_of(one, default_policy())
    assert keeper.trusts(ours, ours)
    assert keeper.trusts(ours, theirs)
    assert not keeper.trusts(theirs, ours), "it could put code into a job that runs without isolation"
    assert keeper_of(one, default_policy(trust_members=True)).trusts(theirs, ours)
    cut = rules({"from": ["own"], "isolation": "sandbox"}, {"from": ["members"], "network": False})
    assert not keeper_of(one, cut).trusts(theirs, ours)


async def test_a_policy_that_cannot_be_read_starts_no_node_and_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "config.toml").write_text("[[policy.rule]]\nform = ['own']\n")
    with pytest.raises(UsageError, match=r"config\.toml:1: policy rule 1: unknown key 'form'"):
        async with open_node(NodeSettings(data_dir=str(folder))):
            pass
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


def test_a_verdict_is_told_as_json() -> None:
    one, _ = network()
    run = one.write("run.submit", {**make_submission({"a": []}), "absent": []})
    assert keeper_of(one, default_policy()).verdict(run, ("isolation:sandbox",), "a").to_json() == {
        "allowed": True, "reason": "default rule 1", "isolation": "sandbox", "level": "container",
        "network": True,
        "rules": ["default rule 1"],
    }  # fmt: skip
    assert Verdict(allowed=False, reason="no").to_json() == {
        "allowed": False, "reason": "no", "isolation": None, "level": None, "network": None, "rules": None
    }  # fmt: skip
