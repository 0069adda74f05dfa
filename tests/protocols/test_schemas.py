"""protocols/cddl says the same as the pages: what is valid validates, what is broken does not, as far as CDDL goes."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any

import cbor2
import pytest

from p2pwf.core.bodies import FORMS
from p2pwf.store.car import read_car
from tests.protocols.kit import ROOT, load, named

pycddl = pytest.importorskip("pycddl", reason="no wheel of pycddl for this machine")

BEYOND = {
    "parents out of order",
    "a parent twice",
    "seq 0 with a prev",  # a relation of two fields
    "no prev and no seq 0",
    "v at the end of the map",  # an encoding, where CDDL judges values
    "bytes after the event",
    "a signature of 63 bytes",  # it stands beside the block
    "events: a signature of 63 bytes",  # as many signatures as blocks
    "events: no signature",
    "events: two signatures of one block",
    "member.add: roles out of order",
    "member.add: a role twice",
    "a type of 257 characters",
    "member.add: a name of 257 characters",  # characters, where CDDL counts bytes
    "member.add: labels out of order",
    "run.submit: a job twice",
    "run.submit: a need that is no job",
    "run.submit: a job that needs itself",
    "run.submit: needs in a circle",
    "run.submit: a leg whose labels are out of order",
    "run.submit: 17 jobs whose legs are not known, of 256 each",
    "run.submit: tags out of order",
    "run.submit: pins out of order",
    "job.reassign: absent twice",
    "secret.set: a name that is GitHub's",
    "secret.set: a box for nobody",
    "secret.set: a submitter twice",
    "hello: an author of 257 characters",
    "probe: a job of 257 characters",
    "presence: an address of 257 characters",
    "data with a link in it",  # pycddl takes no empty map where a map is one of several choices
    "data with bytes in it",
    "bytes after the node",
}
"""What the pages rule and a schema cannot."""
LAX = {
    "net.genesis: with a network",  # pycddl takes a tag for anything
    "a type that is a number",  # pycddl takes numbers and bytes where text has a size
    "member.add: a name that is bytes",
    "run.submit: a leg without a name",  # pycddl forgets what it found in a list if that is one of two choices
    "run.submit: a leg whose matrix is a list",
    "run.submit: a job with a field too many",
    "secret.set: a name that begins with a digit",  # pycddl looks for a match anywhere in the text
    "var.remove: a name with a dash",
    "var.set: a value that is a number",
    "hello: seventeen tips",
    "peers: an address that is bytes",
}
"""What the schema rules and pycddl 0.6 does not."""


@cache
def schema(name: str, start: str) -> Any:
    text = (ROOT / f"protocols/cddl/{name}.cddl").read_text(encoding="utf-8")
    return pycddl.Schema(f"start = {start}\n{text}")


def is_valid(name: str, start: str, block: bytes) -> bool:
    try:
        schema(name, start).validate_cbor(block)
    except (pycddl.ValidationError, ValueError):
        return False
    return True


def rule_for(block: bytes) -> str:
    """The rule of the type that a block says it is."""
    value = cbor2.loads(block)
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in FORMS:
        return "foreign"
    return "genesis" if kind == "net.genesis" else str(kind).replace(".", "-")


@pytest.mark.parametrize("vector", load("events")["accepted"], ids=named)
def test_an_event_of_the_chain_validates(vector: dict[str, Any]) -> None:
    block = bytes.fromhex(vector["block"])
    rule = rule_for(block)
    assert is_valid("events", rule, block)
    assert is_valid("events", "event", block) == (rule != "foreign")
    others = {rule_for(bytes.fromhex(other["block"])) for other in load("events")["accepted"]} - {rule, "foreign"}
    assert not any(is_valid("events", other, block) for other in others)


@pytest.mark.parametrize("vector", [one for one in load("events")["refused"] if one["class"] == "form"], ids=named)
def test_an_event_with_a_broken_form_does_not(vector: dict[str, Any]) -> None:
    block = bytes.fromhex(vector["block"])
    assert is_valid("events", rule_for(block), block) == (vector["why"] in BEYOND | LAX)


@pytest.mark.parametrize("vector", load("clock")["accepted"] + load("clock")["extended"], ids=named)
def test_a_message_validates(vector: dict[str, Any]) -> None:
    block = bytes.fromhex(vector["block"])
    assert is_valid("clock", cbor2.loads(block)["t"], block)


@pytest.mark.parametrize("vector", [one for one in load("clock")["refused"] if ":" in one["why"]], ids=named)
def test_a_broken_message_does_not(vector: dict[str, Any]) -> None:
    rule = vector["why"].partition(":")[0]
    assert is_valid("clock", rule, bytes.fromhex(vector["block"])) == (vector["why"] in BEYOND | LAX)


@pytest.mark.parametrize("vector", [one for case in load("embedded")["cases"] for one in case["nodes"]])
def test_a_node_of_an_embedded_clock_validates(vector: dict[str, Any]) -> None:
    assert is_valid("embedded", "node", bytes.fromhex(vector["block"]))


@pytest.mark.parametrize("vector", load("embedded")["refused"], ids=named)
def test_a_node_with_a_broken_form_does_not(vector: dict[str, Any]) -> None:
    expected = vector["class"] == "chain" or vector["why"] in BEYOND | LAX
    assert is_valid("embedded", "node", bytes.fromhex(vector["block"])) == expected


@pytest.mark.parametrize("vector", load("archive")["accepted"], ids=named)
def test_the_blocks_of_an_archive_validate(vector: dict[str, Any]) -> None:
    _, sections = read_car(BytesIO(bytes.fromhex(vector["archive"])))
    blocks = {section.cid.text: b"".join(section.chunks()) for section in sections}
    others = {one["cid"] for one in (*vector["events"], *vector["blobs"])}
    own = [block for cid, block in blocks.items() if cid not in others]
    for rule, block in zip(("opening", "group", "ending"), own, strict=True):
        assert is_valid("archive", rule, block)
    assert not any(is_valid("archive", "block", blocks[cid]) for cid in others & blocks.keys() if blocks[cid][0] > 0x7F)


@pytest.mark.parametrize("vector", load("tickets")["accepted"], ids=named)
def test_a_ticket_validates(vector: dict[str, Any]) -> None:
    assert is_valid("ticket", "ticket", bytes.fromhex(vector["block"]))
