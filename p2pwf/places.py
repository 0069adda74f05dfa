"""Where a node's data folder and control socket lie. Light on purpose: every CLI command imports it.

Knows paths and the environment; reads and writes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DATA_DIR_ENV = "P2P_DATA_DIR"
ROOT_DATA_DIR = "/var/lib/p2pwf"
USER_DATA_DIR = "~/.local/share/p2pwf"
SOCKET_NAME = "control.sock"
SOCKET_NOTE = "control.path"
"""Holds the socket's path where that is not `<data-dir>/control.sock`."""
MAX_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
"""Bytes of a Unix socket's path: what sun_path holds, less its closing zero."""


def data_folder(given: str | None, environ: Mapping[str, str] | None = None) -> str:
    """The data folder: `given` (a flag), else P2P_DATA_DIR, else the default of this user; `~` is expanded."""
    env = os.environ if environ is None else environ
    chosen = given or env.get(DATA_DIR_ENV) or (ROOT_DATA_DIR if os.geteuid() == 0 else USER_DATA_DIR)
    return os.path.abspath(os.path.expanduser(chosen))  # noqa: PTH100, PTH111 - no such folder need exist


def data_dir(given: str | None, environ: Mapping[str, str] | None = None) -> Path:
    """`data_folder`, as a path."""
    from pathlib import Path  # noqa: PLC0415 - costs start-up time, and most commands need no more than the text

    return Path(data_folder(given, environ))


def fits_socket(path: str | Path) -> bool:
    """Whether a Unix socket can have this path."""
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH
