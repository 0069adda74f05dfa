from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kit import Node
from tests.mcp.kit import WAITS, WORK, HttpServer, over_http


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all."""
    with Node(tmp_path_factory.mktemp("mcp") / "one", "--slots", "2", "--trust-members") as running:
        yield running.start().ready()


@pytest.fixture(scope="session")
def server(node: Node) -> Iterator[HttpServer]:
    """One server over HTTP for all, of that node."""
    with over_http(node.folder) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A workflow file: one job, with an output and an artifact."""
    path = tmp_path / "work.yml"
    path.write_text(WORK.format(name="Tell the level"))
    return path


@pytest.fixture
def waits(tmp_path: Path) -> Path:
    """A workflow file of a job that does not end by itself."""
    path = tmp_path / "waits.yml"
    path.write_text(WAITS)
    return path
