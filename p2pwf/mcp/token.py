"""The word that who speaks MCP over HTTP must show: made once for a data folder, in a file that only its user reads.

Any process of any user reaches a loopback port, and so may a web page; the word is what tells them from the user's own.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

from p2pwf.errors import Refused, StorageError

TOKEN_FILE: Final = "mcp.token"  # noqa: S105 - its name
TOKEN_BYTES: Final = 32
"""Random bytes: nobody guesses 256 bits."""
MIN_TOKEN: Final = 20
"""Characters of a token that somebody wrote into the file by hand."""
MAX_TOKEN: Final = 1024
"""Bytes of the file: more is no token."""


def token_of(folder: Path) -> tuple[str, Path]:
    """The token of a data folder, made if there is none, and its file.

    Raises Refused for a file that others may read or that holds no token, StorageError where none can be made.
    """
    path = folder / TOKEN_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            _make(path)
        return _read(path), path
    except OSError as error:
        raise StorageError(f"cannot use {path}: {error.strerror}", "use another --data-dir") from error


def _make(path: Path) -> None:
    """Write a new token, whole or not at all: two servers may start at once, and the second reads the first one's."""
    draft = path.with_name(f".{TOKEN_FILE}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token_urlsafe(TOKEN_BYTES) + "\n")
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> str:
    again = f"remove {path}, and a new one is made"
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise Refused(f"others may read or change {path}", again)
        token = file.read(MAX_TOKEN).decode("ascii", "replace").strip()
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise Refused(f"{path} holds no token", again)
    return token
