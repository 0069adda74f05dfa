"""Secrets and variables for who asks: set, listed, removed.

A value is sealed here, before it goes anywhere else: no event, no log and no answer holds it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, cast

import trio

from p2pwf.core.bodies import MAX_NAME, MAX_SUBMITTERS, MAX_VALUE, SETTING
from p2pwf.core.events import Event
from p2pwf.engine import inputs as to_engine
from p2pwf.errors import Refused, UsageError
from p2pwf.node import views
from p2pwf.node.boxes import Place, seal_value
from p2pwf.node.node import Node

NAME_HINT: Final = "letters, digits and _, no digit first, and not GITHUB_…; upper and lower case are the same"


# -- setting --------------------------------------------------------------------------------------------------------


async def set_secret(
    node: Node, name: str, value: str, environment: str | None, submitters: list[str]
) -> dict[str, Any]:
    """Seal a value to all that may run jobs, and record that; its row. Raises UsageError, Refused."""
    place = Place(node.identity.network, _environment(environment), _name("secret", name))
    data = _bytes("secret", value)
    if not data:
        raise UsageError("an empty secret", "`p2pwf secret remove` removes one")
    if len(submitters) > MAX_SUBMITTERS:
        raise UsageError(f"{len(submitters)} submitters, the bound is {MAX_SUBMITTERS}")
    peers = sorted({views.find_peer(node.engine, one) for one in submitters})
    if not node.engine.desk.standing().holds(node.me, "admin"):  # said again by the engine: no need to seal before
        raise Refused("only an admin may set a secret", "ask an admin: `p2pwf peer list` shows the roles")
    wanted = node.engine.sealing.eligible()
    sealed, boxes = await trio.to_thread.run_sync(seal_value, data, place, wanted)
    body: dict[str, Any] = {"name": place.name, "environment": place.environment, "value": sealed}
    body |= {"boxes": boxes, "submitters": peers}
    await node.loop.ask(partial(to_engine.WriteSetting, type="secret.set", body=body))
    slot = place.environment, place.name
    return next(one for one in list_secrets(node) if (one["environment"], one["name"]) == slot)


async def set_variable(node: Node, name: str, value: str, environment: str | None) -> dict[str, Any]:
    """Record a variable; its row. Raises UsageError, Refused."""
    _bytes("variable", value)
    body = {"name": _name("variable", name), "environment": _environment(environment), "value": value}
    await node.loop.ask(partial(to_engine.WriteSetting, type="var.set", body=body))
    slot = body["environment"], body["name"]
    return next(one for one in list_variables(node) if (one["environment"], one["name"]) == slot)


async def remove(node: Node, kind: str, name: str, environment: str | None) -> dict[str, Any]:
    """Remove a secret (`kind` secret) or a variable (var): {name, environment}. Raises NotFound, Refused."""
    body = {"name": _name(kind, name), "environment": _environment(environment)}
    made: dict[str, Any] = await node.loop.ask(partial(to_engine.WriteSetting, type=f"{kind}.remove", body=body))
    return made


def _name(what: str, name: str) -> str:
    folded = name.upper() if name.isascii() else name
    if SETTING.fullmatch(folded) is None:
        raise UsageError(f"no name for a {what}: {name[:80]!r}", NAME_HINT)
    return folded


def _environment(name: str | None) -> str | None:
    folded = (name or "").strip().lower()
    if len(folded) > MAX_NAME:
        raise UsageError("the name of an environment is too long", f"it has up to {MAX_NAME} characters")
    return folded or None


def _bytes(what: str, value: str) -> bytes:
    """A value's bytes; what it is told about a bad one has nothing of it."""
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"the value of the {what} is no text that can travel", "it has to be UTF-8") from None
    if len(data) > MAX_VALUE:
        raise UsageError(f"the value of the {what} has {len(data):,} bytes, the bound is {MAX_VALUE:,}", "split it")
    if "\0" in value:
        raise UsageError(f"the value of the {what} holds a NUL", "no variable of a process can; encode it in base64")
    return data


# -- looking --------------------------------------------------------------------------------------------------------


def list_secrets(node: Node) -> list[dict[str, Any]]:
    """Of each secret {name, environment, updated_at, updated_by, submitters, sealed_to, lacking, rotate}: who has a
    box, who should have one and has none, and who could open it and is to run jobs no more."""
    settings, sealing = node.engine.desk.settings, node.engine.sealing
    return [
        {
            **_row(event),
            "submitters": list(cast("list[str]", event.body["submitters"])),
            "sealed_to": sorted(settings.holders(event)),
            "lacking": list(sealing.lacking(event)),
            "rotate": sealing.to_rotate(event),
        }
        for event in settings.secrets.values()
    ]


def list_variables(node: Node) -> list[dict[str, Any]]:
    """Of each variable {name, environment, value, updated_at, updated_by}."""
    return [{**_row(event), "value": event.body["value"]} for event in node.engine.desk.settings.variables.values()]


def _row(event: Event) -> dict[str, Any]:
    return {
        "name": event.body["name"],
        "environment": event.body["environment"],
        "updated_at": event.time,
        "updated_by": event.author,
    }
