"""Secrets in the engine: who may set them, who is to have a box, which jobs wait. What is in a box does not matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from p2pwf.clock import Invalid
from p2pwf.clock.messages import Events, encode_message
from p2pwf.core.events import author_event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine import sealing
from p2pwf.engine.config import STAGGER
from p2pwf.engine.inputs import AddMember, Begin, Gossip, RemoveMember, Sealed, UpdateSelf, WriteSetting
from p2pwf.engine.outputs import Reply, Reseal
from p2pwf.engine.sealing import Sealing
from p2pwf.errors import NotFound, Refused
from p2pwf.node import views
from p2pwf.runs.settings import Asks
from p2pwf.testing.planner import make_submission
from tests.engine.kit import Member, Net
from tests.kit import signer

NAMES: dict[str, Any] = {"secrets": ["TOKEN"]}


def body(net: Net, to: list[Member], name: str = "TOKEN", **more: Any) -> dict[str, Any]:
    boxes = {member.peer: b"b" * 80 for member in to}
    return {"name": name, "environment": None, "value": bytes(296), "boxes": boxes, "submitters": [], **more}


def write(member: Member, type: str, what: Mapping[str, Any]) -> Any:
    (reply,) = [one for one in member.give(WriteSetting("set", type, what)) if isinstance(one, Reply)]
    if reply.error is not None:
        raise reply.error
    return reply.result


def set_secret(net: Net, *to: Member, **more: Any) -> None:
    write(net.members[0], "secret.set", body(net, list(to), **more))
    net.share()


def seal(member: Member) -> None:
    """Do what a node is asked to, with boxes of any content."""
    asked, member.asked_to_seal = member.asked_to_seal, []
    boxes = [(secret.cid, peer, b"n" * 80) for one in asked for secret, _, peers in one.secrets for peer in peers]
    member.give(Sealed(boxes))


def start_of(net: Net, run: Cid) -> PeerId | None:
    """Who runs the job of a run."""
    return next((one.peer for one in net.members if any(of == run.text for of, _, _ in one.running)), None)


def submit_to(net: Net, owner: Member, **payload: Any) -> Cid:
    """A run whose only job is first placed on a member."""
    for _ in range(64):
        run = net.submit(make_submission({"a": []}, payload={**NAMES, **payload}), share=False)
        placed = net.run(run).placed(("a", 0))
        net.share()
        if placed == owner.peer:
            return run
    raise AssertionError("no run was placed there")


# -- who gets a job -------------------------------------------------------------------------------------------------


def test_t45_a_job_is_passed_on_by_who_cannot_open_its_secrets_to_who_can() -> None:
    net = Net(3)
    one, two, three = net.members
    set_secret(net, one, two)
    run = submit_to(net, three)
    net.wait(1)
    assert start_of(net, run) in (one.peer, two.peer)
    assert three.peer not in {event.author for event in net.run(run).events.values() if event.type == "job.start"}
    (moved,) = [event for event in net.run(run).events.values() if event.type == "job.reassign"]
    assert (moved.author, moved.body["reason"], moved.body["absent"]) == (three.peer, "sealed", [three.peer])


def test_t45_a_job_is_started_by_who_cannot_open_its_secrets_without_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sealing, "unopened", lambda *_: [])
    net = Net(3)
    set_secret(net, *net.members[:2])
    run = submit_to(net, net.members[2])
    assert start_of(net, run) == net.members[2].peer


def test_t45_a_job_that_nobody_can_be_given_waits_until_its_secrets_are_sealed_to_its_owner() -> None:
    net = Net(3)
    one, _, three = net.members
    set_secret(net, one)
    one.give(UpdateSelf("update", "one", ("linux",), 0))  # who could open it runs nothing
    net.share()
    run = submit_to(net, three)
    net.wait(20)
    assert start_of(net, run) is None
    assert not [event for event in net.run(run).events.values() if event.type in ("job.reassign", "job.refuse")]
    told = views.run_status(one.engine, net.run(run))["jobs"][0]["waiting"]
    assert told == "the secret TOKEN is not sealed to its peer yet: an admin's node that is up does that"
    assert views.secret_counts(one.engine) == {"set": 1, "lacking": 1, "rotate": 0}
    seal(one)
    net.share()
    assert views.run_status(one.engine, net.run(run))["jobs"][0]["waiting"] is None
    assert start_of(net, run) == three.peer
    assert all(start.submission.cid == run for start in three.running.values())


def test_t45_who_takes_over_from_a_silent_owner_passes_over_who_cannot_open_the_secrets() -> None:
    net = Net(4)
    one, _, three, _ = net.members
    set_secret(net, one, three)
    run = submit_to(net, three)
    assert start_of(net, run) == three.peer
    net.lose(three)
    net.wait(30)
    assert start_of(net, run) == one.peer


def test_a_job_that_names_no_secret_or_one_that_is_not_set_waits_for_nothing() -> None:
    net = Net(2)
    set_secret(net, net.members[0])
    assert start_of(net, submit_to(net, net.members[1], secrets=[])) == net.members[1].peer
    assert start_of(net, submit_to(net, net.members[1], secrets=["OTHER"])) == net.members[1].peer


def test_a_node_whose_jobs_clients_run_opens_no_secrets_and_waits_for_none() -> None:
    net = Net(2)
    one, two = net.members
    two.engine.desk.config = attrs.evolve(two.engine.desk.config, external=True)
    set_secret(net, one)
    run = submit_to(net, two)
    two.give(Begin("begin", run, None))
    assert start_of(net, run) == two.peer
    assert two.engine.sealing.given(two.engine.desk.runs[run], ("a", 0)) == {}


def test_a_secret_for_runs_of_one_submitter_is_not_set_for_those_of_others() -> None:
    net = Net(2)
    one, two = net.members
    set_secret(net, one, submitters=[two.peer])
    run = submit_to(net, two)  # of one: two needs no box, since it gets nothing
    assert start_of(net, run) == two.peer
    given, its = two.engine.sealing, two.engine.desk.runs[run]
    assert (given.given(its, ("a", 0)), given.kept(its, ("a", 0))) == ({}, ["TOKEN"])
    mine = net.submit(make_submission({"a": []}, payload=NAMES), at=1)
    assert list(two.engine.sealing.given(two.engine.desk.runs[mine], ("a", 0))) == [(None, "TOKEN")]


# -- boxes ----------------------------------------------------------------------------------------------------------


def test_a_new_member_is_sealed_to_by_the_first_live_admin_and_by_the_next_one_after_a_wait() -> None:
    net = Net(3)
    one, two, three = net.members
    one.give(AddMember("admin", two.peer, ("admin", "run", "submit")))
    net.share()
    set_secret(net, one, two, three)
    new = signer(9).peer_id
    one.give(AddMember("new", new, ("run",), "new", ("linux",), 4))
    net.wait(0.5)
    first, second = sorted([one, two], key=lambda member: member.peer)
    assert [peers for asked in first.asked_to_seal for _, _, peers in asked.secrets] == [(new,)]
    assert not second.asked_to_seal
    assert not three.asked_to_seal
    net.wait(STAGGER)
    assert second.asked_to_seal
    (secret,) = one.engine.desk.settings.secrets.values()
    assert one.engine.sealing.lacking(secret) == (new,)
    seal(first)
    net.share()
    seal(second)
    net.share()
    assert all(new in member.engine.desk.settings.holders(secret) for member in net.members)
    assert [event.type for event in one.disk].count("secret.seal") == 1, "who hears that it is done does not do it"


def test_who_offers_no_slots_has_no_box_until_it_does() -> None:
    net = Net(2)
    one, two = net.members
    two.give(UpdateSelf("update", "two", ("linux",), 0))
    net.share()
    set_secret(net, one)
    net.wait(1)
    assert not one.asked_to_seal
    two.give(UpdateSelf("update", "two", ("linux",), 1))
    net.wait(1)
    assert [peers for _, _, peers in one.asked_to_seal[0].secrets] == [(two.peer,)]


def test_a_secret_that_a_former_member_could_open_is_to_be_set_to_another_value() -> None:
    net = Net(2)
    one, two = net.members
    set_secret(net, one, two)
    (secret,) = one.engine.desk.settings.secrets.values()
    assert one.engine.sealing.to_rotate(secret) == []
    one.give(RemoveMember("remove", two.peer))
    assert one.engine.sealing.to_rotate(secret) == [two.peer]
    set_secret(net, one)
    assert [one.engine.sealing.to_rotate(new) for new in one.engine.desk.settings.secrets.values()] == [[]]


# -- rights and state -----------------------------------------------------------------------------------------------


def test_only_an_admin_sets_and_what_anybody_else_signs_is_refused_by_all() -> None:
    net = Net(2)
    one, two = net.members
    with pytest.raises(Refused, match="only an admin may set a secret"):
        write(two, "secret.set", body(net, [one]))
    with pytest.raises(Refused, match="only an admin may remove a variable"):
        write(two, "var.remove", {"name": "A", "environment": None})
    parents, tip = two.engine.desk.clock.parents(two.peer)
    for type, what in (
        ("secret.set", body(net, [two])),
        ("secret.seal", {"boxes": [{"secret": net.genesis.cid, "peer": two.peer, "box": bytes(80)}]}),
        ("var.set", {"name": "A", "environment": None, "value": "x"}),
    ):
        forged = author_event(
            two.key, net=net.genesis.cid, seq=tip.seq + 1 if tip else 0, prev=tip.cid if tip else None,
            parents=[node.cid for node in parents], lamport=1 + max(node.lamport for node in parents),
            time=0, type=type, body=what,
        )  # fmt: skip
        assert isinstance(one.engine.desk.clock.accept(forged), Invalid)


def test_what_is_removed_is_gone_and_what_was_never_set_cannot_be_removed() -> None:
    net = Net(2)
    one, two = net.members
    set_secret(net, one, two)
    write(one, "var.set", {"name": "REGION", "environment": "prod", "value": "eu"})
    net.share()
    assert two.engine.desk.settings.values("prod") == {"REGION": "eu"}
    assert two.engine.desk.settings.values(None) == {}
    for kind, name, environment in (("secret", "TOKEN", None), ("var", "REGION", "prod")):
        write(one, f"{kind}.remove", {"name": name, "environment": environment})
        with pytest.raises(NotFound):
            write(one, f"{kind}.remove", {"name": name, "environment": environment})
    net.share()
    assert (dict(two.engine.desk.settings.secrets), dict(two.engine.desk.settings.variables)) == ({}, {})


def test_the_act_of_an_admin_whose_role_was_taken_comes_undone_and_the_one_before_it_stands() -> None:
    net = Net(3)
    one, two, three = net.members
    one.give(AddMember("admin", two.peer, ("admin", "run", "submit")))
    net.share()
    write(one, "var.set", {"name": "A", "environment": None, "value": "before"})
    net.share()
    write(two, "var.set", {"name": "A", "environment": None, "value": "after"})  # only one of the others hears of it
    three.give(Gossip(two.peer, encode_message(Events((two.disk[-1].signed,)))))
    assert three.engine.desk.settings.values(None) == {"A": "after"}
    one.give(RemoveMember("remove", two.peer))
    assert one.engine.desk.settings.values(None) == {"A": "before"}
    net.share()
    for member in net.members:
        assert member.engine.desk.settings.values(None) == {"A": "before"}


def test_of_two_that_are_set_at_once_all_have_the_same_one() -> None:
    net = Net(3)
    one, two, _ = net.members
    one.give(AddMember("admin", two.peer, ("admin", "run", "submit")))
    net.share()
    write(one, "var.set", {"name": "A", "environment": None, "value": "one"})
    write(two, "var.set", {"name": "A", "environment": None, "value": "two"})
    net.share()
    said = {member.engine.desk.settings.values(None)["A"] for member in net.members}
    assert len(said) == 1
    net.restart(net.members[2])
    assert {net.members[2].engine.desk.settings.values(None)["A"]} == said


def test_a_network_has_so_many_variables_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "MAX_SETTINGS", 5)
    net = Net(1)
    for number in range(5):
        write(net.members[0], "var.set", {"name": f"V{number}", "environment": None, "value": ""})
    with pytest.raises(Refused, match="there are 5 variables"):
        write(net.members[0], "var.set", {"name": "MORE", "environment": None, "value": ""})
    write(net.members[0], "var.set", {"name": "V1", "environment": None, "value": "again"})


def test_secrets_of_an_environment_are_for_jobs_in_it() -> None:
    net = Net(1)
    (one,) = net.members
    set_secret(net, one)
    set_secret(net, one, environment="prod")
    set_secret(net, one, name="OTHER", environment="prod")
    settings = one.engine.desk.settings
    both = frozenset({"TOKEN", "OTHER"})
    assert list(settings.asked(Asks("", both, both))) == [(None, "TOKEN")]
    assert list(settings.asked(Asks("prod", frozenset(), both))) == [("prod", "OTHER"), ("prod", "TOKEN")]
    assert list(settings.asked(Asks("prod", None, frozenset()))) == [(None, "TOKEN")]
    assert len(settings.asked(Asks("prod", None, None))) == 3


def test_a_seal_that_does_not_come_is_asked_for_again() -> None:
    net = Net(2)
    one, two = net.members
    set_secret(net, one)
    net.wait(5)
    assert len(one.asked_to_seal) == 1
    net.wait(30)
    assert len(one.asked_to_seal) == 2
    assert isinstance(one.asked_to_seal[1], Reseal)
    assert one.asked_to_seal[1].secrets[0][1:] == ((b"b" * 80,), (two.peer,))
