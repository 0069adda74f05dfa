"""What this machine runs for whom: the rules of `[policy]` in config.toml, and the judgement of one job by them. Pure.

    policy = parse_policy(table)
    judge(policy, facts, available).allowed

Knows no file, no event and no network: who reads the table and what a job is come in as plain data.
"""

from __future__ import annotations

from p2pwf.policy.judge import Facts, Submitter, Verdict, judge
from p2pwf.policy.rules import MEMBERS, OWN, ROLE, Choice, Policy, Rule, default_policy
from p2pwf.policy.table import parse_policy

__all__ = [
    "MEMBERS",
    "OWN",
    "ROLE",
    "Choice",
    "Facts",
    "Policy",
    "Rule",
    "Submitter",
    "Verdict",
    "default_policy",
    "judge",
    "parse_policy",
]
