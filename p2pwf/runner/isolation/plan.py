"""The plan of one job: what `confine` is to do, as JSON. Reads what the machine has; starts nothing.

A plan is made for one job's folders, user and bounds. Format (version 1, private to this package):
{version, uid | null, sole_user, groups: [folder], rlimits: {name: bound}, seccomp: hex | null, alone: hex | null,
 landlock: {files, read, write, devices} | null, sandbox: [argument] | null}
`alone`: the filter in place of `seccomp` where the job gets no namespace of its own for what processes share.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from p2pwf.isolation import Level
from p2pwf.runner.environment import DEFAULT_PATH, Folders
from p2pwf.runner.isolation import seccomp, system
from p2pwf.runner.isolation.bounds import SHM_BYTES, Bounds
from p2pwf.runner.isolation.groups import Group

VERSION: Final = 1
HOLD: Final = ("/bin/sh", "-c", "echo; read -r _")
"""What the first process of a sandbox waits for: it says that all is set up, and ends with its supervisor."""
TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108 - a sandbox has its own
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - not a file of ours
SPACES: Final = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")


@attrs.frozen(slots=True, kw_only=True)
class Wanted:
    """What a plan is made of. `user`: of the job; None: the node's own. `bubblewrap`: the path of the program.

    `machine`: the node's environment, for where tools are.
    """

    level: Level
    folders: Folders
    user: int | None
    network: bool
    bounds: Bounds
    group: Group
    bubblewrap: str | None
    machine: Mapping[str, str]


def make_plan(wanted: Wanted) -> bytes:
    """The plan, for `process` and `sandbox`."""
    tools = system.tool_folders(wanted.machine)
    inside = wanted.level is Level.sandbox
    own = wanted.user is None
    # As the node's own user and in its own folders, nothing but this keeps a job from sockets that have a path.
    filters = [
        (program := seccomp.program(unix_sockets=inside or not own, limits=not own, sharing=sharing)) and program.hex()
        for sharing in (True, False)
    ]
    plan: dict[str, Any] = {
        "version": VERSION,
        "uid": wanted.user,
        "sole_user": wanted.user is not None,
        "groups": [str(folder) for folder in wanted.group.folders],
        "rlimits": _limits(wanted),
        "seccomp": filters[0],
        "alone": None if inside else filters[1],
        "landlock": _landlock(wanted, tools),
        "sandbox": list(_sandbox(wanted, tools)) if inside else None,
    }
    return json.dumps(plan).encode()


def environment(level: Level, folders: Folders, base: Mapping[str, str], machine: Mapping[str, str]) -> dict[str, str]:
    """The variables that an isolated job starts from, in place of `base`: a home and a temporary folder of its own."""
    tools = system.tool_folders(machine)
    user = folders.owner if level is Level.process else None
    own = {
        "HOME": str(folders.home),
        "USER": system.NAME,
        "LOGNAME": system.NAME,
        "PATH": system.search_path(base.get("PATH", DEFAULT_PATH), tools, user),
    }
    if level is Level.process:
        own["TMPDIR"] = str(folders.scratch)
    return {**base, **own}


def _limits(wanted: Wanted) -> dict[str, int]:
    bounds = wanted.bounds
    limits = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": bounds.file, "RLIMIT_NOFILE": bounds.open_files}
    if "pids" not in wanted.group.controllers:
        # It counts all that a user has: an own user has this job only, the node's own has more already.
        others = 0 if wanted.user is not None else _count_of(os.getuid())
        limits["RLIMIT_NPROC"] = bounds.processes + others
    if "memory" not in wanted.group.controllers:
        # Not RLIMIT_AS: many runtimes reserve far more addresses than they ever use.
        limits["RLIMIT_DATA"] = bounds.memory
    assert all(hasattr(resource, name) for name in limits)
    return limits


def _count_of(user: int) -> int:
    """Threads that a user has now, about."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has just ended
                if entry.stat().st_uid == user:
                    count += sum(1 for _ in (entry / "task").iterdir())
    return count


def _landlock(wanted: Wanted, tools: Sequence[str]) -> dict[str, Any]:
    if wanted.level is Level.sandbox:  # its own view of the disk is what it has; here only scopes
        return {"files": False, "read": [], "write": [], "devices": []}
    view = own_view(wanted.folders)
    shared = [SHARED_MEMORY] if wanted.user is not None else []  # all that a user of its own leaves there is known
    read, write = [*dict.fromkeys([*view["read"], *tools])], [*view["write"], *shared]
    return {**view, "files": True, "read": read, "write": write}


def own_view(folders: Folders) -> dict[str, list[str]]:
    """What a job that sees the disk as it is may read, write and use of it, without tools."""
    read = [*system.SYSTEM, "/etc", "/proc", *system.HARDWARE, os.path.realpath(system.RESOLVER)]
    return {
        "read": [*read, str(folders.event_file.parent)],
        "write": [str(folder) for folder in folders.given],
        # Terminals belong to users: those of the node's own are not for its jobs.
        "devices": [*system.DEVICES, *(() if folders.owner is None else system.TERMINALS)],
    }


def _sandbox(wanted: Wanted, tools: Sequence[str]) -> Iterator[str]:
    assert wanted.bubblewrap is not None
    folders = wanted.folders
    yield wanted.bubblewrap
    if wanted.user is None:
        yield "--unshare-user"
    yield from SPACES
    if not wanted.network:
        yield "--unshare-net"
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
    for folder in system.system_folders():
        yield from ("--ro-bind", folder, folder)
    for target, name in system.system_links():
        yield from ("--symlink", target, name)
    yield from ("--dir", "/etc", "--dir", "/var", "--dir", "/run")
    for name in system.ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--ro-bind-try", os.path.realpath(system.RESOLVER), system.RESOLVER)
    accounts = folders.event_file.parent.with_name("_accounts")
    for name in ("passwd", "group"):
        yield from ("--ro-bind", str(accounts / name), f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--perms", "1777", "--size", str(min(SHM_BYTES, wanted.bounds.memory)), "--tmpfs", SHARED_MEMORY)
    for place in TEMPORARY:
        yield from ("--bind", str(folders.scratch), place)
    # Made first, for everybody to pass: bubblewrap would make those above a private folder private to its own user.
    for above in _above([*tools, *system.HARDWARE, str(folders.home)]):
        yield from ("--perms", "0755", "--dir", above)
    for folder in (*tools, *system.HARDWARE):
        yield from ("--ro-bind-try", folder, folder)
    for own in folders.given:
        yield from ("--bind", str(own), str(own))
    yield from ("--ro-bind", str(folders.event_file.parent), str(folders.event_file.parent))
    for made in ("/dev", "/"):  # what bubblewrap has made is memory, which nobody counts
        yield from ("--remount-ro", made)
    yield from ("--chdir", "/", "--", *HOLD)


def _above(paths: Sequence[str]) -> list[str]:
    """The folders above some paths, the uppermost first."""
    found = {str(above) for path in paths for above in Path(path).parents}
    return sorted(found - {"/", *system.SYSTEM, "/tmp", "/var", "/var/tmp", "/dev", "/proc"})  # noqa: S108 - those are there


def write_accounts(folders: Folders) -> None:
    """Put the made-up users of a sandbox where its plan expects them."""
    user = folders.owner if folders.owner is not None else os.getuid()
    group = folders.owner if folders.owner is not None else os.getgid()
    place = folders.root / "_accounts"
    place.mkdir()
    place.chmod(0o755)
    for name, text in zip(("passwd", "group"), system.accounts(user, group, folders.home), strict=True):
        file = place / name
        file.write_text(text)
        file.chmod(0o644)
