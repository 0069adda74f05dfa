"""DAG-CBOR values as JSON, one way: links as {"/": text}, bytes as {"/": {"bytes": base64}}. Reads nothing.

Source: the IPLD DAG-JSON specification.
"""

from __future__ import annotations

from base64 import b64encode

from p2pwf.core.ids import Cid


def plain(value: object) -> object:
    """A copy of a DAG-CBOR value that JSON can hold."""
    if isinstance(value, Cid):
        return {"/": value.text}
    if isinstance(value, bytes):
        return {"/": {"bytes": b64encode(value).decode("ascii").rstrip("=")}}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
