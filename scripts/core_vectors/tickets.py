"""Vectors of tickets: the word that is pasted, both ways, and words that are none."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterator

from p2pwf.core.dagcbor import encode
from p2pwf.core.ids import block_cid, peer_id_of
from p2pwf.core.tickets import MAX_ADDRESSES, MAX_TICKET, PREFIX, Ticket
from scripts.core_vectors.scene import seed

NETWORK = block_cid(b"network")
ADDRESS = f"/ip4/192.0.2.1/tcp/4070/p2p/{peer_id_of(seed('ann'))}"
SECRET, PSK = seed("secret")[:16], seed("psk")
WHOLE: dict[str, object] = {"net": NETWORK, "addrs": [ADDRESS], "secret": SECRET, "psk": None}


def word(data: bytes) -> str:
    """Bytes as the text of a ticket."""
    return PREFIX + b32encode(data).decode("ascii").rstrip("=").lower()


def faults() -> Iterator[tuple[str, str]]:
    """Words that are no ticket."""
    good = word(encode(WHOLE))
    yield "nothing", ""
    yield "another prefix", "p2pwf2" + good[len(PREFIX) :]
    yield "the prefix alone", PREFIX
    yield "the last character is missing", good[:-1]
    yield "a character too many", good + "a"
    yield "a digit that base32 has not", good[:-3] + "1" + good[-2:]
    yield "too long", word(encode({**WHOLE, "addrs": ["x" * MAX_TICKET]}))
    wrong: list[tuple[str, dict[str, object]]] = [
        ("a field too many", {"ttl": 60}),
        ("no address", {"addrs": []}),
        ("seventeen addresses", {"addrs": ["/ip4/192.0.2.1/tcp/1"] * (MAX_ADDRESSES + 1)}),
        ("an address that is bytes", {"addrs": [b"/"]}),
        ("a secret of 15 bytes", {"secret": SECRET[:15]}),
        ("a secret that is text", {"secret": "x" * 16}),
        ("a key of 31 bytes", {"psk": PSK[:31]}),
        ("a network that is text", {"net": NETWORK.text}),
    ]
    for why, changes in wrong:
        yield why, word(encode({**WHOLE, **changes}))
    yield "a field too few", word(encode({"net": NETWORK, "addrs": [ADDRESS], "secret": SECRET}))
    yield "a list", word(encode([NETWORK, [ADDRESS], SECRET, None]))
    yield "not canonical", word(b"\xbf" + encode(WHOLE)[1:] + b"\xff")


def ticket_vectors() -> dict[str, object]:
    """All vectors of tickets."""
    cases = [
        ("of an open network", Ticket(NETWORK, (ADDRESS,), SECRET)),
        ("of a private network", Ticket(NETWORK, (ADDRESS,), SECRET, PSK)),
        ("sixteen addresses", Ticket(NETWORK, tuple(f"/ip4/192.0.2.1/tcp/{port}" for port in range(16)), SECRET)),
    ]
    accepted = [
        {
            "name": name,
            "net": ticket.network.text,
            "addrs": list(ticket.addresses),
            "secret": ticket.secret.hex(),
            "psk": None if ticket.psk is None else ticket.psk.hex(),
            "block": encode(
                {"net": ticket.network, "addrs": ticket.addresses, "secret": ticket.secret, "psk": ticket.psk}
            ).hex(),
            "text": ticket.to_text(),
        }
        for name, ticket in cases
    ]
    return {
        "protocol": "tickets",
        "version": 1,
        "accepted": accepted,
        "wrapped": [
            {"why": "white space, as mail leaves it", "text": _wrapped(str(accepted[0]["text"]))},
            {"why": "upper case, as a code to scan holds it", "text": str(accepted[0]["text"]).upper()},
        ],
        "refused": [{"why": why, "text": text} for why, text in faults()],
    }


def _wrapped(text: str) -> str:
    return f"  {text[:70]}\r\n\t{text[70:]} \n"
