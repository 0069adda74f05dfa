"""Vectors of sealed secrets: what opens with which key, and what does not. All keys are fixed: nothing is random."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt, sodium_pad
from nacl.public import Box, PrivateKey
from nacl.signing import VerifyKey

from p2pwf.core.ids import Cid, PeerId, public_key_of
from p2pwf.node.boxes import BLOCK, KEY, NONCE, Place
from scripts.core_vectors.scene import Author, Scene, seed


def box(key: bytes, peer: PeerId, ephemeral: bytes) -> bytes:
    """A sealed box as libsodium makes it, with an ephemeral key that is not random."""
    own = PrivateKey(ephemeral)
    theirs = VerifyKey(public_key_of(peer)).to_curve25519_public_key()
    nonce = blake2b(bytes(own.public_key) + bytes(theirs), digest_size=24).digest()
    return bytes(own.public_key) + Box(own, theirs).encrypt(key, nonce).ciphertext


def key_of(name: str) -> bytes:
    """The key that the value of a secret is encrypted under."""
    return seed(f"key of {name}")[:KEY]


def sealed(value: str, place: Place) -> bytes:
    """A value as a secret.set carries it."""
    nonce = seed(f"nonce of {place.name}")[:NONCE]
    key = key_of(place.name)
    padded = sodium_pad(value.encode(), BLOCK)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(padded, place.bound(), nonce, key)


def secret(
    network: Cid, name: str, peers: Iterable[PeerId], value: str = "correct horse", environment: str | None = None
) -> dict[str, object]:
    """The body of a secret.set."""
    boxes = {peer: box(key_of(name), peer, seed(f"{name} for {peer}")) for peer in peers}
    place = Place(network, environment, name)
    return {
        "name": name,
        "environment": environment,
        "value": sealed(value, place),
        "boxes": boxes,
        "submitters": [],
    }


def secret_vectors() -> dict[str, object]:
    """Each with the seed of a peer, the place, the sealed value and the box; and the value, or that there is none."""
    scene = Scene()
    ann, bob = (scene.author(name) for name in ("ann", "bob"))
    network = scene.genesis.cid
    cases = []
    for why, value, environment in (
        ("a word", "correct horse", None),
        ("of an environment", "correct horse", "production"),
        ("several lines", "-----BEGIN\nbüro\r\n-----END\n", None),
        ("as long as a block of padding", "x" * BLOCK, None),
    ):
        body = secret(network, "TOKEN", [ann.peer], value, environment)
        cases.append(_case(why, ann, network, body, value))
    body = secret(network, "TOKEN", [ann.peer])
    of_env = secret(network, "TOKEN", [ann.peer], environment="production")
    other = secret(network, "OTHER", [ann.peer])
    refused = [
        _case("another peer's key", bob, network, body, None, ann.peer),
        _case("passed off as that of an environment", ann, network, {**body, "environment": "production"}, None),
        _case("passed off as that of the network", ann, network, {**of_env, "environment": None}, None),
        _case("under another name", ann, network, {**body, "name": "OTHER"}, None),
        _case("the box of another secret", ann, network, {**body, "boxes": other["boxes"]}, None),
        _case("in another network", ann, Cid(bytes(network[:-1]) + b"\0"), body, None),
    ]
    return {"protocol": "secrets", "version": 1, "accepted": cases, "refused": refused}


def _case(
    name: str, author: Author, network: Cid, body: dict[str, object], value: str | None, of: PeerId | None = None
) -> dict[str, object]:
    boxes, data = body["boxes"], body["value"]
    assert isinstance(boxes, dict)
    assert isinstance(data, bytes)
    told: dict[str, object] = {
        "name": name,
        "seed": seed(author.name).hex(),
        "network": network.text,
        "environment": body["environment"],
        "secret": body["name"],
        "sealed": data.hex(),
        "box": boxes[of or author.peer].hex(),
    }
    return told if value is None else {**told, "value": value}
