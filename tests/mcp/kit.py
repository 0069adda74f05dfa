"""`p2pwf mcp` as a client starts it, and the official SDK's client that speaks to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextResourceContents

from tests.e2e.kit import COMMAND, PATIENCE

ENDED = ("completed", "failed", "cancelled")
RUNS = """\
name: Count (p2p-workflow)
on: {workflow_dispatch: {inputs: {to: {required: true}}}}
jobs:
  count:
    runs-on: ubuntu-latest
    outputs: {last: "${{ steps.a.outputs.last }}"}
    steps:
      - {id: a, run: 'echo counting to ${{ inputs.to }}; echo last=${{ inputs.to }} >> $GITHUB_OUTPUT'}
      - run: mkdir -p out/deep; seq ${{ inputs.to }} > out/numbers.txt; printf '\\xff\\x00' > 'out/deep/two bytes'
      - {uses: actions/upload-artifact@v4, with: {name: figures, path: out}}
"""


def stdio(folder: Path) -> Client:
    """A client that starts a server on its own stdin and stdout, as assistants do."""
    command, *arguments = (*COMMAND, "mcp", "--data-dir", str(folder))
    return Client(
        StdioServerParameters(command=command, args=arguments, env={"PYTHONPATH": ":".join(filter(None, sys.path))})
    )


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool gives; it must have worked. The text for those who read no structure says the same."""
    told = await client.call_tool(tool, arguments)
    assert not told.is_error, told
    content = structured(told)
    assert content["success"] is True
    assert json.loads(text(told)) == content
    return content


async def fails(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool says that cannot do what it is asked to: an error of the tool, not of the protocol."""
    told = await client.call_tool(tool, arguments)
    assert told.is_error, told
    content = structured(told)
    assert content["success"] is False
    assert content["error"] in text(told)
    assert (content["hint"] or "") in text(told)
    return content


def structured(told: CallToolResult) -> dict[str, Any]:
    assert isinstance(told.structured_content, Mapping)
    return dict(told.structured_content)


def text(told: CallToolResult) -> str:
    (block,) = told.content
    assert block.type == "text"
    return block.text


async def read(client: Client, uri: str) -> list[Any]:
    return list((await client.read_resource(uri)).contents)


async def log(client: Client, run: str) -> str:
    (content,) = await read(client, f"p2pwf://runs/{run}/logs")
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "text/plain"
    return content.text


async def ended(client: Client, run: str) -> dict[str, Any]:
    """The status of a workflow once it is final."""
    with trio.fail_after(PATIENCE):
        while True:
            found = await call(client, "get_p2p_workflow_status", workflow_id=run)
            if found["status"] in ENDED:
                return found
            await trio.sleep(0.05)
