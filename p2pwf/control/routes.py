"""The routes of the control API: from HTTP requests to the methods of a ControlApi, and back. Knows no socket.

Each route is in openapi.py as well; a test holds the two together.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from p2pwf.config import MAX_HISTORY_DAYS
from p2pwf.control.api import ControlApi
from p2pwf.control.openapi import STATUS, document
from p2pwf.control.replies import LineStream, error_reply, json_reply
from p2pwf.control.requests import Fields, body_fields, nothing_more, query_fields
from p2pwf.errors import InternalError, NotFound, P2pwfError, UsageError
from p2pwf.requests import SubmitRequest

PREFIX = "/v1"
ROLES = ["submit", "run"]
"""The roles given where a caller names none."""

Handler = Callable[[Request], Awaitable[Response]]

_log = structlog.get_logger()


class _PartsRoute(Route):
    """A route whose parts are told apart before they are decoded: the name of a peer or a schedule may hold a slash."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches({**scope, "path": scope["raw_path"].decode("ascii")})
        parts = {name: unquote(part) for name, part in found.get("path_params", {}).items()}
        return match, {**found, "path_params": parts}


def make_app(api: ControlApi) -> Starlette:
    """The ASGI application on an implementation of the control API."""
    return Starlette(
        routes=[_PartsRoute(PREFIX + path, handler, methods=[method]) for method, path, handler in _handlers(api)],
        exception_handlers={P2pwfError: _on_error, HTTPException: _on_http, Exception: _on_bug},
    )


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, P2pwfError)
    return error_reply(error)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return error_reply(UsageError(f"{request.method} is not a method of {request.url.path}"), 405)
    return error_reply(NotFound(f"no such route: {request.url.path}", f"see {PREFIX}/openapi.json"))


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("a control request failed", method=request.method, path=request.url.path, exc_info=error)
    return error_reply(InternalError(f"{type(error).__name__} in the node", "its log has more: please report it"))


def _handlers(api: ControlApi) -> list[tuple[str, str, Handler]]:
    return [
        *_node_handlers(api),
        *_run_handlers(api),
        *_schedule_handlers(api),
        *_setting_handlers(api),
        *_clock_handlers(api),
    ]


def _node_handlers(api: ControlApi) -> list[tuple[str, str, Handler]]:
    async def info(_: Request) -> Response:
        return json_reply(await api.info())

    async def status(_: Request) -> Response:
        return json_reply(await api.status())

    async def stats(_: Request) -> Response:
        return json_reply(await api.stats())

    async def shutdown(request: Request) -> Response:
        await nothing_more(request)
        return json_reply(await api.shutdown())

    async def pause(request: Request) -> Response:
        fields = await body_fields(request)
        on = fields.needed_flag("on")
        fields.done()
        return json_reply(await api.pause(on))

    async def policy_reload(request: Request) -> Response:
        await nothing_more(request)
        return json_reply(await api.policy_reload())

    async def leave(request: Request) -> Response:
        fields = await body_fields(request)
        keep = fields.flag("keep_runs")
        fields.done()
        return json_reply(await api.leave(keep))

    async def openapi(_: Request) -> Response:
        return json_reply(document())

    async def invite(request: Request) -> Response:
        fields = await body_fields(request)
        ttl, roles = fields.number("ttl"), fields.texts("roles")
        fields.done()
        return json_reply(await api.invite(24 * 3600.0 if ttl is None else ttl, roles or ROLES))

    async def peers(request: Request) -> Response:
        fields = query_fields(request)
        pending = fields.flag("pending")
        fields.done()
        return json_reply(await api.peers(pending))

    async def peer_add(request: Request) -> Response:
        fields = await body_fields(request)
        peer, name, roles = fields.needed_text("peer_id"), fields.text("name"), fields.texts("roles")
        fields.done()
        return json_reply(await api.peer_add(peer, name, roles or ROLES))

    async def peer_remove(request: Request) -> Response:
        fields = query_fields(request)
        keep = fields.flag("keep_runs")
        fields.done()
        return json_reply(await api.peer_remove(request.path_params["peer"], keep))

    async def peer_ping(request: Request) -> Response:
        await nothing_more(request)
        return json_reply(await api.peer_ping(request.path_params["peer"]))

    return [
        ("GET", "/info", info),
        ("GET", "/status", status),
        ("GET", "/stats", stats),
        ("POST", "/shutdown", shutdown),
        ("POST", "/pause", pause),
        ("POST", "/policy/reload", policy_reload),
        ("POST", "/leave", leave),
        ("GET", "/openapi.json", openapi),
        ("POST", "/invites", invite),
        ("GET", "/peers", peers),
        ("POST", "/peers", peer_add),
        ("DELETE", "/peers/{peer}", peer_remove),
        ("POST", "/peers/{peer}/ping", peer_ping),
    ]


