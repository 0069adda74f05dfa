"""`p2pwf mcp`: the tools for assistants, on stdio or over HTTP. The SDK is an extra, and imported when it is used."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from p2pwf.cli.base import Session, anywhere, print_line
from p2pwf.errors import UsageError
from p2pwf.places import data_dir

HTTP = "127.0.0.1:4071"
"""Where `--http` alone listens: beside the port of nodes."""
SDK = ("mcp", "mcp_types", "jsonschema")


@click.command()
@click.option(
    "--http",
    metavar="[HOST:PORT]",
    is_flag=False,
    flag_value=HTTP,
    help=f"Serve streamable HTTP on this loopback address (or {HTTP}).",
)
@anywhere
@click.pass_obj
def mcp(session: Session, http: str | None) -> None:
    """Serve the tools for assistants (Model Context Protocol): ten tools, logs and artifacts of runs.

    On stdin and stdout, as a client starts it; a node need not run yet. examples/mcp/ has configurations of clients.

    \b
      p2pwf mcp                        on stdio
      p2pwf mcp --http                 over HTTP, for who shows the token
      p2pwf mcp --http 127.0.0.1:0     on any free port
    """
    # stdout is the protocol's, or the ready line's.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    folder = data_dir(session.given)
    try:
        if http is None:
            from p2pwf.mcp.stdio import serve_stdio

            serve_stdio(folder)
        else:
            from p2pwf.mcp.http import loopback_address, serve_http

            host, port = loopback_address(http)
            _log_to_stderr()
            serve_http(folder, host, port, lambda url, file: _announce(session, url, file))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in SDK:
            raise
        raise UsageError(
            "the MCP SDK is not installed, or is older than version 2",
            "install p2pwf with its extra: pip install 'p2pwf[mcp]'",
        ) from error


def _announce(session: Session, url: str, token_file: Path) -> None:
    if session.json:
        print_line({"url": url, "token_file": str(token_file)})
    else:
        print(f"serving MCP on {url}\n  token in  {token_file}\nready", flush=True)


def _log_to_stderr() -> None:
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
