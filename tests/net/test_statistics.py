from __future__ import annotations

import re
from pathlib import Path

from p2pwf.net.conduct import BAN_AT
from p2pwf.net.meanings import MEANINGS
from tests.net.kit import network, networks, peer

SOURCE = Path(__file__).parents[2] / "p2pwf" / "net"


def test_every_count_has_its_meaning_and_no_meaning_is_left_over() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.glob("*.py") if path.name != "meanings.py")
    names = set(re.findall(r"\bcount(?:\(|,)\s*\"([a-z_]+)\"", text))
    names |= {f"strike_{name}" for name in re.findall(r"\bstrike\([^\"\n]*\"([a-z_]+)\"", text)}
    refusals = re.search(r"def _refusal\(.*?(?=\n    async def )", text, re.DOTALL)
    assert refusals is not None
    names |= {f"connection_{name}" for name in re.findall(r"return \"([a-z_]+)\"", refusals.group())}
    assert names == set(MEANINGS)


async def test_statistics_tell_what_there_is() -> None:
    async with networks(1, 2) as (net, _):
        got = net.statistics()
        assert (got["links"], got["connections"], got["banned"]) == (1, 1, [])
        assert got["addresses"] == net.addresses()
        assert {"counts", "events_waiting", "frames_waiting", "gossip_waiting", "streams_served"} <= set(got)


async def test_the_node_may_report_a_peer() -> None:
    async with network(1) as net:
        for _ in range(int(BAN_AT) + 1):  # a little is forgiven meanwhile
            net.strike(peer(2))
        assert net.statistics()["banned"] == [peer(2)]