def _run_handlers(api: ControlApi) -> list[tuple[str, str, Handler]]:
    async def submit(request: Request) -> Response:
        return json_reply(await api.submit(_submission(await body_fields(request))))

    async def rerun(request: Request) -> Response:
        fields = await body_fields(request)
        failed, jobs = fields.flag("failed"), fields.texts("jobs")
        fields.done()
        return json_reply(await api.rerun(request.path_params["run"], failed, jobs or []))

    async def assign(request: Request) -> Response:
        await nothing_more(request)
        return json_reply(await api.assign())

    async def list_runs(request: Request) -> Response:
        fields = query_fields(request)
        status, peer = fields.choice("status", STATUS["enum"]), fields.text("peer_id")
        fields.done()
        return json_reply(await api.list_runs(status, peer))

    async def run_status(request: Request) -> Response:
        return json_reply(await api.run_status(request.path_params["run"]))

    async def update(request: Request) -> Response:
        fields = await body_fields(request)
        status, priority = fields.text("status"), fields.number("priority")
        result, error, job = fields.anything("result"), fields.text("error"), fields.text("job")
        fields.done()
        return json_reply(await api.update(request.path_params["run"], status, priority, result, error, job))

    async def cancel(request: Request) -> Response:
        fields = await body_fields(request)
        force = fields.flag("force")
        fields.done()
        return json_reply(await api.cancel(request.path_params["run"], force))

    async def watch(request: Request) -> Response:
        return LineStream(api.watch(request.path_params["run"]))

    async def logs(request: Request) -> Response:
        fields = query_fields(request)
        job, follow = fields.text("job"), fields.flag("follow")
        fields.done()
        return LineStream(api.logs(request.path_params["run"], job, follow))

    async def artifacts(request: Request) -> Response:
        return json_reply(await api.artifacts(request.path_params["run"]))

    async def artifact_files(request: Request) -> Response:
        return LineStream(api.artifact_files(request.path_params["run"], request.path_params["name"]))

    async def reports(request: Request) -> Response:
        return json_reply(await api.reports(request.path_params["run"]))

    async def explain(request: Request) -> Response:
        fields = query_fields(request)
        job = fields.needed_text("job")
        fields.done()
        return json_reply(await api.explain(request.path_params["run"], job))

    return [
        ("POST", "/runs", submit),
        ("GET", "/runs", list_runs),
        ("POST", "/assign", assign),
        ("GET", "/runs/{run}", run_status),
        ("PATCH", "/runs/{run}", update),
        ("POST", "/runs/{run}/cancel", cancel),
        ("POST", "/runs/{run}/rerun", rerun),
        ("GET", "/runs/{run}/watch", watch),
        ("GET", "/runs/{run}/logs", logs),
        ("GET", "/runs/{run}/artifacts", artifacts),
        ("GET", "/runs/{run}/artifacts/{name}", artifact_files),
        ("GET", "/runs/{run}/report", reports),
        ("GET", "/runs/{run}/explain", explain),
    ]


def _schedule_handlers(api: ControlApi) -> list[tuple[str, str, Handler]]:
    async def add(request: Request) -> Response:
        return json_reply(await api.schedule_add(_submission(await body_fields(request))))

    async def list_schedules(request: Request) -> Response:
        fields = query_fields(request)
        every = fields.flag("all")
        fields.done()
        return json_reply(await api.schedules(every))

    async def remove(request: Request) -> Response:
        return json_reply(await api.schedule_remove(request.path_params["schedule"]))

    return [
        ("POST", "/schedules", add),
        ("GET", "/schedules", list_schedules),
        ("DELETE", "/schedules/{schedule}", remove),
    ]


