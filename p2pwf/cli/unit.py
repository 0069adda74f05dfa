"""The systemd unit of a node as text, and where it belongs. Writes nothing and runs nothing.

Source: systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from p2pwf.errors import Refused, UsageError
from p2pwf.places import SOCKET_NAME, fits_socket

NAME = "p2pwf.service"
MARK = "# Written by `p2pwf service install`; `p2pwf service uninstall` removes it.\n"
SYSTEM_FOLDER = Path("/etc/systemd/system")
STATE = Path("/var/lib")
"""Where the data of system services lie: systemd makes the folder for the user that it makes up for the service."""
COMMON = """\
Type=notify
NotifyAccess=main
# Ready means: a member of its network, which an admin may take a day to say.
TimeoutStartSec=infinity
# It hands its jobs on and is gone within ten seconds; what its jobs left goes with it.
TimeoutStopSec=20
KillMode=mixed
Restart=on-failure
RestartSec=5
# A wrong option (2) or a refusal (5: it was removed from its network) is the same the next time.
RestartPreventExitStatus=2 5
UMask=0077
"""
HARDENED = """\
# What jobs need beyond this (a device, a group): `systemctl edit p2pwf`.
# A user of its own that owns nothing else; it implies ProtectSystem=strict, PrivateTmp, RemoveIPC, NoNewPrivileges.
DynamicUser=yes
StateDirectory={state}
StateDirectoryMode=0700
Environment=HOME=%S/{state}
ProtectHome=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictRealtime=yes
LockPersonality=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# Left open, for jobs need them: namespaces (containers), writable and executable memory (JavaScript), other
# architectures.
"""


def unit_path(system: bool) -> Path:
    """Where the unit lies."""
    if system:
        return SYSTEM_FOLDER / NAME
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "systemd" / "user" / NAME


def unit_text(system: bool, folder: Path, options: tuple[str, ...], program: tuple[str, ...] | None = None) -> str:
    """The unit of a node on data folder `folder`, started with `p2pwf up OPTIONS`.

    `program`: the command p2pwf, if it is not this one. Raises Refused or UsageError for what no service can have.
    """
    if not fits_socket(folder / SOCKET_NAME):
        raise UsageError(f"{folder} is too long a path for a service's socket", "use a shorter --data-dir")
    command = program or (sys.executable, "-m", "p2pwf.cli.main")
    line, reload = (
        " ".join(_word(word) for word in (*command, *words, "--data-dir", str(folder), *more))
        for words, more in ((("up",), options), (("policy", "reload"), ()))
    )
    head = "[Unit]\nDescription=p2pwf node\n"
    service = f"[Service]\nExecStart={line}\nExecReload={reload}\n{COMMON}"
    if not system:
        return f"{MARK}\n{head}\n{service}\n[Install]\nWantedBy=default.target\n"
    if folder.parent != STATE:
        raise UsageError(
            f"a system service keeps its data in {STATE}, not in {folder}",
            f"leave --data-dir out, or name a folder there: --data-dir {STATE}/NAME; or use --user",
        )
    network = "Wants=network-online.target\nAfter=network-online.target\n"
    hardened = HARDENED.format(state=_word(folder.name))
    return f"{MARK}\n{head}{network}\n{service}{hardened}\n[Install]\nWantedBy=multi-user.target\n"


def check_reach(program: Path) -> None:
    """Raise Refused if a user that owns nothing could not run what lies at `program`."""
    for place in (program, *program.parents):
        mode = place.stat().st_mode
        if not mode & 0o001 or (place == program and not mode & 0o004) or place in (Path("/home"), Path("/root")):
            raise Refused(
                f"a system service could not reach {program}: {place} is closed to it",
                "install p2pwf where all users may run it, such as /opt; or use --user",
            )


def _word(text: str) -> str:
    """One argument as systemd reads it: quoted if it must be, `%` and `$` doubled."""
    if not text.isprintable():
        raise UsageError(f"not for a service: {text!r}", "use plain text")
    doubled = text.replace("%", "%%").replace("$", "$$")
    if doubled and all(one.isalnum() or one in "%$-_./:=@,+" for one in doubled):
        return doubled
    escaped = doubled.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
