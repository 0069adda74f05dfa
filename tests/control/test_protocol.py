"""The client's half of the protocol, without a socket; and the OpenAPI document beside the routes."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route

from p2pwf.control import openapi
from p2pwf.control.client import target_of
from p2pwf.control.protocol import Exchange
from p2pwf.control.routes import make_app
from p2pwf.errors import NoNode, NotFound
from tests.control.kit import MemoryApi

STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
    b'9\r\n{"a": 1}\n\r\n5\r\n{"a":\r\n4\r\n 2}\n\r\n0\r\n\r\n'
)
PAGE = Path(__file__).resolve().parents[2] / "protocols" / "control.md"


def begun() -> Exchange:
    exchange = Exchange()
    exchange.start("GET", "/v1/x")
    return exchange


@given(st.lists(st.integers(min_value=1, max_value=len(STREAM) - 1), max_size=20))
def test_a_stream_reads_the_same_however_it_is_cut(cuts: list[int]) -> None:
    exchange = begun()
    places = [0, *sorted(set(cuts)), len(STREAM)]
    values = [value for start, end in pairwise(places) for value in exchange.feed(STREAM[start:end])]
    assert values == [{"a": 1}, {"a": 2}]
    assert exchange.done


def test_a_stream_without_its_end_is_an_error() -> None:
    exchange = begun()
    assert list(exchange.feed(STREAM[:-5])) == [{"a": 1}, {"a": 2}]
    with pytest.raises(NoNode, match="went away"):
        list(exchange.feed(b""))


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhtml"])
def test_what_is_no_node_is_told_as_none(answer: bytes) -> None:
    with pytest.raises(NoNode):
        list(begun().feed(answer))


def test_an_error_answer_is_raised() -> None:
    body = b'{"error": {"code": "not_found", "message": "no run", "hint": null}}'
    head = b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n" % len(body)
    with pytest.raises(NotFound, match="no run"):
        list(begun().feed(head + body))


def test_targets_are_quoted() -> None:
    assert target_of("runs", "a/b?c") == "/v1/runs/a%2Fb%3Fc"
    assert target_of("runs", query={"job": "m (1)", "follow": True, "x": None, "y": False}) == (
        "/v1/runs?job=m%20%281%29&follow=true"
    )


def routes() -> set[tuple[str, str]]:
    found = set()
    for route in make_app(MemoryApi()).routes:
        assert isinstance(route, Route)
        found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
    return found


def test_every_route_is_documented_and_every_documented_route_exists() -> None:
    paths = cast("dict[str, dict[str, Any]]", openapi.document()["paths"])
    assert routes() == {(method.upper(), path) for path, operations in paths.items() for method in operations}


def test_the_page_names_every_route() -> None:
    told = set(re.findall(r"^\| `(GET|POST|PATCH|DELETE) (/v1/\S+?)[?`]", PAGE.read_text(), re.MULTILINE))
    assert told == routes()


def test_the_document_refers_to_schemas_that_it_has() -> None:
    document = openapi.document()
    wanted = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert wanted == set(document["components"]["schemas"])