def _setting_handlers(api: ControlApi) -> list[tuple[str, str, Handler]]:
    async def set_secret(request: Request) -> Response:
        fields = await body_fields(request)
        name, value, environment = fields.needed_text("name"), fields.needed_text("value"), fields.text("environment")
        submitters = fields.texts("submitters")
        fields.done()
        return json_reply(await api.secret_set(name, value, environment, submitters))

    async def secrets(_: Request) -> Response:
        return json_reply(await api.secrets())

    async def remove_secret(request: Request) -> Response:
        fields = query_fields(request)
        environment = fields.text("environment")
        fields.done()
        return json_reply(await api.secret_remove(request.path_params["name"], environment))

    async def set_variable(request: Request) -> Response:
        fields = await body_fields(request)
        name, value, environment = fields.needed_text("name"), fields.text("value"), fields.text("environment")
        fields.done()
        return json_reply(await api.variable_set(name, value or "", environment))

    async def variables(_: Request) -> Response:
        return json_reply(await api.variables())

    async def remove_variable(request: Request) -> Response:
        fields = query_fields(request)
        environment = fields.text("environment")
        fields.done()
        return json_reply(await api.variable_remove(request.path_params["name"], environment))

    return [
        ("POST", "/secrets", set_secret),
        ("GET", "/secrets", secrets),
        ("DELETE", "/secrets/{name}", remove_secret),
        ("POST", "/variables", set_variable),
        ("GET", "/variables", variables),
        ("DELETE", "/variables/{name}", remove_variable),
    ]


def _submission(fields: Fields) -> SubmitRequest:
    priority: Any = fields.number("priority")
    request = SubmitRequest(
        file=fields.needed_text("file"),
        name=fields.text("name"),
        priority=3.0 if priority is None else priority,
        event=fields.text("event"),
        payload=fields.mapping("payload"),
        inputs=fields.mapping("inputs") or {},
        peer=fields.text("peer"),
        labels=tuple(fields.texts("labels")),
        source_dir=fields.text("source_dir"),
        no_source=fields.flag("no_source"),
        force=fields.flag("force"),
        key=fields.text("key"),
    )
    fields.done()
    _check_paths(request.file, request.source_dir)
    return request


def _check_paths(*paths: str | None) -> None:
    """Raise UsageError for what the node could not open, whoever asks."""
    for path in paths:
        if path is not None and not path.startswith("/"):
            raise UsageError(f"{path!r} is not an absolute path", "the node has a working folder of its own")
        if path is not None and not _is_name(path):
            raise UsageError(f"{path[:80]!r} is no name that a file can have", "give the path of a file")


def _is_name(path: str) -> bool:
    """Whether the system could have a file of this name: the calls that open one raise what is no OSError."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _clock_handlers(api: ControlApi) -> list[tuple[str, str, Handler]]:
    async def heads(_: Request) -> Response:
        return json_reply(await api.clock_heads())

    async def log(request: Request) -> Response:
        fields = query_fields(request)
        raw = fields.flag("raw")
        fields.done()
        return LineStream(api.clock_log(raw))

    async def verify(_: Request) -> Response:
        return json_reply(await api.clock_verify())

    async def checkpoint(request: Request) -> Response:
        fields = await body_fields(request)
        days = fields.number("days")
        fields.done()
        if days is None or not 0 <= days <= MAX_HISTORY_DAYS:
            raise UsageError(f"{days} is no number of days", f"give 0 to {MAX_HISTORY_DAYS}")
        return json_reply(await api.clock_checkpoint(days))

    async def prune(request: Request) -> Response:
        await nothing_more(request)
        return json_reply(await api.clock_prune())

    async def take_in(request: Request) -> Response:
        fields = await body_fields(request)
        file = fields.needed_text("file")
        fields.done()
        _check_paths(file)
        return json_reply(await api.clock_import(file))

    return [
        ("GET", "/clock/heads", heads),
        ("GET", "/clock/log", log),
        ("GET", "/clock/verify", verify),
        ("POST", "/clock/checkpoint", checkpoint),
        ("POST", "/clock/prune", prune),
        ("POST", "/clock/import", take_in),
    ]
