"""Serves MCP on this process's stdin and stdout, until stdin ends. Knows no tool.

While it serves, the SDK keeps file descriptor 1 for its messages and lets whatever else writes there reach stderr.
"""

from __future__ import annotations

import signal
from pathlib import Path

import trio
from mcp.server.stdio import stdio_server

from p2pwf.mcp.server import make_server


def serve_stdio(folder: Path) -> None:
    """Serve the node of a data folder; returns when the client has closed stdin, or reads no more."""
    # A thread waits in a read of stdin that nothing can break off, and there is nothing here to bring to an end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    trio.run(_serve, folder)


async def _serve(folder: Path) -> None:
    server = make_server(folder)
    try:
        async with stdio_server() as (receive, send):
            await server.run(receive, send, server.create_initialization_options())
    except* BrokenPipeError:  # a client that dies is how many of them say good-bye
        pass
