"""Sealed values open with the keys that the vectors give, in the words of the page, and not where they were moved."""

from __future__ import annotations

from typing import Any, cast

import pytest
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_sign_ed25519_sk_to_curve25519
from nacl.public import PrivateKey, SealedBox
from nacl.signing import SigningKey

from p2pwf.core.events import Event
from p2pwf.core.ids import parse_cid
from p2pwf.core.sign import Signer
from p2pwf.errors import Refused
from p2pwf.node.boxes import Place, open_value, seal_value
from tests.kit import signer
from tests.protocols.kit import load, named


class Set:
    """As much of a secret.set as opening one looks at."""

    def __init__(self, vector: dict[str, Any]) -> None:
        self.net = parse_cid(vector["network"])
        value = bytes.fromhex(vector["sealed"])
        self.body = {"name": vector["secret"], "environment": vector["environment"], "value": value}


def opened(vector: dict[str, Any]) -> str:
    boxes = [bytes(80), bytes.fromhex(vector["box"])]  # one that is no good comes first
    return open_value(bytes.fromhex(vector["seed"]), cast(Event, Set(vector)), boxes)


@pytest.mark.parametrize("vector", load("secrets")["accepted"], ids=named)
def test_a_sealed_value_opens(vector: dict[str, Any]) -> None:
    assert opened(vector) == vector["value"]


@pytest.mark.parametrize("vector", load("secrets")["refused"], ids=named)
def test_what_was_moved_or_is_not_ours_does_not(vector: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="cannot be opened here") as told:
        opened(vector)
    assert "correct" not in str(told.value)


def test_what_is_sealed_here_opens_by_the_words_of_the_page() -> None:
    seed, network = bytes(range(32)), parse_cid(load("secrets")["accepted"][0]["network"])
    peers = [Signer(seed).peer_id, signer(1).peer_id]
    sealed, boxes = seal_value(b"x" * 300, Place(network, None, "TOKEN"), peers)
    assert (len(sealed), sorted(boxes)) == (24 + 512 + 16, sorted(peers))
    assert seal_value(b"", Place(network, None, "TOKEN"), peers)[0] != sealed
    pair = bytes(SigningKey(seed)) + bytes(SigningKey(seed).verify_key)
    key = SealedBox(PrivateKey(crypto_sign_ed25519_sk_to_curve25519(pair))).decrypt(boxes[peers[0]])
    link = b"\xd8\x2a\x58\x25\x00" + network
    bound = b"\x84\x6e" + b"p2pwf/secret/1" + link + b"\xf6\x65TOKEN"
    plain = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], bound, sealed[:24], key)
    assert plain == b"x" * 300 + b"\x80" + b"\0" * 211
