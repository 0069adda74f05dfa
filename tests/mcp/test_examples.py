"""The configurations of clients in examples/mcp start what they say, and the page names what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

from p2pwf.cli.mcp import HTTP
from p2pwf.mcp import TOOLS
from p2pwf.mcp.http import PATH
from p2pwf.mcp.resources import ARTIFACT, LOGS
from tests.mcp.kit import call, stdio

HERE = Path(__file__).parents[2] / "examples" / "mcp"


def server(name: str) -> dict[str, object]:
    config: dict[str, dict[str, dict[str, object]]] = json.loads((HERE / name).read_text())
    (one,) = config["mcpServers"].values()
    return one


async def test_the_configuration_for_stdio_starts_a_server(tmp_path: Path) -> None:
    assert server("stdio.json") == {"command": "p2pwf", "args": ["mcp"]}
    async with stdio(tmp_path) as client:  # which adds a data folder, and nothing else
        file = HERE.parent / "p2p_workflows" / "demo.yml"
        assert (await call(client, "parse_workflow_tags", workflow_file=str(file)))["is_p2p"]


def test_the_configuration_for_http_names_the_address_that_is_taken_by_default() -> None:
    assert server("http.json")["url"] == f"http://{HTTP}{PATH}"


def test_the_page_names_every_tool_and_resource() -> None:
    page = (HERE / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \|", page, re.MULTILINE)
    assert [name for row in rows for name in row if name] == list(TOOLS)
    assert LOGS in page
    assert ARTIFACT in page
