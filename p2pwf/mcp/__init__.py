"""The ten tools for assistants. `P2PWorkflowTools` needs no MCP SDK: its methods are the tools, and give dicts."""

from __future__ import annotations

from p2pwf.mcp.tools import TOOLS, P2PWorkflowTools

__all__ = ["TOOLS", "P2PWorkflowTools"]
