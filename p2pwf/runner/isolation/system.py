"""What of the system an isolated job sees: a curated choice, all read only. Looks at the disk, changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC: Final = (
    "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "crypto-policies", "debian_version",
    "fonts", "gai.conf", "host.conf", "hostname", "hosts", "inputrc", "java", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "locale.alias", "locale.conf", "localtime", "login.defs", "lsb-release", "machine-info", "magic",
    "mime.types", "networks", "nsswitch.conf", "os-release", "pki", "profile", "profile.d", "protocols", "python3",
    "python3.11", "python3.12", "python3.13", "redhat-release", "rpc", "services", "shells", "skel", "ssl", "timezone",
)  # fmt: skip
"""Of /etc: what programs need to find libraries, names, certificates and the time. Nothing that may hold a password:
no settings of pip, npm or git, no keys; the users are made up (`accounts`)."""
RESOLVER: Final = "/etc/resolv.conf"
HARDWARE: Final = ("/sys/devices/system/cpu", "/sys/devices/system/node")
"""How many processors there are: languages ask before they start threads."""
HOSTED: Final = "/opt/hostedtoolcache"
TOOLS: Final = (
    ".pyenv", ".nvm", ".asdf/installs", ".asdf/shims", ".bun/bin", ".cargo/bin", ".deno/bin", ".local/share/fnm",
    ".local/share/uv/python", ".rustup/toolchains", ".sdkman/candidates", ".volta/bin", ".volta/tools",
)  # fmt: skip
"""Below the node's own home: what version managers keep there, which setup-python and setup-node find."""
TOOL_VARIABLES: Final = (
    "RUNNER_TOOL_CACHE", "AGENT_TOOLSDIRECTORY", "PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "NVM_DIR", "FNM_DIR",
    "VOLTA_HOME", "ASDF_DATA_DIR",
)  # fmt: skip
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
TERMINALS: Final = ("/dev/ptmx", "/dev/pts")
NAME: Final = "runner"
"""The job's user, as it is called inside."""


def tool_folders(machine: Mapping[str, str]) -> list[str]:
    """Folders of tools outside of the system's own, as far as they are there, real paths and given ones."""
    home = machine.get("HOME", "")
    given = [machine.get(name, "") for name in TOOL_VARIABLES]
    own = [f"{home}/{name}" for name in TOOLS] if home.startswith("/") and home != "/" else []
    wanted = [path.rstrip("/") for path in (HOSTED, *given, *own) if path.startswith("/")]
    found = [path for path in dict.fromkeys(wanted) if path and os.access(path, os.R_OK | os.X_OK)]
    found += [real for path in found if (real := os.path.realpath(path)) != path]
    return [path for path in dict.fromkeys(found) if not _holds_more(path, home)]


def _holds_more(path: str, home: str) -> bool:
    """Whether a folder that a variable names is so far up that more than tools lie below it."""
    return (
        path in ("/", "/etc", "/home", "/root", "/var", "/run", "/opt") or home == path or home.startswith(path + "/")
    )


def search_path(path: str, visible: Sequence[str], user: int | None) -> str:
    """The folders of a PATH that an isolated job sees and, as `user`, may enter."""
    kept = [
        folder
        for folder in path.split(":")
        if any(folder == top or folder.startswith(top + "/") for top in (*SYSTEM, *visible))
        and (user is None or reachable(Path(folder)))
    ]
    return ":".join(kept) or "/usr/local/bin:/usr/bin:/bin"


def reachable(path: Path) -> bool:
    """Whether whoever it is may enter a folder: all above it, and itself, let everybody through."""
    try:
        real = path.resolve(strict=True)
        return all(stat.S_IMODE(one.stat().st_mode) & 0o001 for one in (real, *real.parents))
    except OSError:
        return False


def system_links() -> Iterator[tuple[str, str]]:
    """The folders of the system that are links here: (target, name)."""
    for name in SYSTEM:
        if Path(name).is_symlink():
            yield str(Path(name).readlink()), name


def system_folders() -> list[str]:
    """The folders of the system that are folders here."""
    return [name for name in SYSTEM if Path(name).is_dir() and not Path(name).is_symlink()]


def accounts(user: int, group: int, home: Path) -> tuple[str, str]:
    """A passwd and a group file that know root, the job's user and nobody."""
    passwd = (
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        f"{NAME}:x:{user}:{group}:{NAME}:{home}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    )
    return passwd, f"root:x:0:\n{NAME}:x:{group}:\nnogroup:x:65534:\n"
