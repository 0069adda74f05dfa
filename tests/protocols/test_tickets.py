"""protocols/tickets.md: the vectors of tickets, both ways."""

from __future__ import annotations

from base64 import b32encode
from typing import Any

import pytest

from p2pwf.core.ids import parse_cid
from p2pwf.core.tickets import Ticket, parse_ticket
from p2pwf.errors import UsageError
from tests.protocols.kit import by_hand, load, named

VECTORS = load("tickets")


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=named)
def test_the_words_of_the_page_give_the_ticket(vector: dict[str, Any]) -> None:
    keys = {name: {"/": {"bytes": vector[name]}} if vector[name] else None for name in ("secret", "psk")}
    block = by_hand({"net": {"/": vector["net"]}, "addrs": vector["addrs"], **keys})
    assert block.hex() == vector["block"]
    assert vector["text"] == "p2pwf1" + b32encode(block).decode().rstrip("=").lower()


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=named)
def test_the_package_reads_and_writes_it(vector: dict[str, Any]) -> None:
    psk = None if vector["psk"] is None else bytes.fromhex(vector["psk"])
    ticket = Ticket(parse_cid(vector["net"]), tuple(vector["addrs"]), bytes.fromhex(vector["secret"]), psk)
    assert parse_ticket(vector["text"]) == ticket
    assert ticket.to_text() == vector["text"]


def test_white_space_within_does_no_harm() -> None:
    for vector in VECTORS["wrapped"]:
        assert parse_ticket(vector["text"]) == parse_ticket(VECTORS["accepted"][0]["text"])


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=named)
def test_what_is_no_ticket_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        parse_ticket(vector["text"])
