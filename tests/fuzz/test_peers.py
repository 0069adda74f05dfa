"""Whatever a peer sends ends in a value or in the error that is named for it; what was found once is not found again.

A small part of what `scripts/fuzz` does: the same inputs each time.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pwf.engine.intake import Intake
from p2pwf.engine.syncer import Syncer
from tests.fuzz.mutations import mutated
from tests.fuzz.peer_targets import PEER_TARGETS, corpus, engine, signed_event

INPUTS = 300


@pytest.mark.parametrize("name", PEER_TARGETS)
def test_damaged_messages_of_a_peer(name: str) -> None:
    check, made_of = PEER_TARGETS[name]
    chance = Random(name)
    for data in corpus(made_of):
        check(data)
    for _ in range(INPUTS):
        check(mutated(chance, corpus(made_of)))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_of_a_peer(data: bytes) -> None:
    for check, _ in PEER_TARGETS.values():
        check(data)


def _raising(*_: object) -> None:
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize(
    ("owner", "name", "target"), [(Syncer, "hello", engine), (Intake, "blocks", signed_event)], ids=["frame", "event"]
)
def test_a_bug_behind_a_frame_is_found(
    owner: type, name: str, target: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: inputs get as far as there, and what goes wrong there is not lost."""
    monkeypatch.setattr(owner, name, _raising)
    chance = Random(1)
    made_of = corpus("clock" if target is engine else "events")
    with pytest.raises(AssertionError, match="a bug"):
        for _ in range(INPUTS):
            target(mutated(chance, made_of))
