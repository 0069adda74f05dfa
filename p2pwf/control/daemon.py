"""`python -m p2pwf.control.daemon`: a node and its control API in one process.

Settings come as JSON in P2PWF_SETTINGS; `p2pwf up` puts them there.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

import structlog
import trio

from p2pwf.config import NodeSettings
from p2pwf.control.catchup import show_catching_up
from p2pwf.control.notify import ServiceManager
from p2pwf.control.server import serve_control
from p2pwf.errors import InternalError, P2pwfError
from p2pwf.node.api import NodeApi
from p2pwf.node.loop import first_error, keep_history
from p2pwf.node.node import Node
from p2pwf.node.standing import is_removed, removal
from p2pwf.node.start import make_ready, offer, open_node, wait_for_signal
from p2pwf.undumped import undumped

SETTINGS_ENV = "P2PWF_SETTINGS"
READY_FIELDS = ("peer_id", "name", "addrs", "network", "control")


def main() -> int:
    """Run a node until SIGTERM or SIGINT; returns the exit code."""
    try:
        return _main()
    finally:
        _let_go_of_what_was_not_said()


def _main() -> int:
    text = os.environ.pop(SETTINGS_ENV, None)
    if text is None:
        sys.stderr.write("error: this is the daemon of `p2pwf up`\nhint: run `p2pwf up`\n")
        return 2
    os.umask(0o077)
    undumped()
    _configure_log()
    settings = NodeSettings.from_json(text)
    manager = ServiceManager.take_from(os.environ)
    try:
        trio.run(_run, settings, manager)
    except KeyboardInterrupt:
        return 130
    except P2pwfError as error:
        return _say(error, settings.json_output)
    except BaseExceptionGroup as group:
        known = first_error(group.exceptions)
        if known is not None:
            return _say(known, settings.json_output)
        if group.subgroup(KeyboardInterrupt) is not None:
            return 130
        return _say(_bug(group), settings.json_output)
    except Exception as error:  # noqa: BLE001 - told as our bug, logged with its traceback
        return _say(_bug(error), settings.json_output)
    return 0


def _bug(error: BaseException) -> InternalError:
    """What a bug of ours looks like to a person; the log has the rest."""
    logging.getLogger("p2pwf").error("the node ended by a bug", exc_info=error)
    return InternalError(f"the node ended by a bug of ours: {error!r}"[:500], "please report it, with the lines above")


def _say(error: P2pwfError, as_json: bool) -> int:
    """Tell an error as every command does; returns its exit code."""
    hint = error.hint or "see `p2pwf up --help`"
    if as_json:
        _TALK.write(json.dumps({"error": {**error.to_json(), "hint": hint}}) + "\n")
    else:
        _TALK.write(f"error: {_plain(error.message)}\nhint: {_plain(hint)}\n")
    return error.exit_code


class _Talk(io.TextIOBase):
    """stderr, which may be a file on the very disk that is full: what cannot be said there ends nothing."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


_TALK = _Talk()


def _let_go_of_what_was_not_said() -> None:
    """What could not be written is tried again when Python ends, and would change the exit code."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _plain(text: str) -> str:
    """A text without anything that acts on a terminal: peers have their say in errors and in the log."""
    return "".join(one if one.isprintable() else " " for one in text)


def _plain_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: _plain(value) if isinstance(value, str) else value for name, value in event.items()}


class _PlainLines(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return _plain(super().formatMessage(record))


async def _run(settings: NodeSettings, manager: ServiceManager) -> None:
    stop, up = trio.Event(), trio.Event()
    manager.starting("joining the network")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_signal, stop)
        with trio.CancelScope() as birth:
            nursery.start_soon(_end, stop, up, birth, manager)
            await _serve(settings, stop, up, manager)
        nursery.cancel_scope.cancel()


async def _end(stop: trio.Event, up: trio.Event, birth: trio.CancelScope, manager: ServiceManager) -> None:
    """A node that is told to stop before it is up (it may wait for its admission for days) just leaves."""
    await stop.wait()
    manager.stopping()
    if not up.is_set():
        birth.cancel()


async def _serve(settings: NodeSettings, stop: trio.Event, up: trio.Event, manager: ServiceManager) -> None:
    async with open_node(settings) as node, trio.open_nursery() as nursery:
        keep_history()
        up.set()
        api = NodeApi(node, stop)
        path: Path = await nursery.start(serve_control, api, Path(settings.data_dir))
        api.control = str(path)
        manager.starting("catching up with the network")
        progress = node.engine.syncer.progress
        nursery.start_soon(show_catching_up, progress, node.shell.ready, settings.progress, manager)
        nursery.start_soon(_announce, node, api, manager)
        nursery.start_soon(_watch_standing, node, api)
        await stop.wait()
        await node.stop()
        nursery.cancel_scope.cancel()
    if is_removed(node.engine) and not api.left:
        raise removal(node.engine)


async def _watch_standing(node: Node, api: NodeApi) -> None:
    """Say once that this node is no member any more, as any error is said; it stays up, to be read and let in again."""
    said = False
    while True:
        seen = node.shell.version
        removed = is_removed(node.engine) and not api.left
        if removed and not said:
            _say(removal(node.engine), node.settings.json_output)
        elif said and not removed:
            structlog.get_logger().info("this node was let into its network again")
            try:
                await offer(node)
            except P2pwfError as error:  # it may be removed once more by now
                structlog.get_logger().warning("what this node offers is not recorded", error=error.message)
        said = removed
        await node.shell.wait_changed(seen)


async def _announce(node: Node, api: NodeApi, manager: ServiceManager) -> None:
    """Say that the node is ready, once it is a member and synced: one line, JSON if asked for; the manager last."""
    await make_ready(node)
    info = await api.info()
    if node.settings.json_output:
        text = json.dumps({name: info[name] for name in READY_FIELDS})
    else:
        listens = "".join(f"  listens on  {address}\n" for address in info["addrs"])
        where = f"{listens}  network     {info['network']}\n  control     {info['control']}\nready"
        text = f"p2pwf {info['version']}  {info['name']}  {info['peer_id']}\n{where}"
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    manager.ready(f"{info['name']} {info['peer_id']}")


def _configure_log() -> None:
    """Log lines to stderr, one event a line; libp2p's own chatter only from warnings on."""
    handler = logging.StreamHandler(_TALK)
    handler.setFormatter(_PlainLines("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.lastResort = handler  # libp2p keeps its lines from the root, and gives them no handler
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            _plain_event,
            # Plain: the pretty traceback shows the values of variables, and keys are among them.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _TALK)),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


if __name__ == "__main__":
    sys.exit(main())
