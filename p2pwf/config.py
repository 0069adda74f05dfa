"""Settings: what a node and its faces are told, by flag, environment, file or default. Reads; never writes.

Order of precedence: flag, environment (P2P_DATA_DIR, P2P_PEER_ID, P2PWF_ACTIONS, P2PWF_ACTIONS_URL), `config.toml` in
the data folder, default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from p2pwf.errors import UsageError
from p2pwf.places import DATA_DIR_ENV, data_dir

__all__ = ["NodeSettings", "data_dir", "node_settings", "read_file"]

NAME_ENV: Final = "P2P_PEER_ID"
ACTIONS_ENV: Final = "P2PWF_ACTIONS"
ACTIONS_URL_ENV: Final = "P2PWF_ACTIONS_URL"
_BY_ENV: Final = ((NAME_ENV, "name"), (ACTIONS_ENV, "actions"), (ACTIONS_URL_ENV, "actions_url"))
CONFIG_FILE: Final = "config.toml"
POLICY: Final = "policy"
"""The table of that file which is no setting of its own: what this machine runs for whom."""
NATIVE: Final = "native"
EXTERNAL: Final = "external"
EXECUTORS: Final = (NATIVE, EXTERNAL)
"""Who runs this node's jobs: it does, or a client of its control API."""


MAX_HISTORY_DAYS: Final = 36_500
"""A century: beyond it times leave what an event can hold."""


@attrs.frozen(slots=True, kw_only=True)
class NodeSettings:
    """What `p2pwf up` starts a node with. `slots` None: as many as the machine has CPUs; 0: never runs jobs.

    `history_days`: an admin's node has what ended so long ago pruned on all members; 0: never.
    `isolation_image`: what jobs without a container of their own run in at isolation level container; it is on the
    machine, or that level is not available.
    `actions`: a folder of mirrors of other repositories; `actions_url`: what git fetches them from, if not GitHub.
    """

    data_dir: str
    name: str | None = None
    listen: tuple[str, ...] = ()
    announce: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()
    join: str | None = None
    labels: tuple[str, ...] = ()
    slots: int | None = None
    private: bool = False
    trust_members: bool = False
    mdns: bool = False
    actions: str | None = None
    actions_url: str | None = None
    executor: str = NATIVE
    history_days: int = 0
    isolation_image: str | None = None
    json_output: bool = False
    progress: str = "auto"

    def to_json(self) -> str:
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> NodeSettings:
        """The settings that `to_json` wrote."""
        read: dict[str, Any] = json.loads(text)
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in read.items()
        }
        return cls(**values)


_FILE_KEYS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "name": str,
    "listen": list,
    "announce": list,
    "bootstrap": list,
    "labels": list,
    "slots": int,
    "trust_members": bool,
    "mdns": bool,
    "actions": str,
    "actions_url": str,
    "executor": str,
    "history_days": int,
    "isolation_image": str,
}


@attrs.frozen(slots=True)
class PolicyTable:
    """The table [policy] as it stands in a file, and the file's text: what is wrong is told with its line."""

    path: Path
    table: dict[str, Any]
    text: str


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a config.toml and what it says; raises UsageError, with the place."""
    import tomllib  # noqa: PLC0415 - most of what imports this module reads no file

    try:
        text = path.read_text()
        return text, tomllib.loads(text)
    except FileNotFoundError:
        return "", {}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read {path}: {error}", 'it is a TOML file: name = "worker"') from error


def policy_table(folder: Path) -> PolicyTable | None:
    """The table [policy] of a data folder's config.toml, None if it has none. Raises UsageError, with the place."""
    path = folder / CONFIG_FILE
    text, values = _read(path)
    if POLICY not in values:
        return None
    if not isinstance(values[POLICY], dict):
        raise UsageError(f"{path}: policy is no table", "begin each of its rules with [[policy.rule]]")
    return PolicyTable(path, values[POLICY], text)


def read_file(folder: Path) -> dict[str, Any]:
    """The settings of a data folder's config.toml, without its policy; none if there is no such file.

    Raises UsageError, with the place.
    """
    path = folder / CONFIG_FILE
    _, values = _read(path)
    values.pop(POLICY, None)
    for name, value in values.items():
        kind = _FILE_KEYS.get(name)
        if kind is None:
            raise UsageError(f"{path}: unknown setting {name!r}", f"known: {', '.join(sorted((*_FILE_KEYS, POLICY)))}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UsageError(f"{path}: {name} has a value of the wrong kind", "see `p2pwf up --help`")
    if not 0 <= values.get("history_days", 0) <= MAX_HISTORY_DAYS:
        raise UsageError(f"{path}: history_days is out of bounds", f"give 0 (never) to {MAX_HISTORY_DAYS}")
    if values.get("executor", EXTERNAL) not in EXECUTORS:
        raise UsageError(f"{path}: no executor {values['executor']!r}", f"there are {', '.join(EXECUTORS)}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


@attrs.frozen(slots=True)
class Setting:
    """One setting as it stands without flags. `origin`: the variable or the file that it comes from, or a word."""

    name: str
    value: object
    origin: str


def settings_with_origin(given: str | None, environ: Mapping[str, str]) -> list[Setting]:
    """The settings of a data folder (`given` by a flag, or else found as always) without other flags, by name.

    Lists are lists, and what nothing sets has its default. Raises UsageError for a file that cannot be read.
    """
    folder = data_dir(given, environ)
    place = "--data-dir" if given else DATA_DIR_ENV if environ.get(DATA_DIR_ENV) else "default"
    values = node_settings(folder, {}, environ)
    origins = dict.fromkeys(read_file(folder), str(folder / CONFIG_FILE))
    origins |= {name: variable for variable, name in _BY_ENV if environ.get(variable)}
    found = [Setting("data_dir", str(folder), place)]
    for name in _FILE_KEYS:
        value = getattr(values, name)
        shown = list(value) if isinstance(value, tuple) else value
        found.append(Setting(name, shown, origins.get(name, "default")))
    return found


def node_settings(folder: Path, flags: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> NodeSettings:
    """Settings from flags (those not given are absent, None, False or empty) over environment over file."""
    env = os.environ if environ is None else environ
    merged = read_file(folder)
    merged.update({name: env[variable] for variable, name in _BY_ENV if env.get(variable)})
    # By identity: 0 is a number of slots, though it equals False.
    merged.update(
        {name: value for name, value in flags.items() if not (value is None or value is False or value == ())}
    )
    if merged.get("actions"):
        merged["actions"] = str(Path(merged["actions"]).expanduser().absolute())
    return NodeSettings(data_dir=str(folder), **merged)
