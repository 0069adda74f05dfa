"""What a [policy] may say, and what is told of one that says something else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from p2pwf.config import node_settings, policy_table
from p2pwf.errors import UsageError
from p2pwf.isolation import Level
from p2pwf.node.policing import read_policy
from p2pwf.policy import Policy, parse_policy
from tests.kit import signer

PEER = signer(1).peer_id
ROOT = Path(__file__).parents[2]


def parsed(text: str) -> Policy:
    return parse_policy(tomllib.loads(text)["policy"], "config.toml", text)


def test_a_rule_says_what_it_leaves_out_by_its_usual_terms() -> None:
    own, others, cut = parsed(
        '[[policy.rule]]\nfrom = ["own"]\n[[policy.rule]]\nfrom = ["members"]\n'
        '[[policy.rule]]\nfrom = ["own"]\nnetwork = false\n'
    ).rules
    assert [rule.isolation for rule in (own, others, cut)] == [Level.none, Level.process, Level.sandbox]
    assert own.workflows.takes_all
    assert own.labels.takes_all
    assert own.secrets.takes_all


def test_a_name_stands_for_one_peer_or_several() -> None:
    held = parsed(f'[policy.names]\nann = "{PEER}"\nall = ["{PEER}"]\n[[policy.rule]]\nfrom = ["ann", "!all"]\n')
    assert held.names == {"ann": {PEER}, "all": {PEER}}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            '[[policy.rule]]\nfrom = ["own"]\nprefer = "most"',
            "config.toml:3: policy rule 1: prefer: neither best nor least",
            "the best level there is",
        ),
        ("[policy]", "config.toml: policy: no rule: nothing would run here", "leave [policy] out"),
        ("[policy]\nrules = 1", "config.toml: policy: unknown key 'rules'", "[[policy.rule]]"),
        ("[policy]\nrule = 1", "config.toml: policy: rule is no list of tables", "[[policy.rule]]"),
        ("[[policy.rule]]\n", "config.toml:1: policy rule 1: no from", 'from = ["own"]'),
        ('[[policy.rule]]\n\nfrom = "own"', "config.toml:3: policy rule 1: from: no list of words", "from = ["),
        ("[[policy.rule]]\nfrom = []", "config.toml:2: policy rule 1: from: an empty list fits nothing", ""),
        ('[[policy.rule]]\nfrom = ["onw"]', "config.toml:2: policy rule 1: from: nobody is 'onw'", "did you mean own?"),
        ('[[policy.rule]]\nfrom = ["carla"]', "nobody is 'carla'", "theirs to change"),
        ('[[policy.rule]]\nfrom = ["role:root"]', "from: no role 'root'", "admin, run, submit"),
        ('[[policy.rule]]\nfrom = ["!own"]', "from: it only takes out", 'from = ["members", "!own"]'),
        ('[[policy.rule]]\nfrom = ["own"]\nlabel = []', "policy rule 1: unknown key 'label'", "did you mean labels?"),
        (
            '[[policy.rule]]\nfrom = ["own"]\n[[policy.rule]]\nfrom = ["own"]\nworkflows = ["a[", "b"]',
            "config.toml:5: policy rule 2: workflows: 'a[': '[' needs characters",
            "'*' stands for",
        ),
        ('[[policy.rule]]\nfrom = ["own"]\nworkflows = ["sha256:12"]', "64 hexadecimal digits", ""),
        ('[[policy.rule]]\nfrom = ["own"]\nlabels = ["isolation:none"]', "with isolation and network", ""),
        (
            '[[policy.rule]]\nfrom = ["own"]\nisolation = "jail"',
            ":3: policy rule 1: isolation: no level 'jail'",
            "none",
        ),
        ('[[policy.rule]]\nfrom = ["own"]\nnetwork = "no"', "network: neither true nor false", "network = false"),
        (
            '[[policy.rule]]\nfrom = ["own"]\nnetwork = false\nisolation = "process"',
            "config.toml:4: policy rule 1: isolation: at process the network cannot be cut",
            'isolation = "sandbox"',
        ),
        ('[policy.names]\nann = "x"\n[[policy.rule]]\nfrom = ["ann"]', "the name ann: not a peer id: 'x'", ""),
        (f'[policy.names]\nown = "{PEER}"', "'own' cannot be a name", ""),
        ("[policy.names]\nann = []", "the name ann stands for no peer ids", ""),
        ("[[policy.rule]]\nfrom = ['own']\n" * 101, "101 rules, the bound is 100", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_what_to_do(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_without_a_table_the_default_holds_and_trust_is_a_word_about_that_alone(tmp_path: Path) -> None:
    assert policy_table(tmp_path) is None
    assert read_policy(node_settings(tmp_path, {}, {})).origin == "default"
    assert read_policy(node_settings(tmp_path, {"trust_members": True}, {})).origin == "--trust-members"
    (tmp_path / "config.toml").write_text('slots = 2\n[[policy.rule]]\nfrom = ["own"]\n')
    assert node_settings(tmp_path, {}, {}).slots == 2
    assert read_policy(node_settings(tmp_path, {}, {})).origin == str(tmp_path / "config.toml")
    with pytest.raises(UsageError, match="--trust-members"):
        read_policy(node_settings(tmp_path, {"trust_members": True}, {}))
    (tmp_path / "config.toml").write_text("policy = 1\n")
    with pytest.raises(UsageError, match="policy is no table"):
        policy_table(tmp_path)


@pytest.mark.parametrize("file", sorted((ROOT / "examples" / "policy").glob("*.toml")), ids=lambda file: file.stem)
def test_the_examples_are_policies(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert parse_policy(tomllib.loads(text)["policy"], str(file), text).rules


def test_what_the_page_shows_is_what_the_examples_say() -> None:
    page = (ROOT / "examples" / "policy" / "README.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "examples" / "policy").glob("*.toml"))
    assert len(files) >= 4
    for file in files:
        assert f"```toml\n{file.read_text(encoding='utf-8')}```" in page, file.name
