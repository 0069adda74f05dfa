"""The hashes of assignment and the distance between them. Knows nothing of who the candidates are.

All hashes are SHA-256 digests of 32 bytes; a distance is a number of bits, 0 to 256. Rules: protocols/assignment.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final

from p2pwf.core.dagcbor import DagCborError, Value, encode
from p2pwf.core.ids import CID_LENGTH, Cid
from p2pwf.errors import UsageError

DIGEST_BYTES: Final = 32
PEER_HASHES: Final = 65_536
"""Digests of peer ids kept, about 10 MB when full: networks have a few thousand members, so nearly all calls hit."""


class BadDigest(UsageError, ValueError):
    """A hash, a CID or a task that is not of the form that assignment needs."""


def clock_head(parents: Iterable[bytes]) -> bytes:
    """SHA-256 over the parents of a submission event: their binary CIDs (36 bytes each), sorted, concatenated."""
    links = sorted(parents)
    for link in links:
        if len(link) != CID_LENGTH:
            raise BadDigest(f"a binary CID has {CID_LENGTH} bytes, not {len(link)}")
    return sha256(b"".join(links)).digest()


def task_hash(run: bytes, job: str, leg: int = 0) -> bytes:
    """SHA-256 over DAG-CBOR of [run id as a link, job id, leg index]; the leg index of a plain job is 0."""
    if leg < 0:
        raise BadDigest(f"a leg index counts from 0, not {leg}")
    try:
        return sha256(encode([Cid(run), job, leg])).digest()
    except DagCborError as error:
        raise BadDigest(f"no task {job!r} leg {leg}: {error}") from error


def create_task_hash(data: Value) -> str:
    """The hash of a task that is not a job of a run, in hex: SHA-256 of bytes, of text as UTF-8, else of DAG-CBOR."""
    if isinstance(data, str):
        data = data.encode()
    if not isinstance(data, bytes):
        try:
            data = encode(data)
        except DagCborError as error:
            raise BadDigest(f"cannot hash this task: {error}", "use text, bytes or plain JSON values") from error
    return sha256(data).hexdigest()


def combined(head: bytes, task: bytes) -> bytes:
    """SHA-256(clock_head || task): the point that peers are compared with."""
    if len(head) != DIGEST_BYTES or len(task) != DIGEST_BYTES:
        raise BadDigest(f"clock head and task are {DIGEST_BYTES} bytes each, not {len(head)} and {len(task)}")
    return sha256(head + task).digest()


@lru_cache(PEER_HASHES)
def peer_hash(peer: str) -> bytes:
    """SHA-256 over the UTF-8 of a peer id in its text form."""
    return sha256(peer.encode()).digest()


def tie_break(point: bytes, peer: str) -> bytes:
    """SHA-256(combined || peer id): among peers at one distance the smallest goes first, so no id is favoured."""
    return sha256(point + peer.encode()).digest()


def distance(first: bytes, second: bytes) -> int:
    """Number of bits in which two byte strings of one length differ."""
    if len(first) != len(second):
        raise BadDigest(f"hashes of different length: {len(first)} and {len(second)} bytes")
    return (int.from_bytes(first) ^ int.from_bytes(second)).bit_count()


def hamming_distance(h1: str | bytes, h2: str | bytes) -> int:
    """Number of differing bits of two hashes of one length, each a hex digest or bytes. Raises BadDigest otherwise."""
    return distance(digest_bytes(h1), digest_bytes(h2))


def digest_bytes(digest: str | bytes) -> bytes:
    """The bytes of a hash given as hex or as bytes. Raises BadDigest if it is neither."""
    if isinstance(digest, bytes):
        return digest
    try:
        data = bytes.fromhex(digest)
    except (TypeError, ValueError):
        data = b""
    if data.hex() != str(digest).lower():  # fromhex skips spaces
        raise BadDigest(f"not a hex digest: {str(digest)[:80]!r}")
    return data
