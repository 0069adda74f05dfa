"""What a policy lets in, and on what terms."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import pytest

from p2pwf.core.ids import PeerId
from p2pwf.isolation import Level
from p2pwf.policy import Facts, Policy, Submitter, Verdict, default_policy, judge, parse_policy
from tests.kit import signer

ANN, BOB = signer(1).peer_id, signer(2).peer_id
SUBMIT = frozenset({"submit"})
EVERY = frozenset(Level)


def policy(*rules: Mapping[str, object]) -> Policy:
    return parse_policy({"names": {"ann": ANN}, "rule": list(rules)}, "config.toml")


def facts(who: PeerId = BOB, *labels: str, own: bool = False, **more: object) -> Facts:
    given: dict[str, object] = {"names": ("CI", ".github/workflows/ci.yml"), "labels": labels, **more}
    return Facts(submitters=(Submitter(who, own, SUBMIT),), **given)  # type: ignore[arg-type]


def verdict(held: Policy, about: Facts, available: frozenset[Level] = EVERY) -> Verdict:
    return judge(held, about, available)


def test_by_default_ones_own_runs_with_whatever_there_is() -> None:
    found = verdict(default_policy(), facts(ANN, own=True), frozenset({Level.none}))
    assert (found.allowed, found.floor, found.network) == (True, Level.none, True)


def test_by_default_members_jobs_need_a_process_of_their_own_at_least() -> None:
    assert verdict(default_policy(), facts(), frozenset({Level.none, Level.process})).floor is Level.process
    assert verdict(default_policy(), facts(), frozenset({Level.none, Level.sandbox})).allowed
    alone = verdict(default_policy(), facts(), frozenset({Level.none}))
    assert not alone.allowed
    assert alone.reason == (
        "it is to run at isolation process or better, and this machine can keep none (default rule 2)"
    )


def test_trust_in_members_is_the_explicit_way_without_isolation() -> None:
    found = verdict(default_policy(trust_members=True), facts(), frozenset({Level.none}))
    assert (found.allowed, found.floor) == (True, Level.none)


def test_a_job_may_ask_for_more_isolation_and_never_for_less() -> None:
    held = policy({"from": ["members"], "isolation": "sandbox"})
    assert verdict(held, facts(BOB, "isolation:container")).floor is Level.container
    assert verdict(held, facts(BOB, "isolation:none")).floor is Level.sandbox
    assert verdict(held, facts(BOB, "isolation:process")).floor is Level.sandbox


def test_the_first_rule_that_fits_decides() -> None:
    strict, lax = {"from": ["ann"], "isolation": "container"}, {"from": ["members"], "isolation": "process"}
    assert verdict(policy(strict, lax), facts(ANN)).floor is Level.container
    assert verdict(policy(strict, lax), facts(BOB)).floor is Level.process
    assert verdict(policy(lax, strict), facts(ANN)).floor is Level.process
    only = verdict(policy(strict, lax), facts(ANN), frozenset({Level.none, Level.process}))
    assert not only.allowed  # no later rule helps out


def test_the_best_level_is_taken_or_where_the_rules_prefer_it_the_least() -> None:
    assert verdict(policy({"from": ["own"]}), facts(own=True)).level is Level.container
    least = policy({"from": ["own"], "isolation": "none", "prefer": "least"}, {"from": ["members"]})
    assert verdict(least, facts(own=True)).level is Level.none
    assert verdict(least, facts(BOB, "isolation:sandbox", own=True)).level is Level.sandbox
    assert verdict(least, facts()).level is Level.container
    tick = Facts(submitters=(Submitter(ANN, own=True), Submitter(BOB, own=False)), names=("CI",))
    assert judge(least, tick, EVERY).level is Level.container, "only if all of them prefer it"
    assert verdict(default_policy(trust_members=True), facts()).level is Level.none


def test_a_job_with_containers_or_without_a_network_is_refused_where_no_level_has_both() -> None:
    here = frozenset({Level.none, Level.process, Level.sandbox})
    held = policy({"from": ["own"]}, {"from": ["members"]})
    assert verdict(held, facts(own=True, containers=True), here).level is Level.none
    assert verdict(held, facts(containers=True), here).reason == (
        "it is to run at isolation process or better, with containers of its own, and this machine can keep sandbox "
        "(rule 2)"
    )
    assert verdict(held, facts(BOB, "network:none"), here).level is Level.sandbox
    only = frozenset({Level.none, Level.process})
    assert "better without a network, and this machine" in verdict(held, facts(BOB, "network:none"), only).reason


def test_what_fits_no_rule_is_refused_ones_own_as_well() -> None:
    assert verdict(policy({"from": ["ann"]}), facts(BOB, own=True)).reason.endswith("no jobs of this submitter")
    assert verdict(policy({"from": ["own"]}), facts(BOB, own=True)).allowed


@pytest.mark.parametrize(
    ("entries", "ann", "bob"),
    [
        (["members"], True, True),
        (["members", "!ann"], False, True),
        (["ann"], True, False),
        ([ANN], True, False),
        (["role:submit"], True, True),
        (["role:admin"], False, False),
        (["role:submit", f"!{BOB}"], True, False),
    ],
)
def test_submitters_are_names_of_the_file_ids_and_roles(entries: list[str], ann: bool, bob: bool) -> None:
    held = policy({"from": entries})
    assert (verdict(held, facts(ANN)).allowed, verdict(held, facts(BOB)).allowed) == (ann, bob)


def test_who_left_the_network_has_no_roles_any_more() -> None:
    gone = Facts(submitters=(Submitter(BOB, own=False),), names=("CI",))
    assert not judge(policy({"from": ["role:submit"]}), gone, EVERY).allowed
    assert judge(policy({"from": ["members"]}), gone, EVERY).allowed


@pytest.mark.parametrize(
    ("entries", "fits"),
    [
        (["*"], True),
        (["CI"], True),
        (["ci"], False),
        ([".github/workflows/*.yml"], True),
        ([".github/*"], False),
        ([".github/**"], True),
        (["*", "!CI"], False),
        (["CI", "!.github/**"], False),
    ],
)
def test_workflows_go_by_name_or_path(entries: list[str], fits: bool) -> None:
    assert verdict(policy({"from": ["members"], "workflows": entries}), facts()).allowed is fits


def test_a_workflow_by_its_bytes_needs_all_files_that_it_is_made_of() -> None:
    one, two = (sha256(text).hexdigest() for text in (b"one", b"two"))
    held = policy({"from": ["members"], "workflows": [f"sha256:{one}"]})
    assert verdict(held, facts(hashes=(one,))).allowed
    assert not verdict(held, facts(hashes=(one, two))).allowed
    assert not verdict(held, facts(hashes=(two,))).allowed
    assert not verdict(held, facts()).allowed
    both = policy({"from": ["members"], "workflows": [f"sha256:{one}", f"sha256:{two}"]})
    assert verdict(both, facts(hashes=(one, two))).allowed
    barred = policy({"from": ["members"], "workflows": ["*", f"!sha256:{two}"]})
    assert verdict(barred, facts(hashes=(one,))).allowed
    assert not verdict(barred, facts(hashes=(one, two))).allowed


def test_every_label_that_a_job_asks_for_has_to_be_in_the_list() -> None:
    held = policy({"from": ["members"], "labels": ["linux", "X64"]})
    for fitting in ((), ("linux",), ("linux", "x64"), ("ubuntu-latest", "self-hosted"), ("peer:12d3", "network:none")):
        assert verdict(held, facts(BOB, *fitting)).allowed, fitting
    refused = verdict(held, facts(BOB, "gpu", "linux"))
    assert refused.reason == "the policy of this peer does not let it in (rule 1: not the label gpu)"
    but = policy({"from": ["members"], "labels": ["*", "!gpu", "!macos"]})
    assert verdict(but, facts(BOB, "linux")).allowed
    assert not verdict(but, facts(BOB, "linux", "gpu")).allowed
    assert not verdict(but, facts(BOB, "macos-15")).allowed


def test_a_job_that_names_a_secret_outside_of_the_list_does_not_fit() -> None:
    held = policy({"from": ["members"], "secrets": ["npm_*"]})
    assert verdict(held, facts()).allowed
    assert verdict(held, facts(secrets=frozenset({"NPM_TOKEN"}))).allowed
    assert not verdict(held, facts(secrets=frozenset({"NPM_TOKEN", "DEPLOY"}))).allowed
    assert not verdict(held, facts(secrets=None)).allowed, "toJSON(secrets) names them all"
    assert verdict(policy({"from": ["members"]}), facts(secrets=None)).allowed
    none = policy({"from": ["members"], "secrets": []})
    assert verdict(none, facts()).allowed
    assert "not the secret A" in verdict(none, facts(secrets=frozenset({"A"}))).reason


def test_without_a_network_a_job_runs_in_a_sandbox_at_least() -> None:
    held = policy({"from": ["members"], "network": False})
    found = verdict(held, facts())
    assert (found.network, found.floor) == (False, Level.sandbox)
    assert not verdict(held, facts(), frozenset({Level.none, Level.process})).allowed
    assert not verdict(policy({"from": ["members"]}), facts(BOB, "network:none")).network


def test_of_two_submitters_both_have_to_be_let_in_and_the_stricter_terms_hold() -> None:
    held = policy({"from": ["own"]}, {"from": ["ann"], "isolation": "sandbox", "network": False})
    tick = Facts(submitters=(Submitter(BOB, own=True), Submitter(ANN, own=False)), names=("nightly",))
    found = judge(held, tick, EVERY)
    assert (found.allowed, found.floor, found.network) == (True, Level.sandbox, False)
    assert [rule.place for rule in found.rules] == ["rule 1", "rule 2"]
    stranger = Facts(submitters=(Submitter(BOB, own=True), Submitter(signer(3).peer_id, own=False)), names=("nightly",))
    assert not judge(held, stranger, EVERY).allowed
