"""Sealing secrets and opening them: libsodium, and this node's key. Knows no engine and no network.

A value is encrypted once, under a key of its own (XChaCha20-Poly1305), and that key is sealed to each peer (a sealed
box: X25519 from the peer's Ed25519 key). The value is padded, so that its length says little, and bound to its network,
environment and name, so that nobody can pass it off as another secret. Source: protocols/secrets.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import attrs
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    sodium_pad,
    sodium_unpad,
)
from nacl.exceptions import CryptoError
from nacl.public import SealedBox
from nacl.signing import SigningKey, VerifyKey
from nacl.utils import random

from p2pwf.core.dagcbor import encode
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId, public_key_of
from p2pwf.errors import Refused

DOMAIN: Final = "p2pwf/secret/1"
KEY: Final = 32
NONCE: Final = 24
BLOCK: Final = 256
"""Bytes that a value is padded to a multiple of: most secrets are of one length then."""


@attrs.frozen(slots=True)
class Place:
    """Which secret a value is: of a network, in an environment (None: everywhere), of a name in upper case."""

    network: Cid
    environment: str | None
    name: str

    @classmethod
    def of(cls, secret: Event) -> Place:
        """That of a secret.set."""
        body = cast("dict[str, Any]", secret.body)
        return cls(cast(Cid, secret.net), body["environment"], body["name"])

    def bound(self) -> bytes:
        """What the ciphertext is authenticated with."""
        return encode([DOMAIN, self.network, self.environment, self.name])


def seal_value(value: bytes, place: Place, peers: Iterable[PeerId]) -> tuple[bytes, dict[str, bytes]]:
    """The encrypted value, and of each peer the box with its key; peers whose key is no point of the curve get none."""
    key, nonce = random(KEY), random(NONCE)
    sealed = nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(sodium_pad(value, BLOCK), place.bound(), nonce, key)
    boxes = ((peer, seal_key(key, peer)) for peer in peers)
    return sealed, {peer: box for peer, box in boxes if box is not None}


def seal_key(key: bytes, peer: PeerId) -> bytes | None:
    """A box that only the holder of a peer's key opens; None if the peer id is of no key that can open one."""
    try:
        return SealedBox(VerifyKey(public_key_of(peer)).to_curve25519_public_key()).encrypt(key)
    except CryptoError:
        return None


def open_key(seed: bytes, secret: Event, boxes: Sequence[bytes]) -> bytes:
    """The key of a secret, from the boxes sealed to the peer of this seed; raises Refused if none of them holds it."""
    return _opened(seed, secret, boxes)[0]


def open_value(seed: bytes, secret: Event, boxes: Sequence[bytes]) -> str:
    """The value of a secret; raises Refused if none of the boxes opens it."""
    return _opened(seed, secret, boxes)[1].decode("utf-8", "replace")


def _opened(seed: bytes, secret: Event, boxes: Sequence[bytes]) -> tuple[bytes, bytes]:
    own = SealedBox(SigningKey(seed).to_curve25519_private_key())
    place = Place.of(secret)
    sealed = cast(bytes, secret.body["value"])
    for box in boxes:
        try:
            key = own.decrypt(box)
            padded = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[NONCE:], place.bound(), sealed[:NONCE], key)
            return key, sodium_unpad(padded, BLOCK)
        except CryptoError:
            continue
    where = f" of the environment {place.environment}" if place.environment else ""
    reason = "it is not sealed to this peer" if not boxes else "what is sealed to this peer does not open it"
    raise Refused(f"the secret {place.name}{where} cannot be opened here: {reason}", "have an admin set it anew")
