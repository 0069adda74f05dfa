"""Ids: CIDs of blocks and blobs, peer ids of Ed25519 keys. Knows nothing of what they name.

A CID here is always CIDv1 with sha2-256: `dag-cbor` (0x71) for events, `raw` (0x55) for blobs, 36 bytes in binary
and `bafy…`/`bafk…` (multibase base32, lower case, no padding) in text. Source: the multiformats CID specification.
A peer id is the libp2p one of an Ed25519 key: the base58btc text of an identity multihash of the public key's
protobuf, so that a signature needs no look-up. Source: the libp2p peer-ids specification.
"""

from __future__ import annotations

from base64 import b32decode, b32encode
from functools import lru_cache
from hashlib import sha256
from typing import NewType

import base58

from p2pwf.errors import UsageError

PeerId = NewType("PeerId", str)

DAG_CBOR_PREFIX = bytes((0x01, 0x71, 0x12, 0x20))
RAW_PREFIX = bytes((0x01, 0x55, 0x12, 0x20))
CID_LENGTH = 36
ED25519_PEER_PREFIX = bytes((0x00, 0x24, 0x08, 0x01, 0x12, 0x20))
PEER_ID_MAX_TEXT = 64
"""An Ed25519 peer id is 52 characters; decoding base58 is quadratic, so longer text is refused unread."""
PEER_CACHE = 8192
"""Keys of members met; a network has a few thousand members at the most."""


class Cid(bytes):
    """The 36 bytes of a CIDv1; a type of its own so that the codec can tell a link from a byte string."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The CID in multibase base32, as every IPLD tool prints it."""
        return "b" + b32encode(self).decode("ascii").rstrip("=").lower()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Cid({self.text})"


RunId = Cid
"""A run is named by the CID of its submission event."""


def block_cid(block: bytes) -> Cid:
    """The CID of a DAG-CBOR block."""
    return Cid(DAG_CBOR_PREFIX + sha256(block).digest())


def blob_cid(content: bytes) -> Cid:
    """The CID of a blob (codec raw)."""
    return Cid(RAW_PREFIX + sha256(content).digest())


def blob_cid_from_digest(digest: bytes) -> Cid:
    """The CID of a blob from its SHA-256 digest (32 bytes), for content hashed as it streams by."""
    if len(digest) != 32:
        raise ValueError("a SHA-256 digest has 32 bytes")
    return Cid(RAW_PREFIX + digest)


def is_cid(data: bytes) -> bool:
    """Whether `data` is the binary form of a CID of the two kinds used here."""
    return len(data) == CID_LENGTH and data[:4] in (DAG_CBOR_PREFIX, RAW_PREFIX)


def parse_cid(text: str) -> Cid:
    """The CID that `text` (multibase base32) names; raises UsageError for anything else."""
    try:
        body = text[1:].upper()
        data = b32decode(body + "=" * (-len(body) % 8)) if text.startswith("b") else b""
    except ValueError:
        data = b""
    cid = Cid(data)
    if not is_cid(data) or cid.text != text:
        raise UsageError(f"not a CID: {text[:80]!r}", "a CID looks like bafyrei… (59 characters)")
    return cid


@lru_cache(PEER_CACHE)
def peer_id_of(public_key: bytes) -> PeerId:
    """The peer id of a 32-byte Ed25519 public key."""
    if len(public_key) != 32:
        raise ValueError("an Ed25519 public key has 32 bytes")
    return PeerId(base58.b58encode(ED25519_PEER_PREFIX + public_key).decode("ascii"))


@lru_cache(PEER_CACHE)
def public_key_of(peer_id: str) -> bytes:
    """The 32-byte Ed25519 public key inlined in a peer id; raises UsageError for anything else."""
    try:
        data = base58.b58decode(peer_id) if len(peer_id) <= PEER_ID_MAX_TEXT else b""
    except ValueError:
        data = b""
    if len(data) != 38 or not data.startswith(ED25519_PEER_PREFIX) or peer_id_of(data[6:]) != peer_id:
        raise UsageError(
            f"not a peer id of an Ed25519 key: {peer_id[:80]!r}", "a peer id looks like 12D3KooW… (52 characters)"
        )
    return data[6:]
