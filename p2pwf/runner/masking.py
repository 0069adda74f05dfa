"""Hiding secrets in text: a secret, each line of it, and the encodings it is likely to show in. Pure.

What is masked: the text itself, its base64 at each of the three offsets it can have inside a longer text (with either
alphabet) and, of the text alone, broken into lines; its URL-, JSON-, XML- and hex-encoded forms, its form in an
expression, without quotes around it, and what is beside its last ampersand. A secret that is reversed or spaced out
cannot be found.
Source: the open runner's `ValueEncoders`, and the arithmetic of base64.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
MIN_ENCODED: Final = 6
"""Characters that an encoded form needs to be masked: a shorter one would hit innocent text everywhere."""
MAX_SECRET: Final = 64 * 1024
"""Characters of one masked value; it bounds how much of a cut line must be held back."""
MAX_CHARACTERS: Final = 1024 * 1024
"""Of all masked values of a job together: their forms take some twenty times as much memory."""
TOO_MUCH: Final = "*** (hidden whole: this job masks more than can be looked for)"
FEW_FORMS: Final = 64
"""Up to so many forms one pattern is the fastest; beyond, looking up how each place begins."""
WIDTHS: Final = (64, 76)
"""Columns at which programs break base64 text into lines."""
START: Final = 4
"""Characters by which forms are looked up."""


class Masker:
    """The values to hide. Values are only ever added.

    Nothing goes on unmasked: where a value or all of them together are too much to look for, no text is shown any more.
    """

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._characters = 0
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._short: re.Pattern[str] | None = None
        self._by_start: dict[str, list[str]] = {}
        self._fresh: set[str] = set()
        self.longest = 0
        """Characters of the longest form, 0 without any: a text cut into pieces must overlap by one less."""
        self.overflow = False
        """Whether there is more to hide than can be looked for."""

    def add(self, secret: str) -> None:
        """Hide `secret`, and each line of it. Blank values hide nothing."""
        lines = [line.strip() for line in secret.splitlines()]
        for value in dict.fromkeys((secret.strip("\r\n"), secret.strip(), *lines)):
            if not value.strip() or value in self._values:
                continue
            if len(value) > MAX_SECRET and len(lines) > 1 and value not in lines:
                continue  # text is masked line by line, so its lines do
            self._characters += len(value)
            if len(value) > MAX_SECRET or self._characters > MAX_CHARACTERS:
                self.overflow = True
                continue
            self._values.add(value)
            fresh = set(forms_of(value)) - self._forms
            self._forms |= fresh
            self._fresh |= fresh
            self.longest = max(self.longest, *map(len, fresh), 0) if fresh else self.longest

    def mask(self, text: str) -> str:
        """`text` with every hidden value replaced: of several that begin at one place the longest.

        Cost: linear in the text, however many values there are, but for those of fewer than START characters.
        """
        if self.overflow:
            return TOO_MUCH
        if self._fresh:
            self._take_fresh()
        if self._pattern is not None:
            return self._pattern.sub(MASK, text)
        return self._scan(text) if self._by_start or self._short is not None else text

    def _take_fresh(self) -> None:
        if len(self._forms) <= FEW_FORMS:
            self._pattern = _any_of(self._forms)
        else:
            fresh = self._forms if self._pattern is not None else self._fresh
            self._pattern = None
            for form in fresh:
                if len(form) >= START:
                    alike = self._by_start.setdefault(form[:START], [])
                    if form not in alike:
                        alike.append(form)
            for start in {form[:START] for form in fresh if len(form) >= START}:
                self._by_start[start].sort(key=len, reverse=True)
            short = {form for form in self._forms if len(form) < START}
            self._short = _any_of(short) if short else None
        self._fresh = set()

    def _scan(self, text: str) -> str:
        by_start = self._by_start
        places = [at for at in range(len(text)) if text[at : at + START] in by_start]
        if self._short is not None:
            places = sorted({*places, *(found.start() for found in self._short.finditer(text))})
        parts, done = [], 0
        for at in places:
            if at < done:
                continue
            form = next((one for one in by_start.get(text[at : at + START], ()) if text.startswith(one, at)), None)
            if form is None and self._short is not None and (found := self._short.match(text, at)) is not None:
                form = found.group()
            if form is not None:
                parts += [text[done:at], MASK]
                done = at + len(form)
        return "".join((*parts, text[done:])) if parts else text


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    # Longest first: of two forms that start alike the whole one goes.
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))


def forms_of(value: str) -> Iterator[str]:
    """The value and the encoded forms of it that are long enough to be told from other text."""
    yield value
    data = value.encode("utf-8", "surrogateescape")
    for form in (
        *_base64(data),
        *_wrapped(data),
        data.hex(),
        data.hex().upper(),
        quote(value, safe="", errors="replace"),
        quote(value, errors="replace"),
        quote_plus(value, errors="replace"),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        escape(value, quote=False),
        escape(value),
        value.replace("'", "''"),
        value.strip('"'),
        *_beside_ampersand(value),
    ):
        if len(form) >= MIN_ENCODED:
            yield form


def _beside_ampersand(value: str) -> Iterator[str]:
    """What stands before and after the last `&`, or `&+`: PowerShell may show them apart in an error."""
    mark = "&+" if "&+" in value else "&"
    before, found, after = value.rpartition(mark)
    if found:
        yield before + "&"
        yield after


def _wrapped(data: bytes) -> Iterator[str]:
    """The lines of base64 text that is broken into lines, as `base64` and `openssl` do: but for the last, which may go
    on with what follows, all that a line says."""
    for width in WIDTHS:
        size = width // 4 * 3
        for start in range(0, len(data), size) if len(data) > size else ():
            line = data[start : start + size]
            yield b64encode(line).decode("ascii") if len(line) == size else next(_base64(line))


def _base64(data: bytes) -> Iterator[str]:
    """The part of the base64 text that depends on `data` alone, for each offset modulo 3 it can stand at."""
    for offset in range(3):
        text = b64encode(b"\0" * offset + data).decode("ascii")
        start = (0, 2, 3)[offset]
        tail = (offset + len(data)) % 3
        end = len(text) - (0, 3, 2)[tail]  # with a tail the last characters mix with what follows
        yield text[start:end]
        yield text[start:end].replace("+", "-").replace("/", "_")
