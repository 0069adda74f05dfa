"""The vectors of embedded coordinators, both ways: worked out from the page's words, then asked of the package."""

from __future__ import annotations

import runpy
from hashlib import sha256
from random import Random
from typing import Any

import cbor2
import pytest

from p2pwf.core.dagcbor import MAX_BLOCK
from p2pwf.ledger import MAX_PARENTS, BadClock, Chain, State, read_block
from p2pwf.ledger.chain import MAX_CLOCK
from p2pwf.ledger.node import VERSION
from tests.protocols.kit import ROOT, load

VECTORS = load("embedded")
PREFIX = bytes((0x01, 0x71, 0x12, 0x20))


def bits_apart(first: bytes, second: bytes) -> int:
    return (int.from_bytes(first) ^ int.from_bytes(second)).bit_count()


def chain_of(case: dict[str, Any], seed: int = 0) -> Chain:
    """The clock of a case, its nodes taken in in any order that their parents allow."""
    waiting = [read_block(bytes.fromhex(one["block"])) for one in case["nodes"]]
    Random(seed).shuffle(waiting)
    chain = Chain("reader")
    while waiting:
        ready = [one for one in waiting if all(parent in chain for parent in one.parents)]
        chain.add(ready[0])
        waiting.remove(ready[0])
    return chain


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["title"])
def test_hashes_heads_and_owners_follow_from_the_pages_words(case: dict[str, Any]) -> None:
    blocks = {one["hash"]: bytes.fromhex(one["block"]) for one in case["nodes"]}
    values = {hash: cbor2.loads(block) for hash, block in blocks.items()}
    parents = {hash: [link.value[1:] for link in value["parents"]] for hash, value in values.items()}
    assert all(sha256(block).hexdigest() == hash for hash, block in blocks.items())
    for hash, value in values.items():
        below = [values[link[4:].hex()]["clock"] for link in parents[hash]]
        assert value["clock"] == 1 + max(below, default=0)
    covered = {link[4:].hex() for links in parents.values() for link in links}
    assert case["heads"] == sorted(set(blocks) - covered)
    order = sorted(blocks, key=lambda one: (values[one]["clock"], one))
    assert case["head"] == (order[-1] if order else None)
    assert [one["workflow_id"] for one in case["workflows"]] == [
        hash for hash in order if values[hash]["data"].get("event") == "workflow.submit"
    ]
    for id, (owner, distance) in zip(case["next"], case["owners"], strict=True):
        head = sha256(b"".join(sorted(parents[id]))).digest()
        point = sha256(head + sha256(id.encode()).digest()).digest()
        ranked = sorted(
            (bits_apart(point, sha256(peer.encode()).digest()), sha256(point + peer.encode()).digest(), peer)
            for peer in case["among"]
        )
        assert (ranked[0][2], ranked[0][0]) == (owner, distance)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["title"])
@pytest.mark.parametrize("seed", range(5))
def test_the_package_comes_to_the_same_in_any_order(case: dict[str, Any], seed: int) -> None:
    chain, state = chain_of(case, seed), State()
    for one in chain.nodes:
        state.apply(one)
    assert [one.block().hex() for one in chain.nodes] == [one["block"] for one in case["nodes"]]
    assert (chain.head_hash, chain.logical_clock) == (case["head"], case["clock"])
    assert sorted(one.hash for one in chain.heads()) == case["heads"]
    told = [{name: task.summary()[name] for name in case["workflows"][0]} for task in state.tasks.values()]
    assert told == case["workflows"]
    assert list(state.peers) == case["peers"]
    assert [task.workflow_id for task in state.pending()] == case["next"]
    assert [list(state.owner_of(id, case["among"])) for id in case["next"]] == case["owners"]
    assert chain.verify_chain()


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["why"])
def test_what_breaks_a_rule_is_refused(vector: dict[str, str]) -> None:
    chain = chain_of(VECTORS["cases"][0])
    before = len(chain)
    with pytest.raises(BadClock):
        chain.add(read_block(bytes.fromhex(vector["block"])))
    assert len(chain) == before


def test_the_generator_gives_the_file_as_it_is() -> None:
    assert runpy.run_path(str(ROOT / "scripts/vectors_embedded.py"))["vectors"]() == VECTORS


def test_the_page_gives_the_bounds_as_they_are() -> None:
    page = (ROOT / "protocols/embedded.md").read_text(encoding="utf-8")
    for row in (
        f"| version | {VERSION} |", f"| node | {MAX_BLOCK:,} bytes |", f"| parents | {MAX_PARENTS} |",
        f"| clock | 2^{MAX_CLOCK.bit_length() - 1} |",
    ):  # fmt: skip
        assert row in page
