"""`p2pwf doctor`: what may go wrong on this machine and in its network, each with what to do about it.

Looks, and changes nothing. With a node it asks that; without one it looks at the machine alone.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import click

from p2pwf import __version__
from p2pwf.cli.base import Session, anywhere
from p2pwf.cli.levels import try_levels
from p2pwf.cli.peers import stays_here
from p2pwf.cli.text import clean, dim, has_unicode, style
from p2pwf.errors import NoNode, P2pwfError
from p2pwf.isolation import Level
from p2pwf.places import data_dir

State = Literal["ok", "note", "warning", "error"]
LOW_DISK: Final = 1024**3
"""Bytes free below which a node will soon be in trouble: sources and artifacts come in hundreds of MiB."""
NO_DISK: Final = 64 * 1024**2
"""Bytes free with which nothing sensible can be stored."""
FEW_FILES: Final = 512
"""Open files that a process may have: each connection, job and blob takes some."""
MAX_SKEW_MS: Final = 5_000
"""Clocks further apart make times in logs hard to compare, let tickets end early, and start schedules late."""
PROBE_SECONDS: Final = 10.0
"""How long a program may take to say its version."""
SIGNS: Final = {"ok": ("✓", "+", "green"), "note": ("·", ".", "bright_black"), "warning": ("!", "!", "yellow"),
                "error": ("✗", "x", "red")}  # fmt: skip


class Finding(NamedTuple):
    """One thing that was looked at. `hint`: what to do, where it is not as it should be."""

    check: str
    state: State
    text: str
    hint: str | None = None


@click.command()
@anywhere
@click.pass_obj
def doctor(session: Session) -> int:
    """Look for what may go wrong, and say what to do; exits with 1 if something is wrong.

    The machine: disk, programs that jobs use, sandboxes. The node: whether it runs and who can reach it. The network:
    members that are away, versions and clocks that differ, secrets that are to be set anew.

    \b
      p2pwf doctor
    """
    folder = data_dir(session.given)
    found = [*_machine(folder), *_node(session)]
    session.answer([one._asdict() for one in found], lambda _: _draw(found))
    return int(any(one.state == "error" for one in found))


# -- the machine ----------------------------------------------------------------------------------------------------


def _machine(folder: Path) -> Iterator[Finding]:
    yield Finding("version", "ok", f"p2pwf {__version__}, Python {sys.version.split()[0]}")
    yield from _folder(folder)
    yield _disk(folder)
    yield _files()
    yield _program("git", "sources of a repository, and actions of others, cannot be taken", "install git")
    yield _program("bash", "steps run with sh, as GitHub does without bash", "install bash")
    yield _program("node", "JavaScript actions fail here", "install Node.js 20 or newer")
    yield _containers()
    yield from _isolation(folder)


def _folder(folder: Path) -> Iterator[Finding]:
    key = folder / "identity.key"
    try:
        if not folder.exists():
            yield Finding("data folder", "note", f"{folder} is not there yet: `p2pwf up` makes it")
            return
        found = key.stat() if key.exists() else None
    except OSError as error:
        yield Finding("data folder", "error", f"no access to {folder}: {error.strerror}", "use another --data-dir")
        return
    if found is None:
        yield Finding("data folder", "note", f"{folder} holds no node yet")
    elif found.st_uid != os.geteuid():
        yield Finding("data folder", "error", f"{folder} belongs to another user", "use another --data-dir")
    elif stat.S_IMODE(found.st_mode) & 0o077:
        yield Finding("data folder", "error", f"others may read {key}", f"chmod 600 {key}")
    else:
        yield Finding("data folder", "ok", str(folder))


def _disk(folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding("disk", "error", f"{there} cannot be looked at: {error.strerror}", "use another --data-dir")
    text = f"{free / 1024**3:,.1f} GiB free at {there}"
    if free < LOW_DISK:
        hint = "make room there, or give the node another --data-dir"
        return Finding("disk", "error" if free < NO_DISK else "warning", text, hint)
    return Finding("disk", "ok", text)


def _files() -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEW_FILES:
        more = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
        return Finding("open files", "warning", f"at most {soft} at a time", f"raise it with ulimit -n (up to {more})")
    return Finding("open files", "ok", "no limit" if soft == resource.RLIM_INFINITY else f"up to {soft:,} at a time")


def _program(name: str, without: str, hint: str) -> Finding:
    version = _says(name, "--version")
    if version is None:
        return Finding(name, "warning", f"not found: {without}", hint)
    return Finding(name, "ok", version)


def _containers() -> Finding:
    there = [name for name in ("docker", "podman") if shutil.which(name)]
    for name in there:
        version = _says(name, "version", "--format", "{{.Server.Version}}")
        if version:
            return Finding("containers", "ok", f"{name} {version}")
    if there:
        text = f"{there[0]} is there but does not answer: jobs with containers fail here"
        return Finding("containers", "note", text, f"start it, and see that this user may use it: {there[0]} info")
    return Finding("containers", "note", "neither docker nor podman: jobs with containers fail here")


def _isolation(folder: Path) -> Iterator[Finding]:
    """How far apart jobs can be kept here, tried and not guessed: as this user, in this folder."""
    try:
        found = try_levels(folder)
    except P2pwfError as error:
        yield Finding("config", "error", error.message, error.hint)
        return
    best = max(level for level, one in found.items() if one.available)
    if best is Level.none:
        text = "jobs run as this user, with nothing between: run other members' only if you trust them"
        yield Finding("isolation", "warning", text, found[Level.sandbox].hint or None)
    for level, one in found.items():
        if level is best and one.available and best > Level.none:
            yield Finding("isolation", "ok", f"{level.name} is the best here: {one.text}")
        elif level > best:
            yield Finding("isolation", "note", f"no {level.name}: {one.text}", one.hint or None)


def _says(program: str, *words: str) -> str | None:
    """The first line that a program prints; None if it is not there, fails, or hangs."""
    place = shutil.which(program)
    if place is None:
        return None
    try:
        done = subprocess.run(
            [place, *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return clean(done.stdout.decode(errors="replace").strip().partition("\n")[0])


# -- the node and its network ---------------------------------------------------------------------------------------


def _node(session: Session) -> Iterator[Finding]:
    try:
        status = session.client.call("GET", "status")
        peers = session.client.call("GET", "peers")
        stats = session.client.call("GET", "stats")
        asking = session.client.call("GET", "peers", query={"pending": True})
    except NoNode as error:
        yield Finding("node", "note", error.message, error.hint)
        return
    except P2pwfError as error:
        yield Finding("node", "error", error.message, error.hint)
        return
    yield _standing(status)
    yield from (Finding("alarm", "error", clean(str(alarm)), "see the node's log") for alarm in status["alarms"])
    yield _reach(status)
    others = [one for one in peers if not one["self"]]
    if others:
        yield _members(others)
        yield _versions(others)
        yield _clocks(others)
    if stats.get("secrets", {}).get("set"):
        yield _secrets(stats["secrets"])
    if asking:
        hint = f"p2pwf peer add {asking[0]['peer_id']}, if you know whose it is"
        yield Finding("admission", "note", f"{_count(len(asking), 'peer asks', 'peers ask')} to be admitted", hint)


def _standing(status: dict[str, Any]) -> Finding:
    name = f"{clean(status['name'] or '-')} ({_count(status['running_jobs'], 'job runs', 'jobs run')})"
    if status["removed"]:
        hint = f"an admin lets it in again: p2pwf peer add {status['peer_id']}"
        return Finding("node", "error", f"{name} was removed from its network", hint)
    if status["frozen"]:
        return Finding("node", "error", f"{name} records nothing until its clock is whole again", "see the node's log")
    if status["version"] != __version__:
        text = f"{name} runs p2pwf {status['version']}, and this command is {__version__}"
        return Finding("node", "warning", text, "start the node again")
    if not status["ready"]:
        return Finding("node", "warning", f"{name} is not ready yet", "wait, or see whom it cannot reach")
    if status["paused"]:
        return Finding("node", "note", f"{name} is paused", "p2pwf node resume")
    return Finding("node", "ok", f"{name} is ready")


def _reach(status: dict[str, Any]) -> Finding:
    addresses = status["addrs"]
    if addresses and all(stays_here(one) for one in addresses):
        hint = "p2pwf up --listen /ip4/0.0.0.0/tcp/4070, or --announce"
        return Finding("addresses", "warning", "it listens on loopback only: no other machine reaches it", hint)
    if not addresses:
        return Finding("addresses", "error", "it listens nowhere", "p2pwf up --listen /ip4/0.0.0.0/tcp/4070")
    return Finding("addresses", "ok", ", ".join(one.partition("/p2p/")[0] for one in addresses[:3]))


def _members(others: list[dict[str, Any]]) -> Finding:
    away = [clean(one["name"] or one["peer_id"]) for one in others if not one["connected"]]
    if not away:
        return Finding(
            "members",
            "ok",
            f"all {len(others)} others are connected" if len(others) > 1 else "the other one is connected",
        )
    hint = "see that they are up (`p2pwf peer list`), and that a firewall lets one side through"
    if len(away) == len(others):
        return Finding("members", "error", "no other member is connected", hint)
    return Finding("members", "warning", f"not connected: {_some(away)}", hint)


def _versions(others: list[dict[str, Any]]) -> Finding:
    known = {clean(one["name"] or one["peer_id"]): one["version"] for one in others if one["version"]}
    odd = [f"{name} has {clean(version)}" for name, version in known.items() if version != __version__]
    if odd:
        return Finding("versions", "warning", _some(odd), f"bring all to the same: {__version__} is here")
    return Finding("versions", "ok", f"all {__version__}" if known else "of nobody known yet")


def _clocks(others: list[dict[str, Any]]) -> Finding:
    known = {
        clean(one["name"] or one["peer_id"]): one["clock_ahead"] for one in others if one["clock_ahead"] is not None
    }
    odd = [
        f"{name} is {abs(ms) / 1000:.0f} s {'ahead' if ms > 0 else 'behind'}"
        for name, ms in known.items()
        if abs(ms) > MAX_SKEW_MS
    ]
    if odd:
        return Finding("clocks", "warning", _some(odd), "set the time there, and here: timedatectl set-ntp true")
    return Finding("clocks", "ok", "all within seconds" if known else "of nobody known yet")


def _secrets(counts: dict[str, int]) -> Finding:
    if counts["rotate"]:
        text = f"{_count(counts['rotate'], 'secret was', 'secrets were')} open to a member that left"
        return Finding("secrets", "warning", text, "set them to other values: `p2pwf secret list` says which")
    if counts["lacking"]:
        text = f"{_count(counts['lacking'], 'secret is', 'secrets are')} not sealed to all that run jobs"
        return Finding("secrets", "warning", text, "see that an admin's node is up: `p2pwf secret list` says for whom")
    return Finding("secrets", "ok", f"{_count(counts['set'], 'secret is', 'secrets are')} sealed to all that run jobs")


def _some(words: list[str]) -> str:
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _draw(found: list[Finding]) -> None:
    columns = max(len(one.check) for one in found)
    for one in found:
        sign, plain, colour = SIGNS[one.state]
        mark = style(sign if has_unicode() else plain, colour)
        click.echo(f"{mark} {one.check:{columns}}  {one.text}")
        if one.hint:
            click.echo(" " * (columns + 4) + dim(one.hint))
    wrong = sum(one.state == "error" for one in found)
    doubtful = sum(one.state == "warning" for one in found)
    click.echo(dim(f"\n{_count(wrong, 'error', 'errors')}, {_count(doubtful, 'warning', 'warnings')}"))
