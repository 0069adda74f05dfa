"""Hiding secrets in text: a secret, each line of it, and the encodings it is likely to show in. Pure.

What is masked: the text itself, its base64 at each of the three offsets it can have inside a longer text (with either
alphabet), and its URL-, JSON- and hex-encoded forms. A secret that is reversed or spaced out cannot be found.
Source: the open runner's `ValueEncoders`, and the arithmetic of base64.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
MIN_ENCODED: Final = 6
"""Characters that an encoded form needs to be masked: a shorter one would hit innocent text everywhere."""
MAX_SECRETS: Final = 1024
"""Values that one job can mask; far above use, and it bounds the pattern."""
MAX_SECRET: Final = 64 * 1024
"""Characters of one masked value; it bounds how much of a cut line must be held back."""


class Masker:
    """The values to hide. Values are only ever added."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._secrets = 0
        self._pattern: re.Pattern[str] | None = None
        self._stale = False
        self.longest = 0
        """Characters of the longest form, 0 without any: a text cut into pieces must overlap by one less."""
        self.refused = 0
        """Values that were not taken because of a bound."""

    def add(self, secret: str) -> None:
        """Hide `secret`, and each line of it. Blank values hide nothing."""
        for value in {secret.strip("\r\n"), secret.strip(), *map(str.strip, secret.splitlines())}:
            if not value.strip():
                continue
            if self._secrets >= MAX_SECRETS or len(value) > MAX_SECRET:
                self.refused += 1
                continue
            self._secrets += 1
            self._forms.update(forms_of(value))
            self._stale = True
        self.longest = max(map(len, self._forms), default=0)

    def mask(self, text: str) -> str:
        """`text` with every hidden value replaced."""
        if self._stale:
            self._stale = False
            # Longest first: of two forms that start alike the whole one goes.
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._forms, key=len, reverse=True))))
        return self._pattern.sub(MASK, text) if self._pattern else text


def forms_of(value: str) -> Iterator[str]:
    """The value and the encoded forms of it that are long enough to be told from other text."""
    yield value
    data = value.encode("utf-8", "surrogateescape")
    for form in (
        *_base64(data),
        data.hex(),
        data.hex().upper(),
        quote(value, safe="", errors="replace"),
        quote_plus(value, errors="replace"),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
    ):
        if len(form) >= MIN_ENCODED:
            yield form


def _base64(data: bytes) -> Iterator[str]:
    """The part of the base64 text that depends on `data` alone, for each offset modulo 3 it can stand at."""
    for offset in range(3):
        text = b64encode(b"\0" * offset + data).decode("ascii")
        start = (0, 2, 3)[offset]
        tail = (offset + len(data)) % 3
        end = len(text) - (0, 3, 2)[tail]  # with a tail the last characters mix with what follows
        yield text[start:end]
        yield text[start:end].replace("+", "-").replace("/", "_")
