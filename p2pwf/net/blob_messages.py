"""The messages of the blob protocol, as bytes and as values. No I/O; see protocols/blob.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from attrs import field, frozen

from p2pwf.core.dagcbor import Value
from p2pwf.core.ids import RAW_PREFIX, Cid, PeerId, public_key_of
from p2pwf.errors import RemoteError, UsageError
from p2pwf.net.requests import decode_message, encode_message

MAX_MESSAGE = 1 << 16
"""Bytes of a request, and of the head of an answer."""
MAX_HELD = 1024
"""Blobs named in one request to hold: about 41 bytes each."""
OK, ABSENT, BUSY, RANGE, UNREACHABLE = "ok", "absent", "busy", "range", "unreachable"
REFUSALS = (ABSENT, BUSY, RANGE, UNREACHABLE)


def _cids(cids: Iterable[Cid]) -> tuple[Cid, ...]:
    return tuple(cids)


@frozen
class Fetch:
    """Send the blob from `offset` on, at most `length` bytes; `via`: the peer to get it from, if not the one asked."""

    cid: Cid
    offset: int = 0
    length: int | None = None
    via: PeerId | None = None


@frozen
class Hold:
    """Fetch these blobs from the peer that asks, and keep them."""

    cids: tuple[Cid, ...] = field(converter=_cids)


@frozen
class Sending:
    """The answer to Fetch: the blob has `size` bytes in all, and those asked for follow from `offset` on."""

    offset: int
    size: int


@frozen
class Refusal:
    """The answer to Fetch if nothing follows; `status` is one of REFUSALS."""

    status: str


@frozen
class Held:
    """The answer to Hold: these are held now."""

    cids: tuple[Cid, ...] = field(converter=_cids)


Request: TypeAlias = Fetch | Hold
FetchAnswer: TypeAlias = Sending | Refusal


def encode(message: Request | FetchAnswer | Held) -> bytes:
    """A message as it is sent, without its frame."""
    match message:
        case Fetch(cid, offset, length, via):
            return encode_message({"cid": cid, "length": length, "offset": offset, "via": via})
        case Hold(cids):
            return encode_message({"hold": list(cids)})
        case Sending(offset, size):
            return encode_message({"offset": offset, "size": size, "status": OK})
        case Refusal(status):
            return encode_message({"status": status})
        case Held(cids):
            return encode_message({"held": sorted(cids)})


def decode_request(data: bytes) -> Request:
    """A request received; raises RemoteError for anything malformed."""
    match decode_message(data, MAX_MESSAGE):
        case {"hold": list(cids), **rest} if not rest:
            return Hold(_blobs(cids))
        case {
            "cid": Cid() as cid,
            "length": (int() | None) as length,
            "offset": int(offset),
            "via": (str() | None) as via,
            **rest,
        } if not rest and _is_blob(cid) and _is_count(offset) and (length is None or _is_count(length)):
            return Fetch(cid, offset, length, peer_named(via) if via is not None else None)
    raise RemoteError("a malformed request for a blob")


def decode_fetch_answer(data: bytes) -> FetchAnswer:
    """The head of an answer to Fetch; raises RemoteError for anything malformed."""
    match decode_message(data, MAX_MESSAGE):
        case {"status": str(status), **rest} if not rest and status in REFUSALS:
            return Refusal(status)
        case {"status": "ok", "offset": int(offset), "size": int(size), **rest} if (
            not rest and _is_count(offset) and _is_count(size) and offset <= size
        ):
            return Sending(offset, size)
    raise RemoteError("a malformed answer to a request for a blob")


def decode_held(data: bytes) -> Held:
    """The answer to Hold; raises RemoteError for anything malformed."""
    match decode_message(data, MAX_MESSAGE):
        case {"held": list(cids), **rest} if not rest:
            return Held(_blobs(cids))
    raise RemoteError("a malformed answer to a request to hold blobs")


def peer_named(text: str) -> PeerId:
    """The peer that a relayed request names; raises RemoteError if it is no peer id."""
    try:
        public_key_of(text)
    except UsageError as error:
        raise RemoteError("a relayed request that names no peer") from error
    return PeerId(text)


def _blobs(values: list[Value]) -> tuple[Cid, ...]:
    cids = tuple(value for value in values if isinstance(value, Cid) and _is_blob(value))
    if len(cids) != len(values) or len(cids) > MAX_HELD:
        raise RemoteError("a malformed list of blobs")
    return cids


def _is_blob(cid: Cid) -> bool:
    return cid.startswith(RAW_PREFIX)


def _is_count(value: int) -> bool:
    return not isinstance(value, bool) and value >= 0
