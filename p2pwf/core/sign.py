"""Signing and verifying with Ed25519 (PyNaCl: twice as fast as `cryptography`, and releases the GIL).

A signature covers a domain prefix and the block, so that what is signed here can never be taken for a message of
another protocol that the same key signs (libp2p's Noise handshake and pubsub use prefixes of their own).
"""

from __future__ import annotations

from functools import lru_cache

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from p2pwf.core.ids import PeerId, peer_id_of, public_key_of

DOMAIN = b"p2pwf/event/1\0"
SIGNATURE_LENGTH = 64
SEED_LENGTH = 32


class Signer:
    """One Ed25519 identity: `seed` is the 32-byte private seed, as RFC 8032 names it."""

    __slots__ = ("_key", "peer_id")

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.peer_id: PeerId = peer_id_of(bytes(self._key.verify_key))

    def sign(self, block: bytes) -> bytes:
        """The 64-byte signature of an event's block."""
        return bytes(self._key.sign(DOMAIN + block).signature)


@lru_cache(8192)
def _known_key(author: PeerId) -> bytes:
    return public_key_of(author)


def verify(author: PeerId, block: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is `author`'s over `block`; raises UsageError if `author` is no peer id."""
    if len(signature) != SIGNATURE_LENGTH:
        return False
    try:
        crypto_sign_open(signature + DOMAIN + block, _known_key(author))
    except (BadSignatureError, ValueError):
        return False
    return True
