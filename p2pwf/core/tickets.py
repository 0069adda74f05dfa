"""Tickets: one pasteable word that holds all a peer needs to join. See protocols/join.md.

The text is `p2pwf1` and the base32 (lower case, no padding) of a DAG-CBOR map {net, addrs, secret, psk}. The secret is
good once, at its issuer only; the PSK, on private networks, is what their connections are keyed with.
"""

from __future__ import annotations

from base64 import b32decode, b32encode
from typing import Final

import attrs

from p2pwf.core.dagcbor import DagCborError, decode, encode
from p2pwf.core.ids import Cid
from p2pwf.errors import UsageError

PREFIX: Final = "p2pwf1"
MAX_TICKET: Final = 4096
"""Characters: sixteen addresses and the keys fit in half of it."""
MAX_ADDRESSES: Final = 16
SECRET_LENGTH: Final = 16
PSK_LENGTH: Final = 32


@attrs.frozen(slots=True)
class Ticket:
    """`addresses`: multiaddrs of the issuer, with its peer id. `secret`: 16 random bytes. `psk`: 32 bytes or None."""

    network: Cid
    addresses: tuple[str, ...]
    secret: bytes = attrs.field(repr=False)
    psk: bytes | None = attrs.field(default=None, repr=False)

    def to_text(self) -> str:
        """The word to paste."""
        data = encode({"net": self.network, "addrs": self.addresses, "secret": self.secret, "psk": self.psk})
        return PREFIX + b32encode(data).decode("ascii").rstrip("=").lower()


def parse_ticket(text: str) -> Ticket:
    """The ticket in a word; raises UsageError if it is none, or not whole."""
    word = "".join(text.split())
    broken = UsageError(
        "that is not a p2pwf ticket", "a ticket is one word, p2pwf1…, from `p2pwf invite`: paste all of it"
    )
    if word[: len(PREFIX)].lower() != PREFIX or len(word) > MAX_TICKET:
        raise broken
    body = word[len(PREFIX) :].upper()
    try:
        value = decode(b32decode(body + "=" * (-len(body) % 8)))
    except (DagCborError, ValueError):
        raise broken from None
    if not isinstance(value, dict) or value.keys() != {"net", "addrs", "secret", "psk"}:
        raise broken
    network, addresses, secret, psk = value["net"], value["addrs"], value["secret"], value["psk"]
    if (
        not isinstance(network, Cid)
        or not isinstance(addresses, list)
        or not 0 < len(addresses) <= MAX_ADDRESSES
        or not all(isinstance(address, str) for address in addresses)
        or not isinstance(secret, bytes)
        or len(secret) != SECRET_LENGTH
        or not (psk is None or (isinstance(psk, bytes) and len(psk) == PSK_LENGTH))
    ):
        raise broken
    return Ticket(network, tuple(str(address) for address in addresses), secret, psk)
