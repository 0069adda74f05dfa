"""What `p2pwf up` refuses before anything is made: a node that cannot start must leave no trace of a try.

Looks at texts, and whose the data folder is: whether an address can be bound or a ticket is still good, the node finds
out. Imported by `up` alone, for it is heavier than a command may be.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from p2pwf.config import NodeSettings
from p2pwf.core.ids import public_key_of
from p2pwf.core.tickets import parse_ticket
from p2pwf.errors import Refused, StorageError, UsageError
from p2pwf.net.addresses import dial_pair, listen_pair, split_peer
from p2pwf.net.types import MAX_LABEL, MAX_LABELS, MAX_NAME

OWN_LABELS = 2
"""A node offers its system and its architecture by itself."""


OTHER_FOLDER = "use another --data-dir"


def check_folder(folder: Path) -> None:
    """Raises Refused or StorageError for a data folder that cannot be one, before its settings are looked for."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise Refused(f"{folder} lies below a file", OTHER_FOLDER) from None
    except OSError as error:
        raise StorageError(f"no access to {folder}: {error.strerror}", OTHER_FOLDER) from error
    if not stat.S_ISDIR(found.st_mode):
        raise Refused(f"{folder} is not a folder", OTHER_FOLDER)
    if found.st_uid != os.geteuid():
        raise Refused(f"data folder {folder} belongs to another user", OTHER_FOLDER)


def check(settings: NodeSettings) -> None:
    """Raises UsageError for settings that no node can start with, wherever they came from."""
    if settings.name is not None:
        _check_word("name", settings.name, MAX_NAME)
    for label in settings.labels:
        _check_word("label", label, MAX_LABEL)
    if len(settings.labels) > MAX_LABELS - OWN_LABELS:
        raise UsageError(f"{len(settings.labels)} labels", f"give at most {MAX_LABELS - OWN_LABELS}")
    for address in settings.listen:
        listen_pair(address)
    for address in settings.announce:
        dial_pair(address.partition("/p2p/")[0])
    for address in settings.bootstrap:
        place, peer = split_peer(address)
        dial_pair(place)
        public_key_of(peer)
    if settings.join is not None:
        parse_ticket(settings.join)


def _check_word(what: str, text: str, most: int) -> None:
    # The founder of a network could have longer ones, but nobody could join one with them.
    if not text.strip() or len(text) > most or not text.isprintable():
        raise UsageError(f"not a {what}: {text[:40]!r}", f"a {what} is a line of text of at most {most} characters")
