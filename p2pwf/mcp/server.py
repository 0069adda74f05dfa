"""The MCP server: the ten tools and the resources of runs, as the official SDK serves them. Knows no transport.

A call of a tool or a read blocks, so it has a thread; how many may run and wait is bounded.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import mcp_types as types
import trio
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from p2pwf import __version__
from p2pwf.errors import P2pwfError, TryAgain, UsageError
from p2pwf.mcp.resources import ARTIFACT, ARTIFACT_FILE, LOGS, Content, Listed, RunResources
from p2pwf.mcp.schemas import INSTRUCTIONS, SPECS, ToolSpec
from p2pwf.mcp.tools import P2PWorkflowTools

T = TypeVar("T")
Context = ServerRequestContext[dict[str, Any]]
JsonObject = dict[str, Any]

MAX_ROWS: Final = 200
"""Workflows in one answer, the newest: some 100 KB, more than an assistant wants to read."""
MAX_RUNNING: Final = 8
"""Calls at work at a time, each in a thread."""
MAX_WAITING: Final = 64
"""Calls that wait for one of these; more is a client gone wild."""
ASKED_WRONGLY: Final = ("usage", "not_found", "refused")
"""Codes of errors that asking differently may mend."""
MAX_COMPLAINT: Final = 300
"""Characters of what is wrong with an argument: the text repeats the argument."""


def make_server(folder: Path) -> Server[dict[str, Any]]:
    """An MCP server over the node of a data folder, which need not run yet."""
    desk = _Desk(P2PWorkflowTools(data_dir=folder), RunResources(folder))
    return Server(
        "p2pwf",
        version=__version__,
        title="p2pwf",
        instructions=INSTRUCTIONS,
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
        on_list_resources=desk.list_resources,
        on_list_resource_templates=desk.list_templates,
        on_read_resource=desk.read_resource,
    )


class _Desk:
    """The handlers of the protocol's requests."""

    def __init__(self, tools: P2PWorkflowTools, resources: RunResources) -> None:
        self._tools = tools
        self._resources = resources
        self._threads = trio.CapacityLimiter(MAX_RUNNING)
        self._checks = {name: Draft202012Validator(spec.takes) for name, spec in SPECS.items()}

    async def list_tools(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(name, spec) for name, spec in SPECS.items()])

    async def call_tool(self, _: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in SPECS:
            raise MCPError(types.INVALID_PARAMS, f"no tool {params.name[:80]!r}; there are {', '.join(SPECS)}")
        arguments = params.arguments or {}
        try:
            self._check(params.name, arguments)
            told = await self._in_thread(lambda: getattr(self._tools, params.name)(**arguments))
        except P2pwfError as error:
            told = {"success": False, "error": error.message, "hint": error.hint, "code": error.code}
        return _answer(_bounded(told))

    async def list_resources(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        found = await self._read(self._resources.recent)
        return types.ListResourcesResult(resources=[_resource(one) for one in found])

    async def list_templates(
        self, _: Context, __: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        about = {
            LOGS: ("log", "What the jobs of a run wrote; of a long log the end.", "text/plain"),
            ARTIFACT: ("artifact", "The files of an artifact that a run has left.", None),
            ARTIFACT_FILE: ("artifact-file", "One file of an artifact, by its path in there.", None),
        }
        templates = [
            types.ResourceTemplate(name=name, uri_template=uri, description=text, mime_type=kind)
            for uri, (name, text, kind) in about.items()
        ]
        return types.ListResourceTemplatesResult(resource_templates=templates)

    async def read_resource(self, _: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        found = await self._read(lambda: self._resources.read(params.uri))
        return types.ReadResourceResult(contents=[_contents(one) for one in found])

    def _check(self, name: str, arguments: Mapping[str, Any]) -> None:
        wrong = best_match(self._checks[name].iter_errors(arguments))
        if wrong is not None:
            where = ".".join(str(part) for part in wrong.absolute_path)
            text = f"{where}: {wrong.message}" if where else wrong.message
            raise UsageError(
                text[:MAX_COMPLAINT], f"{name} takes {', '.join(SPECS[name].takes['properties']) or 'nothing'}"
            )

    async def _read(self, work: Callable[[], T]) -> T:
        """What a resource gives; an error is the protocol's own, with the hint, for a read has no other."""
        try:
            return await self._in_thread(work)
        except P2pwfError as error:
            code = types.INVALID_PARAMS if error.code in ASKED_WRONGLY else types.INTERNAL_ERROR
            text = f"{error.message}; {error.hint}" if error.hint else error.message
            raise MCPError(code, _clean(text), _clean({"code": error.code, "hint": error.hint})) from error

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._threads.statistics().tasks_waiting >= MAX_WAITING:
            raise TryAgain("too many calls at once", "wait for some of them to be answered")
        # Whoever cancels does not wait: what was asked of the node takes its course, the thread ends with it.
        # (libp2p brings type stubs of an older trio.)
        return await trio.to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=True)  # type: ignore[call-arg]


def _tool(name: str, spec: ToolSpec) -> types.Tool:
    return types.Tool(
        name=name,
        title=spec.title,
        description=spec.about,
        input_schema=spec.takes,
        output_schema=spec.gives,
        annotations=types.ToolAnnotations(
            title=spec.title,
            read_only_hint=spec.reads_only,
            destructive_hint=spec.destroys,
            idempotent_hint=spec.reads_only or spec.destroys or spec.again,
            open_world_hint=False,
        ),
    )


def _bounded(told: JsonObject) -> JsonObject:
    """An answer with its newest workflows only, and how many that leaves out."""
    rows = told.get("workflows")
    if not isinstance(rows, list):
        return told
    return {**told, "workflows": rows[-MAX_ROWS:], "left_out": max(0, len(rows) - MAX_ROWS)}


def _answer(told: JsonObject) -> types.CallToolResult:
    told = _clean(told)
    failed = not told["success"]
    text = json.dumps(told, ensure_ascii=False)
    if failed:
        text = f"error: {told['error']}" + (f"\nhint: {told['hint']}" if told["hint"] else "")
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=told, is_error=failed)


def _resource(one: Listed) -> types.Resource:
    return types.Resource(
        uri=one.uri, name=_clean(one.name), description=_clean(one.about), mime_type=one.kind, size=one.size
    )


def _contents(one: Content) -> types.TextResourceContents | types.BlobResourceContents:
    if isinstance(one.data, bytes):
        return types.BlobResourceContents(uri=one.uri, mime_type=one.kind, blob=b64encode(one.data).decode())
    return types.TextResourceContents(uri=one.uri, mime_type=one.kind, text=_clean(one.data))


def _clean(value: Any) -> Any:  # noqa: ANN401 - JSON
    """A value without halves of surrogate pairs: a job may print one, and no message can carry it."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
