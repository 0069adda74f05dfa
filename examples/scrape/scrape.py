"""Reads a website: the sections that its first page names, and what the pages of a section say. Standard library only.

scrape.py sections URL           the sections, as a JSON list
scrape.py pages URL SECTION      one JSON object a line: a product, or a link that leads nowhere
scrape.py merge FOLDER           all that the files *.jsonl below FOLDER hold, as one JSON object
"""

import json
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import urlopen

PATIENCE = 20
"""Seconds for one page."""


class Page(HTMLParser):
    """One page: its links, the text of its heading, and the texts that have a class."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.said: dict[str, str] = {}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        kind = values.get("class") or ""
        if tag == "a" and (href := values.get("href")):
            self.links.append((href, kind))
        self._inside = "name" if tag == "h1" else kind if tag == "span" else ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.said[self._inside] = data.strip()
            self._inside = ""


def read(url: str) -> Page | None:
    """A page, or None if the site has none there."""
    try:
        with urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - the user's own address
            return Page(answer.read().decode("utf-8"))
    except HTTPError as error:
        if error.code == 404:
            return None
        raise


def sections(url: str) -> list[str]:
    """What the first page calls its sections."""
    page = read(url)
    if page is None:
        raise SystemExit(f"{url} has no first page")
    return [href.strip("/") for href, kind in page.links if kind == "section"]


def pages(url: str, section: str) -> Iterator[dict[str, object]]:
    """What the pages of a section say, each once."""
    top = urljoin(url, f"{section}/")
    waiting, seen = [top], {top}
    while waiting:
        here = waiting.pop(0)
        page = read(here)
        if page is None:
            yield {"broken": here.removeprefix(url)}
            continue
        if "price" in page.said:
            price, stock = float(page.said["price"]), int(page.said["stock"])
            yield {"section": section, "name": page.said["name"], "price": price, "stock": stock}
        for href, _ in page.links:
            there = urljoin(here, href)
            if there.startswith(top) and there not in seen:
                seen.add(there)
                waiting.append(there)


def merge(folder: str) -> dict[str, object]:
    """All products by name, and all broken links."""
    lines = [line for file in sorted(Path(folder).rglob("*.jsonl")) for line in file.read_text().splitlines()]
    found = [json.loads(line) for line in lines]
    products = sorted((one for one in found if "name" in one), key=lambda one: one["name"])
    return {"products": products, "broken": sorted(one["broken"] for one in found if "broken" in one)}


match sys.argv[1:]:
    case ["sections", url]:
        print(json.dumps(sections(url)))
    case ["pages", url, section]:
        for one in pages(url, section):
            print(json.dumps(one))
    case ["merge", folder]:
        print(json.dumps(merge(folder), indent=2))
    case _:
        raise SystemExit(__doc__)
